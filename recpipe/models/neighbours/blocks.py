"""Blocks of the columns of a sparse matrix, each with the rows that have an entry in it.

A block comes with all entries of these rows, or with those from its first column on.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.kernels.neighbours import Rows
from recpipe.ranking.histories import parts_of
from recpipe.spark.columns import arrow_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.histories import Part

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

_BLOCKS = "block int, keys binary, sizes binary, columns binary, values binary"
"""The rows of a block from one part: their numbers and sizes (int32), and for all their entries the
places of the columns and the values."""


class Block(NamedTuple):
    """A block of columns.

    Args:
        number: of the block.
        keys: (rows,) the numbers of the rows, in an order that follows from the parts alone.
        rows: their entries.
    """

    number: int
    keys: Ints
    rows: Rows


def in_blocks(
    parts: DataFrame, entries: Callable[[Part], Rows], bounds: Longs, *, rightwards: bool
) -> DataFrame:
    """The rows of every block of columns, each block in a partition: `block_of` reads it.

    The shuffle grows with the entries times the blocks.

    Args:
        parts: `histories.PARTS`, whose rows are those of the matrix.
        entries: in a task: the entries of a part, columns by their places.
        bounds: (blocks + 1,) where blocks of columns begin.
        rightwards: whether a block leaves out the entries before its first column.
    """
    cut = partial(_cut, entries=entries, bounds=bounds, rightwards=rightwards)
    return parts.mapInArrow(cut, _BLOCKS).repartitionById(len(bounds) - 1, "block")


def _cut(
    batches: Batches, *, entries: Callable[[Part], Rows], bounds: Longs, rightwards: bool
) -> Batches:
    """_BLOCKS of each part."""
    width, kind = bounds[-1], _kind(bounds)
    for part in parts_of(batches):
        rows = entries(part)
        owner = np.repeat(np.arange(len(part.users)), np.diff(rows.offsets))
        # Ascending, since rows are, and the columns within a row.
        places = owner * width + rows.columns
        firsts = np.arange(len(part.users)) * width
        for block, (first, last) in enumerate(pairwise(bounds)):
            begins = np.searchsorted(places, firsts + first)
            chosen = np.flatnonzero(begins < np.searchsorted(places, firsts + last))
            # A block without a row gets an empty one, so that its task knows its number.
            starts = begins[chosen] if rightwards else rows.offsets[chosen]
            sizes = rows.offsets[chosen + 1] - starts
            at = np.arange(sizes.sum()) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
            yield arrow_row(
                _BLOCKS, block, part.users[chosen], sizes.astype(np.int32),
                rows.columns[at].astype(kind),
                rows.values[at] if len(rows.values) else rows.values,
            )  # fmt: skip


def block_of(batches: Batches, bounds: Longs) -> Block | None:
    """In a task: the block that its partition of `in_blocks` has; None where there are no parts.

    Args:
        batches: of the partition.
        bounds: of all blocks.
    """
    found = [row for batch in batches for row in batch.to_pylist()]
    if not found:
        return None
    # So that sums over rows are taken in one order, however the parts arrived.
    found.sort(key=lambda row: row["keys"])
    number = found[0]["block"]
    keys, sizes, columns, values = (
        np.frombuffer(b"".join([row[name] for row in found]), dtype)
        for name, dtype in (
            ("keys", np.int32), ("sizes", np.int32), ("columns", _kind(bounds)),
            ("values", np.float32),
        )
    )  # fmt: skip
    found.clear()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    return Block(number, keys, Rows(offsets, columns, values))


def _kind(bounds: Longs) -> type[Any]:
    """The type of places of columns in a block."""
    return np.uint16 if bounds[-1] <= 1 << 16 else np.int32


__all__ = ["Block", "block_of", "in_blocks"]
