"""The Gram matrix of a sparse matrix of users and items, summed over blocks of users."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import MissingError
from recpipe.kernels import ids
from recpipe.ranking.histories import packed_histories, part_of
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.interactions import together
from recpipe.spark.streamed import streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    Batches = Iterator[pa.RecordBatch]

_TILE_BYTES = 32 << 20
"""Bytes of matrix rows that a task computes and returns at a time."""
_MAX_BLOCKS = 64
"""Blocks of users, at most."""
_MIN_USERS = 256
"""Users of a block, at least."""
_PRODUCTS_OF_A_NUMBER = 16
"""Products that take as long as it takes to send one number of the matrix to another task."""

TILES = "first int, source int, sums binary"
"""Rows of the matrix from `first` on, as one block of users has them: (rows, width) float64."""


def check_room(
    rows: int, columns: int, *, what: str, limit_mb: int, model: str, otherwise: str = ""
) -> None:
    """Refuse a matrix of float64 that the driver cannot hold.

    Args:
        rows: of the matrix.
        columns: of the matrix.
        what: the matrix in words, for the error.
        limit_mb: the most MiB; 0: half of the memory that is free on this machine.
        model: for the error.
        otherwise: what else can be done; by default to leave out the model.

    Raises:
        MissingError: naming what it takes and what there is.
    """
    needed, limit = _sizes_mb(rows, columns, limit_mb=limit_mb)
    if needed > limit:
        source = f"{model}.max_matrix_mb = {limit_mb}" if limit_mb else "half of the free memory"
        raise MissingError(
            f"{model}: {what} takes {needed:,.0f} MiB on the driver, and"
            f" {source} is {limit:,.0f} MiB",
            hint=f"give the driver more memory, raise {model}.max_matrix_mb,"
            f" or {otherwise or f'leave out {model}'}",
        )


def has_room(rows: int, columns: int, *, limit_mb: int) -> bool:
    """Whether `check_room` would let a matrix of float64 pass."""
    needed, limit = _sizes_mb(rows, columns, limit_mb=limit_mb)
    return needed <= limit


def _sizes_mb(rows: int, columns: int, *, limit_mb: int) -> tuple[float, float]:
    """What a matrix takes, and what it may take."""
    import psutil

    free = psutil.virtual_memory().available / 2 / 2**20
    return rows * columns * 8 / 2**20, limit_mb or free


def sizes_of(rows: DataFrame, side: str) -> tuple[NDArray[np.int32], int]:
    """The users or the items, ascending, and the sum over them of the square of their pairs.

    The driver holds a few bytes of each user or item.

    Args:
        rows: (user int, item int, ...), one row a pair.
        side: `user` or `item`.
    """
    table: pa.Table = rows.groupBy(side).agg(F.count(F.lit(1)).alias("pairs")).toArrow()
    pairs = table.column("pairs").to_numpy()
    return np.sort(table.column(side).to_numpy().astype(np.int32)), int((pairs * pairs).sum())


def gram_matrix(
    rows: DataFrame, columns: NDArray[np.int32], *, users: int, pairs: int
) -> NDArray[np.float64]:
    """(n, n) X'X, on the diagonal and above; zeros below.

    X has a row a user and a column for each of `columns`. Every task sums the products of one block
    of users, some rows of the matrix at a time; no array of users x items is ever made. Sums are
    taken in the order of users within a block and then of blocks, which come from the data alone,
    so that the bits do not depend on the machine.

    Args:
        rows: (user int, item int, value float), one row a pair; cheap to read again.
        columns: every item of `rows`, ascending.
        users: how many there are.
        pairs: the sum over users of the square of their items: the number of products.
    """
    spark = rows.sparkSession
    width = len(columns)
    # A further block takes a share of the products off the others, and sends a further matrix.
    worth = pairs // (_PRODUCTS_OF_A_NUMBER * width * width)
    blocks = int(max(1, min(users // _MIN_USERS, worth, _MAX_BLOCKS)))
    step = max(1, _TILE_BYTES // (8 * width))
    sent: Broadcast[NDArray[np.int32]] = spark.sparkContext.broadcast(columns)
    tiles = (
        together([packed_histories(rows, buckets=blocks)], buckets=blocks)
        .mapInArrow(partial(_block_tiles, columns=sent, step=step), TILES)
        # A tile to a partition: the driver's JVM has several copies of those that it hands over.
        .repartitionById(-(-width // step), (F.col("first") / F.lit(step)).cast("int"))
        .mapInArrow(summed, TILES)
    )
    matrix = np.zeros((width, width))
    for row in streamed(tiles):
        tile = np.frombuffer(row["sums"]).reshape(-1, width)
        matrix[row["first"] : row["first"] + len(tile)] = tile
    sent.destroy()
    return matrix


def mirror(matrix: NDArray[np.float64]) -> None:
    """Fill what is below the diagonal of a square matrix with what is above it, in place."""
    width = len(matrix)
    step = max(1, _TILE_BYTES // (8 * width))
    for first in range(0, width, step):
        rows = slice(first, min(first + step, width))
        block = matrix[rows, rows]
        below = np.tril_indices(len(block), -1)
        block[below] = block.T[below]
        matrix[rows.stop :, rows] = matrix[rows, rows.stop :].T


def _block_tiles(batches: Batches, *, columns: Broadcast[NDArray[np.int32]], step: int) -> Batches:
    """TILES of one block of users; rows without a product are left out."""
    from recpipe.kernels.gram import gram_tile

    part = part_of(batches)
    if part is None:
        return
    histories, items = part.rows, columns.value
    at = ids.positions(items, histories.items)
    every = slice(0, len(items))
    for first in range(0, len(items), step):
        rows = slice(first, min(first + step, len(items)))
        sums = gram_tile(histories.offsets, at, histories.values, rows, every)
        if sums.any():
            yield arrow_row(TILES, first, part.source, sums)


def summed(batches: Batches) -> Batches:
    """TILES of all blocks: the rows from each `first` on, added up in the order of blocks."""
    parts: dict[int, list[tuple[int, pa.Scalar]]] = {}
    for batch in batches:
        first, source, sums = batch.columns
        for at in range(len(batch)):
            parts.setdefault(first[at].as_py(), []).append((source[at].as_py(), sums[at]))
    for first, found in sorted(parts.items()):
        found.sort(key=lambda part: part[0])
        total = as_array(found[0][1], np.float64).copy()
        for _, sums in found[1:]:
            total += as_array(sums, np.float64)
        yield arrow_row(TILES, first, -1, total)


__all__ = ["TILES", "check_room", "gram_matrix", "has_room", "mirror", "sizes_of", "summed"]
