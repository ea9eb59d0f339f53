"""EASE's dense weights for more items than the driver holds a matrix of: the executors hold it.

X'X + lambda I is cut into square tiles, of which those on the diagonal and above it are kept. Tasks
make them from histories, a strip of rows at a time, and sweep them by the rows of one strip after
the other (`kernels/sweep.py`) until they are -P = -(X'X + lambda I)^-1. For each sweep the driver
takes the tiles of the strip, a few at a time, and sends its panel to the tasks, which write all
tiles anew. In the last sweep they turn P into weights, B_ij = -P_ij / P_jj.

For n items and strips of b rows:

- the driver holds some tiles, of 8 b^2 bytes each, and a few bytes for each item and user; on its
  disk, and on those of executors, lies the panel, 8 n b bytes;
- a task holds some tiles or, while the first ones are made, the likings of the users who have one
  in its strip;
- the scratch folder holds the tiles twice over, 8 n^2 bytes together, and then the weights, 4 n^2;
  the last sweep shuffles 8 n^2 bytes;
- the time is that of n^3 floating-point operations, spread over all tasks, of n^2 b on the driver,
  and of reading and writing 4 n^2 bytes n / b times.

Tiles are float64 at rest, too: each sweep would add the rounding of float32 times the condition of
the matrix, which is some thousands.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.kernels.sweep import pivot_part, swept
from recpipe.models.linear.gram import mirror
from recpipe.models.linear.weights import WEIGHTS, singular
from recpipe.models.neighbours.blocks import block_of, in_blocks
from recpipe.models.neighbours.entries import Liking
from recpipe.models.neighbours.rows import entries_of, packed_matrix
from recpipe.spark.columns import arrow_row, as_array, batch_of
from recpipe.spark.held import plain_plans
from recpipe.spark.streamed import streamed
from recpipe.spark.workers import let_go

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.kernels.neighbours import Rows
    from recpipe.ranking.histories import Part
    from recpipe.storage import Folder, Stored

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Doubles = NDArray[np.float64]

log = logging.getLogger(__name__)

_STRIP = 2048
"""Rows of a strip: a tile is 32 MiB, and takes a core some 0.5 s to sweep and 0.2 s to move."""
_COLLECTED_BYTES = 128 << 20
"""Size of the tiles of a panel that the driver takes at a time."""
_CHUNK_BYTES = 32 << 20
"""Size of the rows of P that a task turns into weights at a time."""

_TILES = "row int, column int, tile binary"
"""Tile (row, column), float64, where the strip `column` is not before the strip `row`."""
_PIECES = "chunk int, strip int, values binary"
"""What some rows of -P have in the columns of one strip, float64."""
_LIKINGS = Liking(None, binary=False)
# Without this Parquet's writer would hold a hundred tiles before it looks at their size.
_A_TILE_A_GROUP = {"parquet.block.row.count.limit": "1", "parquet.enable.dictionary": "false"}


class _Strips(NamedTuple):
    """How rows and columns are cut.

    Args:
        bounds: (strips + 1,) where strips begin.
        step: rows of a chunk; a strip is cut into chunks, of which the last may be shorter.
        chunks_of_a_strip: chunks of each strip; the last strip may have fewer.
    """

    bounds: NDArray[np.int64]
    step: int
    chunks_of_a_strip: int

    @classmethod
    def of(cls, items: int) -> _Strips:
        bounds = np.append(np.arange(0, items, _STRIP), items)
        step = max(1, min(_STRIP, _CHUNK_BYTES // (8 * items)))
        return cls(bounds, step, -(-_STRIP // step))

    @property
    def number(self) -> int:
        """How many strips there are."""
        return len(self.bounds) - 1

    @property
    def chunks(self) -> int:
        """How many chunks all strips have."""
        last = int(self.bounds[-1] - self.bounds[-2])
        return (self.number - 1) * self.chunks_of_a_strip - (-last // self.step)

    def chunk(self, strip: int, at: int) -> int:
        """The chunk with the row `at` of a strip; chunks are numbered over all strips."""
        return strip * self.chunks_of_a_strip + at // self.step

    def first(self, chunk: int) -> int:
        """The first row of a chunk."""
        strip, at = divmod(chunk, self.chunks_of_a_strip)
        return int(self.bounds[strip]) + at * self.step


def write_tiled_weights(
    histories: Stored, scratch: Folder, name: str, *, items: Ints, penalty: float
) -> None:
    """Write WEIGHTS, the dense weights of EASE. For memory, disk and time see the module.

    Args:
        histories: (user int, item int, value float): X.
        scratch: where it is written, and the tiles before it.
        name: of the table.
        items: all items of `histories`, ascending.
        penalty: lambda.

    Raises:
        FitError: if the matrix cannot be inverted in the precision of float64.
    """
    spark, strips = scratch.spark, _Strips.of(len(items))
    log.info(
        "ease: %d items in %d strips: %.1e floating-point operations, and %.1f GiB in %s",
        len(items), strips.number, float(len(items)) ** 3, 8 * len(items) ** 2 / 2**30, scratch.uri,
    )  # fmt: skip
    sent = spark.sparkContext.broadcast(items)
    with plain_plans(spark), ExitStack() as at_the_end:
        at_the_end.callback(sent.destroy)
        with packed_matrix(histories) as matrix:
            entries = partial(_entries, sent=sent)
            rows = in_blocks(matrix.parts, entries, strips.bounds, rightwards=True)
            made = rows.mapInArrow(partial(_gram_tiles, strips=strips, penalty=penalty), _TILES)
            tiles = scratch.write_table("tiles-0", made, options=_A_TILE_A_GROUP)
        for pivot in range(strips.number):
            with _sent_panel(tiles, pivot, strips.number) as panel:
                sweep = _Sweep(pivot, panel)
                if pivot + 1 < strips.number:
                    made = tiles.mapInArrow(partial(_swept_tiles, sweep=sweep), _TILES)
                    tiles = scratch.write_table(f"tiles-{pivot + 1}", made, options=_A_TILE_A_GROUP)
                else:
                    pieces = tiles.mapInArrow(partial(_pieces, sweep=sweep, strips=strips), _PIECES)
                    weights = pieces.repartitionById(strips.chunks, "chunk").mapInArrow(
                        partial(_weight_rows, sent=sent, strips=strips), WEIGHTS
                    )
                    scratch.write_table(name, weights)
                scratch.delete(f"tiles-{pivot}")


# -- the matrix -------------------------------------------------------------------------------


def _entries(part: Part, *, sent: Broadcast[Ints]) -> Rows:
    return entries_of(part, _LIKINGS, sent.value)


def _gram_tiles(batches: Batches, *, strips: _Strips, penalty: float) -> Batches:
    """_TILES of one strip of X'X + lambda I."""
    from recpipe.kernels.gram import gram_tile

    found = block_of(batches, strips.bounds)
    if found is None:
        return
    offsets, places, values = found.rows
    # Of one type for all kernels of Gram matrices, whatever a block travels as.
    wide = places.astype(np.int32)
    cuts = [slice(*bounds) for bounds in pairwise(strips.bounds.tolist())]
    for column in range(found.number, strips.number):
        tile = gram_tile(offsets, wide, values, cuts[found.number], cuts[column])
        if column == found.number:
            mirror(tile)
            tile[np.diag_indices(len(tile))] += penalty
        yield arrow_row(_TILES, found.number, column, tile)


