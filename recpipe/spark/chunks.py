"""Ratings as chunks, cached for the length of a fit: two arrays in place of many rows.

To pass over them again, to count or to shuffle, is then to copy bytes; each rating crosses to
Python once.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.kernels import weighed
from recpipe.kernels.ids import Tally, counts_of
from recpipe.spark.arrow import gathered
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import cached, narrow_rows
from recpipe.spark.interactions import PAIR, Value, map_pairs, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame

    from recpipe.kernels.ids import Counts
    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Interactions

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Values = NDArray[Any]
    Part = tuple[int, Ints, Longs]

USER, ITEM = 0, 1

CHUNKS = "pairs binary, ratings binary"
"""Pairs (int64, see `spark.interactions`) and ratings of either kind of `kernels.weighed`, in the
order of the input."""
COUNTED = "side int, ids binary, counts binary"
"""Ids (int32) of a side, and the ratings of each (int64); several rows a side."""

_SENT = "side int, part int, ids binary, counts binary"
_ROWS = 1 << 17
"""Of a chunk; larger ones take longer between Spark and Python."""
_PAIR_BYTES = 8


@contextmanager
def chunked(
    ratings: Interactions, *, weight: Column | None = None
) -> Iterator[tuple[DataFrame, int]]:
    """CHUNKS of (user int, item int, rating), held while the `with` lasts; and how many ratings.

    Args:
        ratings: to be read once.
        weight: of each; None: all weigh the same.
    """
    chunks = cached(in_chunks(ratings, weight=weight))
    try:
        # By itself, because chunks are not narrow: what reads them may not run with this.
        with narrow_rows(chunks.sparkSession):
            (row,) = chunks.agg(F.sum(F.octet_length("pairs")).alias("bytes")).collect()
        yield chunks, (row.bytes or 0) // _PAIR_BYTES
    finally:
        chunks.unpersist()


def in_chunks(ratings: Interactions, *, weight: Column | None = None) -> DataFrame:
    """CHUNKS of (user int, item int, rating); arguments as of `chunked`."""
    return map_pairs(ratings, _gather, CHUNKS, value=Value("rating", "float"), weight=weight)


def chunks_of(batches: Batches) -> Iterator[tuple[Ints, Ints, Values]]:
    """(users, items, ratings) of each row of CHUNKS."""
    for batch in batches:
        pairs, ratings = batch.columns
        for row in range(batch.num_rows):
            users, items = unpaired(as_array(pairs[row], np.int64))
            yield users, items, weighed.read(as_array(ratings[row], np.float32), len(users))


def ratings_by_id(
    chunks: DataFrame,
    *,
    sides: Sequence[int] = (USER, ITEM),
    transform: Callable[[Part], Iterable[Part]] | None = None,
) -> pa.Table:
    """COUNTED: the ratings of each id of some sides, by one shuffle.

    Args:
        chunks: CHUNKS.
        sides: whose ids are wanted.
        transform: applied to the added counts of a part of a side, in the task that added them;
            what it makes goes to the driver. A function of its own in Spark would take one more
            Python worker for each task.
    """
    parts = chunks.sparkSession.sparkContext.defaultParallelism
    return (
        chunks.select("pairs")
        .mapInArrow(partial(_count, sides=sides, parts=parts), _SENT)
        .repartitionById(parts, "part")
        .mapInArrow(partial(_add_counts, sides=sides, transform=transform), COUNTED)
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
        pairs, ratings = (table.column(name).to_numpy() for name in (PAIR, "value"))
        if "weight" in table.column_names:
            ratings = weighed.with_weights(ratings, table.column("weight").to_numpy())
        for start in range(0, len(pairs), _ROWS):
            part = slice(start, start + _ROWS)
            yield arrow_row(CHUNKS, pairs[part], ratings[part])


def _count(batches: Batches, *, sides: Sequence[int], parts: int) -> Batches:
    tallies = {side: Tally() for side in sides}
    for batch in batches:
        for value in batch.column("pairs"):
            both = unpaired(as_array(value, np.int64))
            for side, tally in tallies.items():
                tally.add(counts_of(both[side]))
    for side, tally in tallies.items():
        ids, times = tally.sums()
        for part in range(parts):
            mine = ids % parts == part
            yield arrow_row(_SENT, side, part, ids[mine], times[mine])


def _add_counts(
    batches: Batches, *, sides: Sequence[int], transform: Callable[[Part], Iterable[Part]] | None
) -> Batches:
    tallies = {side: Tally() for side in sides}
    for batch in batches:
        for row in range(batch.num_rows):
            ids, times = (batch.column(name)[row] for name in ("ids", "counts"))
            found = as_array(ids, np.int32), as_array(times, np.int64)
            tallies[batch.column("side")[row].as_py()].add(found)
    for side, tally in tallies.items():
        summed: Part = (side, *tally.sums())
        for shaped in transform(summed) if transform else [summed]:
            yield arrow_row(COUNTED, *shaped)


__all__ = [
    "CHUNKS",
    "COUNTED",
    "ITEM",
    "USER",
    "chunked",
    "chunks_of",
    "counts",
    "in_chunks",
    "ratings_by_id",
]
