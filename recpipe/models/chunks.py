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
from recpipe.models.arrow import arrow_row, as_array
from recpipe.pairs import PAIR, Value, map_pairs, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Counts = tuple[Ints, Longs]

USER, ITEM = 0, 1

CHUNKS = "pairs binary, ratings binary"
"""Pairs (int64, see `recpipe.pairs`) and ratings (float32), in the order of the input."""
COUNTED = "side int, part int, ids binary, counts binary"
"""Distinct ids (int32) of a side whose number modulo the parts is `part`, and the ratings of each
(int64)."""

_ROWS = 1 << 20


@contextmanager
def chunked(ratings: DataFrame) -> Iterator[DataFrame]:
    """CHUNKS of (user int, item int, rating), let go at the end of the block."""
    chunks = in_chunks(ratings).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        # By itself, because chunks are not narrow: what reads them may not run with this.
        with narrow_rows(chunks.sparkSession):
            chunks.agg(F.count(F.lit(1))).collect()
        yield chunks
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


def counted(chunks: DataFrame, *sides: int) -> DataFrame:
    """COUNTED: each id of the sides once, a partition a part; as many parts as cores."""
    parts = chunks.sparkSession.sparkContext.defaultParallelism
    return (
        chunks.select("pairs")
        .mapInArrow(partial(_count, sides=sides, parts=parts), COUNTED)
        .repartitionById(parts, "part")
        .mapInArrow(partial(_add_counts, sides=sides), COUNTED)
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


def _count(batches: Batches, *, sides: Sequence[int], parts: int) -> Batches:
    held: dict[int, list[Counts]] = {side: [] for side in sides}
    for batch in batches:
        for value in batch.column("pairs"):
            both = unpaired(as_array(value, np.int64))
            for side in sides:
                found, times = np.unique_counts(both[side])
                held[side].append((found.astype(np.int32), times.astype(np.int64)))
    for side in sides:
        found, times = _summed(held[side])
        for part in range(parts):
            mine = found % parts == part
            yield arrow_row(COUNTED, side, part, found[mine], times[mine])


def _add_counts(batches: Batches, *, sides: Sequence[int]) -> Batches:
    held: dict[int, list[Counts]] = {side: [] for side in sides}
    part = 0
    for batch in batches:
        for row in range(batch.num_rows):
            part = batch.column("part")[row].as_py()
            ids, times = (batch.column(name)[row] for name in ("ids", "counts"))
            found = as_array(ids, np.int32), as_array(times, np.int64)
            held[batch.column("side")[row].as_py()].append(found)
    for side in sides:
        yield arrow_row(COUNTED, side, part, *_summed(held[side]))


def _summed(found: Sequence[Counts]) -> Counts:
    """Ids, each once, and the sums of their counts."""
    ids = np.concatenate([np.empty(0, np.int32), *(pair[0] for pair in found)])
    times = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in found)])
    once, place = np.unique_inverse(ids)
    return once, np.bincount(place, times, len(once)).astype(np.int64)


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