# -- its inverse ------------------------------------------------------------------------------


class _Sweep(NamedTuple):
    """What tasks are sent for a sweep.

    Args:
        pivot: the strip that is swept by.
        panel: V_i of each strip i.
    """

    pivot: int
    panel: list[Broadcast[Doubles]]


@contextmanager
def _sent_panel(tiles: DataFrame, pivot: int, strips: int) -> Iterator[list[Broadcast[Doubles]]]:
    """The panel of a strip, each part a broadcast of its own, while the `with` lasts.

    Raises:
        FitError: if the tile on the diagonal is not positive definite in the precision of float64.
    """
    context = tiles.sparkSession.sparkContext
    other = F.col("row") + F.col("column") - F.lit(pivot)
    group = max(1, _COLLECTED_BYTES // (8 * _STRIP**2))
    # The tile on the diagonal comes first: the others wait for its factor.
    place = F.when(other == pivot, 0).otherwise(F.lit(1) + F.floor(other / F.lit(group)))
    own = (
        tiles.where((F.col("row") == pivot) | (F.col("column") == pivot))
        .withColumn("place", place.cast("int"))
        .repartitionById(2 + (strips - 1) // group, "place")
    )
    panel: dict[int, Broadcast[Doubles]] = {}
    root: Doubles | None = None
    try:
        for row in streamed(own, ahead=False):
            values = np.frombuffer(row["tile"])
            if root is None:
                width = int(np.sqrt(len(values)))
                root = pivot_part(values.reshape(width, width))
                if root is None:
                    raise singular("items")
                panel[pivot] = context.broadcast(root)
                continue
            # Tiles above the one on the diagonal stand for those to its left, which are not kept.
            before = row["row"] < pivot
            beside = values.reshape(-1, len(root)).T if before else values.reshape(len(root), -1)
            strip = row["row"] if before else row["column"]
            panel[strip] = context.broadcast(root @ beside)
        yield [panel[strip] for strip in range(strips)]
    finally:
        for part in panel.values():
            part.destroy()


def _swept(batches: Batches, sweep: _Sweep) -> Iterator[tuple[int, int, Doubles]]:
    """Row, column and tile of some _TILES once they are swept."""
    for batch in batches:
        for row, column, tile in zip(*batch.columns, strict=True):
            place = row.as_py(), column.as_py()
            # A task holds only the two parts of the panel that its tile needs.
            left, right = (_taken(sweep.panel[strip]) for strip in place)
            before = as_array(tile, np.float64).reshape(left.shape[1], right.shape[1])
            yield *place, swept(before, left, right, pivots=place.count(sweep.pivot))


def _taken(part: Broadcast[Doubles]) -> Doubles:
    """A part of the panel, of which the worker keeps nothing once the caller is done with it."""
    found = part.value
    let_go(part)
    return found


def _swept_tiles(batches: Batches, *, sweep: _Sweep) -> Batches:
    for row, column, tile in _swept(batches, sweep):
        yield arrow_row(_TILES, row, column, tile)


# -- the weights ------------------------------------------------------------------------------


def _pieces(batches: Batches, *, sweep: _Sweep, strips: _Strips) -> Batches:
    """_PIECES of some _TILES after their last sweep, and of the transposes of these."""
    for row, column, tile in _swept(batches, sweep):
        both = (
            [(row, column, tile)] if row == column else [(row, column, tile), (column, row, tile.T)]
        )
        for strip, other, values in both:
            for at in range(0, len(values), strips.step):
                piece = np.ascontiguousarray(values[at : at + strips.step])
                yield arrow_row(_PIECES, strips.chunk(strip, at), other, piece)


def _weight_rows(batches: Batches, *, sent: Broadcast[Ints], strips: _Strips) -> Batches:
    """WEIGHTS of one chunk of rows."""
    chunk, pieces = -1, {}
    for batch in batches:
        for number, strip, values in zip(*batch.columns, strict=True):
            chunk, own = number.as_py(), strip.as_py()
            width = int(strips.bounds[own + 1] - strips.bounds[own])
            pieces[own] = as_array(values, np.float64).reshape(-1, width)
    if not pieces:
        return
    # P is symmetric: row j of it is its column j.
    inverse = np.concatenate([pieces[strip] for strip in range(strips.number)], axis=1)
    rows = np.arange(len(inverse))
    own = strips.first(chunk) + rows
    inverse /= -inverse[rows, own][:, None]
    inverse[rows, own] = 0
    weights = inverse.astype(np.float32)
    yield batch_of(WEIGHTS, sent.value[own], [row.tobytes() for row in weights])


__all__ = ["write_tiled_weights"]
