"""Ratings as chunks, cached for the length of a fit: two arrays in place of a million rows.

To pass over them again, to count or to shuffle, is then to copy bytes; each rating crosses to
Python once.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import functions as F

from recpipe.arrow import gathered, narrow_rows
from recpipe.kernels.ids import counts_of, sums_of
from recpipe.models.arrow import arrow_row, as_array
from recpipe.pairs import PAIR, Value, map_pairs, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Counts = tuple[Ints, Longs]
    Part = tuple[int, Ints, Longs]

USER, ITEM = 0, 1

CHUNKS = "pairs binary, ratings binary"
"""Pairs (int64, see `recpipe.pairs`) and ratings (float32), in the order of the input."""
COUNTED = "side int, ids binary, counts binary"
"""Distinct ids (int32) of a side, and the ratings of each (int64); several rows a side."""

_SENT = "side int, part int, ids binary, counts binary"
_ROWS = 1 << 17
_RATING_BYTES = 4


@contextmanager
def chunked(ratings: DataFrame) -> Iterator[tuple[DataFrame, int]]:
    """CHUNKS of (user int, item int, rating), let go at the end of the block; how many ratings."""
    chunks = in_chunks(ratings).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        # By itself, because chunks are not narrow: what reads them may not run with this.
        with narrow_rows(chunks.sparkSession):
            (row,) = chunks.agg(F.sum(F.octet_length("ratings")).alias("bytes")).collect()
        yield chunks, (row.bytes or 0) // _RATING_BYTES
    finally:
        chunks.unpersist()


def in_chunks(ratings: DataFrame) -> DataFrame:
    """CHUNKS of (user int, item int, rating)."""
    return map_pairs(ratings, _gather, CHUNKS, value=Value("rating", "float"))


def chunks_of(batches: Batches) -> Iterator[tuple[Ints, Ints, Floats]]:
    """(users, items, ratings) of each row of CHUNKS."""
    for batch in batches:
        pairs, ratings = batch.columns
        for row in range(batch.num_rows):
            yield *unpaired(as_array(pairs[row], np.int64)), as_array(ratings[row], np.float32)


def counted(
    chunks: DataFrame, *, shape: Callable[[Part], Iterable[Part]] | None = None
) -> pa.Table:
    """COUNTED of users and of items, each id once.

    Args:
        chunks: CHUNKS.
        shape: what becomes of (side, ids, counts) of some ids before they leave the task that
            added them up; by itself, for what follows in a function of its own is another Python
            worker. Default: they are left as they are.
    """
    parts = chunks.sparkSession.sparkContext.defaultParallelism
    return (
        chunks.select("pairs")
        .mapInArrow(partial(_count, parts=parts), _SENT)
        .repartitionById(parts, "part")
        .mapInArrow(partial(_add_counts, shape=shape), COUNTED)
        .toArrow()
    )


def counts(table: pa.Table, side: int) -> Counts:
    """Ids of one side of COUNTED, in no order, and the ratings of each."""
    rows = np.flatnonzero(table.column("side").to_numpy() == side)
    ids = [as_array(table.column("ids")[int(row)], np.int32) for row in rows]
    found = [as_array(table.column("counts")[int(row)], np.int64) for row in rows]
    return (
        np.concatenate([np.empty(0, np.int32), *ids]),
        np.concatenate([np.empty(0, np.int64), *found]),
    )


def _gather(batches: Batches) -> Batches:
    for held in gathered(batches, rows=_ROWS):
        table = pa.Table.from_batches(held)
        yield arrow_row(CHUNKS, table.column(PAIR).to_numpy(), table.column("value").to_numpy())


def _count(batches: Batches, *, parts: int) -> Batches:
    held: tuple[list[Counts], list[Counts]] = ([], [])
    for batch in batches:
        for value in batch.column("pairs"):
            for own, ids in zip(held, unpaired(as_array(value, np.int64)), strict=True):
                own.append(counts_of(ids))
    for side, found in enumerate(held):
        ids, times = sums_of(found)
        for part in range(parts):
            mine = ids % parts == part
            yield arrow_row(_SENT, side, part, ids[mine], times[mine])


def _add_counts(batches: Batches, *, shape: Callable[[Part], Iterable[Part]] | None) -> Batches:
    held: tuple[list[Counts], list[Counts]] = ([], [])
    for batch in batches:
        for row in range(batch.num_rows):
            ids, times = (batch.column(name)[row] for name in ("ids", "counts"))
            found = as_array(ids, np.int32), as_array(times, np.int64)
            held[batch.column("side")[row].as_py()].append(found)
    for side, parts in enumerate(held):
        part: Part = (side, *sums_of(parts))
        for shaped in shape(part) if shape else [part]:
            yield arrow_row(COUNTED, *shaped)


__all__ = [
    "CHUNKS",
    "COUNTED",
    "ITEM",
    "USER",
    "Counts",
    "chunked",
    "chunks_of",
    "counted",
    "counts",
    "in_chunks",
]
