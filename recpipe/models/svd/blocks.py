"""The matrix of users and items in blocks of users, and its products with thin matrices.

The blocks are packed once and stay on the executors. Their number and the order of every sum follow
from the ratings alone, so that neither the machine nor the partitions of the input change a bit of
a product.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.kernels import ids
from recpipe.kernels.krylov import Eigenpairs
from recpipe.models.linear.gram import TILES, summed
from recpipe.ranking.histories import PARTS, as_part, parts_of
from recpipe.spark.columns import arrow_row, as_array, factor_rows, factor_schema
from recpipe.spark.held import cached, plain_plans
from recpipe.spark.interactions import Mapped, Value, frame_of, mapped, packed, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.ranking.histories import Histories, Part
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Doubles = NDArray[np.float64]
    Product = Callable[[Doubles], Doubles]

_MAX_BLOCKS = 64
_FEW_ROWS = 256
_FEW_RATINGS = 250_000
_RATINGS_AN_ITEM = 128
"""Ratings of a block for each item: a block sends one sum for each item and column, so it must have
many times as many ratings as there are items to be worth its way."""
_TILE_BYTES = 32 << 20
"""Bytes of a product that a task returns as one value."""
_COLLECTED_BYTES = 256 << 20
"""Bytes of a product from all blocks up to which the driver adds them up itself."""

_RATINGS_OF_A_TASK = 1 << 24
"""Ratings up to which one task holds all of them: 135 MB, in float64 200 MB. A product then takes a
tenth of the time of a job."""

_SUMS = "block int, items binary, counts binary, sums binary"
_FOUND = "values binary, vectors binary, products int, residual double"


@dataclass(frozen=True)
class Blocks:
    """A sparse matrix of users and items on the executors: `packed_blocks`.

    Args:
        frame: `histories.PARTS`, cached: a row a block of users.
        number: of blocks.
        items: (n,) ids, ascending: the columns.
        counts: (n,) values of each column.
        sums: (n,) of the values of each column.
    """

    frame: DataFrame
    number: int
    items: Ints
    counts: Longs
    sums: Doubles


@contextmanager
def packed_blocks(rows: Interactions, *, value: str, model: str) -> Iterator[Blocks]:
    """The matrix of (user int, item int, value), one row a pair, while the `with` lasts.

    The driver holds a few numbers for each item.

    Args:
        rows: cheap to read twice.
        value: the column with the values, as float.
        model: for the error.

    Raises:
        FitError: if there is no value.
    """
    users, items, count = (
        frame_of(rows)
        .agg(F.max("user") + F.lit(1), F.max("item") + F.lit(1), F.count(F.lit(1)))
        .collect()[0]
    )
    if not count:
        raise nothing_to_fit(model)
    least = max(_FEW_RATINGS, _RATINGS_AN_ITEM * items)
    number = int(max(1, min(users // _FEW_ROWS, count // least, _MAX_BLOCKS)))
    # The last of an odd number would leave every other core without work, in every pass.
    if number > 1:
        number += number % 2
    by_bucket = packed(rows, buckets=number, value=Value(value, "float"))
    frame = cached(together([by_bucket], buckets=number).mapInArrow(as_part, PARTS))
    try:
        yield _with_items(frame, number)
    finally:
        frame.unpersist()


def _with_items(frame: DataFrame, number: int) -> Blocks:
    """Packed blocks, and what the driver is to know of their items."""
    parts = frame.mapInArrow(_item_sums, _SUMS).toArrow().sort_by("block")
    found = [
        [as_array(value, kind) for value in parts.column(name)]
        for name, kind in (("items", np.int32), ("counts", np.int64), ("sums", np.float64))
    ]
    items = ids.distinct(np.concatenate(found[0]))
    counts, sums = np.zeros(len(items), np.int64), np.zeros(len(items))
    for own, times, total in zip(*found, strict=True):
        at = ids.positions(items, own)
        counts[at] += times
        sums[at] += total
    return Blocks(frame, number, items, counts, sums)


@dataclass(frozen=True)
class Centre:
    """What is taken off the known values.

    Args:
        items: (n,) off those of each column.
        by_user: whether also the mean of the values of its row.
    """

    items: Doubles
    by_user: bool = False

    def users(self, rows: Histories) -> Doubles:
        """(m,) what is taken off the values of each row."""
        sizes = np.diff(rows.offsets)
        if not self.by_user:
            return np.zeros(len(sizes))
        return np.add.reduceat(rows.values.astype(np.float64), rows.offsets[:-1]) / sizes

    def applied(self, rows: Histories, columns: Ints) -> Doubles:
        """The values of some rows, less what is taken off."""
        values = rows.values - self.items[columns]
        if self.by_user:
            values -= np.repeat(self.users(rows), np.diff(rows.offsets))
        return values


@dataclass
class CentredMatrix:
    """A matrix A: the known values of `blocks` less those of `centre`, and 0 for the unknown ones.

    Args:
        blocks: the values.
        centre: what is taken off.
        kind: of the numbers in which a block takes its products; blocks are added up in float64.
    """

    blocks: Blocks
    centre: Centre
    kind: type[np.float32 | np.float64] = np.float64
    _sent: Broadcast[tuple[Ints, Centre]] = field(init=False)

    def __post_init__(self) -> None:
        context = self.blocks.frame.sparkSession.sparkContext
        self._sent = context.broadcast((self.blocks.items, self.centre))

    @property
    def fits_a_task(self) -> bool:
        """Whether one task can hold all values."""
        return int(self.blocks.counts.sum()) <= _RATINGS_OF_A_TASK

    def in_one_task(self, search: Callable[[Product], Eigenpairs]) -> Eigenpairs:
        """What `search` finds of A'A by its products, in a task that holds all values.

        Args:
            search: is handed `normal_product` as it is there.
        """
        work = partial(_searched, matrix=self._sent, kind=self.kind, search=search)
        values, vectors, products, residual = (
            self.blocks.frame.coalesce(1).mapInArrow(work, _FOUND).collect()[0]
        )
        pairs = np.frombuffer(values)
        return Eigenpairs(pairs, np.frombuffer(vectors).reshape(-1, len(pairs)), products, residual)

    def normal_product(self, dense: Doubles) -> Doubles:
        """(n, w) A'A W for an (n, w) W, by one pass over the ratings.

        A task makes Y = A_b W and A_b'Y for a block of users, which is summed over the blocks in
        their order. Time grows with ratings x w; a task holds W, its sum and its block.
        """
        frame, size = self.blocks.frame, dense.shape[1] * 8
        step = max(1, _TILE_BYTES // size)
        sent = frame.sparkSession.sparkContext.broadcast(np.ascontiguousarray(dense, self.kind))
        work = partial(_products, matrix=self._sent, sent=sent, step=step)
        tiles = frame.mapInArrow(work, TILES)
        if self.blocks.number * dense.nbytes > _COLLECTED_BYTES:
            parts = -(-len(dense) // step)
            tiles = tiles.repartitionById(max(1, parts), "first").mapInArrow(summed, TILES)
        with plain_plans(frame.sparkSession):
            found = tiles.toArrow().sort_by([("first", "ascending"), ("source", "ascending")])
        sent.destroy()
        product = np.zeros(dense.shape)
        for first, tile in zip(
            found.column("first").to_pylist(), found.column("sums"), strict=True
        ):
            sums = as_array(tile, np.float64).reshape(-1, dense.shape[1])
            product[first : first + len(sums)] += sums
        return product

    def user_factors(self, vectors: Doubles, *, mean: float) -> Mapped:
        """(user int, factors array<float>, bias float): the rows of A V, made in tasks.

        Args:
            vectors: (n, k) V.
            mean: with a centre by user, the bias is the mean of the user less this; else 0.
        """
        frame = self.blocks.frame
        sent = frame.sparkSession.sparkContext.broadcast(np.ascontiguousarray(vectors, self.kind))
        work = partial(_user_rows, matrix=self._sent, sent=sent, mean=mean)
        return mapped(frame, work, factor_schema("user"))


def _item_sums(batches: Batches) -> Batches:
    for block in parts_of(batches):
        items = ids.distinct(block.rows.items)
        at = ids.positions(items, block.rows.items)
        counts = np.bincount(at, minlength=len(items))
        sums = np.bincount(at, block.rows.values, minlength=len(items))
        yield arrow_row(_SUMS, block.source, items, counts, sums)


def _centred(batches: Batches, matrix: tuple[Ints, Centre]) -> Iterator[tuple[Part, Ints, Doubles]]:
    """Each block, and of its values the columns and what is left of them by the centre."""
    items, centre = matrix
    for block in parts_of(batches):
        columns = ids.positions(items, block.rows.items)
        yield block, columns, centre.applied(block.rows, columns)


def _searched(
    batches: Batches,
    *,
    matrix: Broadcast[tuple[Ints, Centre]],
    kind: type[np.float32 | np.float64],
    search: Callable[[Product], Eigenpairs],
) -> Batches:
    """In a task: what `search` makes of all blocks together."""
    from recpipe.kernels.gram import normal_product

    # In an order that follows from the ratings alone, whichever block comes first.
    blocks = sorted(
        (
            (block.source, block.rows.offsets, columns, values.astype(kind))
            for block, columns, values in _centred(batches, matrix.value)
        ),
        key=itemgetter(0),
    )

    def product(dense: Doubles) -> Doubles:
        sent, total = np.ascontiguousarray(dense, kind), np.zeros(dense.shape)
        for _, offsets, columns, values in blocks:
            total += normal_product(offsets, columns, values, sent)
        return total

    yield arrow_row(_FOUND, *search(product))


def _products(
    batches: Batches,
    *,
    matrix: Broadcast[tuple[Ints, Centre]],
    sent: Broadcast[NDArray[Any]],
    step: int,
) -> Batches:
    from recpipe.kernels.gram import normal_product

    dense = sent.value
    for block, columns, values in _centred(batches, matrix.value):
        product = normal_product(block.rows.offsets, columns, values.astype(dense.dtype), dense)
        product = product.astype(np.float64)
        for first in range(0, len(product), step):
            yield arrow_row(TILES, first, block.source, product[first : first + step])


def _user_rows(
    batches: Batches,
    *,
    matrix: Broadcast[tuple[Ints, Centre]],
    sent: Broadcast[NDArray[Any]],
    mean: float,
) -> Batches:
    from recpipe.kernels.gram import sparse_product

    centre, dense = matrix.value[1], sent.value
    for block, columns, values in _centred(batches, matrix.value):
        factors = sparse_product(block.rows.offsets, columns, values.astype(dense.dtype), dense)
        biases = centre.users(block.rows) - mean if centre.by_user else np.zeros(len(block.users))
        yield factor_rows(
            "user", block.users, factors.astype(np.float32), biases.astype(np.float32)
        )


__all__ = ["Blocks", "Centre", "CentredMatrix"]
