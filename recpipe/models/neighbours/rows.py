"""Ratings as sparse rows in a cache, and the sums over their columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.kernels import ids
from recpipe.kernels.neighbours import Rows
from recpipe.ranking.histories import HISTORY_KINDS, histories_of, packed_histories
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import cached
from recpipe.spark.interactions import arrays_of, frame_of, together, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.neighbours.entries import Liking, Weighting
    from recpipe.spark.interactions import Interactions

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_VALUES_OF_A_PART = 1 << 20

_ROWS = "source int, keys binary, offsets binary, columns binary, values binary"
"""One part of the rows: their numbers, and what is in them as `histories.Histories` has it."""

_SUMS = "range int, source int, ids binary, counts binary, sums binary"
"""Of the columns of a range that a part has: (columns, 3) int64 and (columns, 3) float64."""

_RANGE = 1 << 18
"""Numbers of a range of columns, whose sums one task adds up."""


class Part(NamedTuple):
    """One part of the rows in a task.

    Args:
        source: its number.
        keys: (rows,) the number of each row, ascending.
        offsets: (rows + 1,) where each starts.
        columns: the numbers of columns, ascending in a row.
        values: of each.
    """

    source: int
    keys: Ints
    offsets: Longs
    columns: Ints
    values: Floats


class Columns(NamedTuple):
    """The columns of the matrix; each array has a place for each.

    Args:
        ids: their numbers, ascending.
        ratings: how many values each has.
        means: of these.
        counts: how many entries each has.
        sums: of the entries.
        squares: the sum of their squares.
        costs: how many entries their rows have behind the column's own.
    """

    ids: Ints
    ratings: Longs
    means: Doubles
    counts: Longs
    sums: Doubles
    squares: Doubles
    costs: Longs


@dataclass(frozen=True, eq=False)
class Matrix:
    """Ratings by row, in a cache.

    Args:
        parts: `_ROWS`.
        values: how many there are.
    """

    parts: DataFrame
    values: int

    @classmethod
    def of(cls, ratings: Interactions) -> Matrix:
        """A matrix of (user int, item int, value float): its rows are users, its columns items.

        The ratings are read twice: they should be cheap to read again. Close the matrix when it is
        needed no more.
        """
        values = frame_of(ratings).count()
        # From the data alone, so that sums are taken in the same order on every machine.
        parts = max(1, math.ceil(values / _VALUES_OF_A_PART))
        packed = together([packed_histories(ratings, buckets=parts)], buckets=parts)
        return cls(cached(packed.mapInArrow(_rows, _ROWS)), values)

    def rows(self) -> int:
        """How many rows there are."""
        size = F.sum(F.length("keys") / np.dtype(np.int32).itemsize)
        return int(self.parts.agg(size).collect()[0][0] or 0)

    def close(self) -> None:
        """Let the cache go."""
        self.parts.unpersist()

    def columns(self, liking: Liking) -> Columns:
        """The columns, and the sums over the entries of each."""
        found = self._sums(partial(_sums, liking=liking))
        if not found:
            none = np.empty(0)
            whole = none.astype(np.int64)
            return Columns(none.astype(np.int32), whole, none, whole, none, none, whole)
        numbers, counts, sums = (np.concatenate(each) for each in zip(*found, strict=True))
        ratings, entries, costs = counts.T
        means = sums[:, 0] / ratings
        return Columns(numbers, ratings, means, entries, sums[:, 1], sums[:, 2], costs)

    def squares(self, columns: Columns, liking: Liking, weighting: Weighting) -> Doubles:
        """(columns,) the sum of the squares of the weighted entries of each."""
        context = self.parts.sparkSession.sparkContext
        sent = context.broadcast((columns.ids, weighting))
        found = self._sums(partial(_sums, liking=liking, weighted=sent))
        sent.destroy()
        return np.concatenate([sums[:, 2] for _, _, sums in found])

    def _sums(self, work: Callable[[Batches], Batches]) -> list[tuple[Ints, Longs, Doubles]]:
        """Ids and sums of the ranges of columns, ascending."""
        rows = (
            self.parts.mapInArrow(work, _SUMS)
            .repartition(F.col("range"))
            .mapInArrow(_added, _SUMS)
            .toArrow()
            .sort_by("range")
            .combine_chunks()
        )
        return [
            _arrays(*(rows.column(name)[at] for name in ("ids", "counts", "sums")))
            for at in range(len(rows))
        ]


def parts_of(batches: Batches) -> Iterator[Part]:
    """In a task: the parts of `Matrix.parts`."""
    for batch in batches:
        source, keys, offsets, columns, values = batch.columns
        for at in range(len(batch)):
            yield Part(
                source[at].as_py(), as_array(keys[at], np.int32), as_array(offsets[at], np.int64),
                as_array(columns[at], np.int32), as_array(values[at], np.float32),
            )  # fmt: skip


def entries_of(part: Part, liking: Liking, ids_of_columns: Ints) -> Rows:
    """In a task: the entries of a part, columns by their places."""
    kept = liking.entries(part.values)
    places = ids.positions(ids_of_columns, part.columns[kept])
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    values = np.empty(0, np.float32) if liking.binary else part.values[kept]
    return Rows(before[part.offsets], places, values)


def _rows(batches: Batches) -> Batches:
    """_ROWS of one part; no row of Spark where there is none."""
    from pyspark import TaskContext

    (arrays,) = arrays_of(batches, [HISTORY_KINDS])
    if not len(arrays.keys):
        return
    keys = ids.distinct(unpaired(arrays.keys)[0])
    histories = histories_of(arrays, keys)
    context = TaskContext.get()
    source = context.partitionId() if context else 0
    yield arrow_row(_ROWS, source, keys, *histories)


def _sums(
    batches: Batches,
    *,
    liking: Liking,
    weighted: Broadcast[tuple[Ints, Weighting]] | None = None,
) -> Batches:
    """_SUMS of each part, of the entries as they are or weighted."""
    for part in parts_of(batches):
        numbers = ids.distinct(part.columns) if weighted is None else weighted.value[0]
        rows = entries_of(part, liking, numbers)
        if weighted is not None:
            x = weighted.value[1](rows).astype(np.float64)
        else:
            x = np.ones(len(rows.columns)) if liking.binary else rows.values.astype(np.float64)
        behind = np.repeat(rows.offsets[1:], np.diff(rows.offsets)) - np.arange(len(x)) - 1
        width = len(numbers)
        every = ids.positions(numbers, part.columns)
        counts = [np.bincount(every, minlength=width), np.bincount(rows.columns, minlength=width)]
        costs = np.zeros(width, np.int64)
        np.add.at(costs, rows.columns, behind)
        sums = [
            np.bincount(every, weights=part.values, minlength=width),
            np.bincount(rows.columns, weights=x, minlength=width),
            np.bincount(rows.columns, weights=x * x, minlength=width),
        ]
        whole = np.column_stack([*counts, costs]).astype(np.int64)
        real = np.column_stack(sums)
        ranges = numbers // _RANGE
        for each in np.unique(ranges):
            here = slice(*np.searchsorted(ranges, [each, each + 1]))
            yield arrow_row(_SUMS, int(each), part.source, numbers[here], whole[here], real[here])


def _added(batches: Batches) -> Batches:
    """_SUMS of all parts, added up in their order."""
    found: dict[int, list[tuple[int, tuple[Ints, Longs, Doubles]]]] = {}
    for batch in batches:
        ranges, sources, *arrays = batch.columns
        for at in range(len(batch)):
            these = _arrays(*(array[at] for array in arrays))
            found.setdefault(ranges[at].as_py(), []).append((sources[at].as_py(), these))
    for each, parts in sorted(found.items()):
        parts.sort(key=lambda part: part[0])
        numbers = ids.distinct(np.concatenate([part[0] for _, part in parts]))
        counts, sums = np.zeros((len(numbers), 3), np.int64), np.zeros((len(numbers), 3))
        for _, (own, own_counts, own_sums) in parts:
            places = ids.positions(numbers, own)
            counts[places] += own_counts
            sums[places] += own_sums
        yield arrow_row(_SUMS, each, -1, numbers, counts, sums)


def _arrays(numbers: pa.Scalar, counts: pa.Scalar, sums: pa.Scalar) -> tuple[Ints, Longs, Doubles]:
    return (
        as_array(numbers, np.int32),
        as_array(counts, np.int64).reshape(-1, 3),
        as_array(sums, np.float64).reshape(-1, 3),
    )


__all__ = ["Columns", "Matrix", "Part", "entries_of", "parts_of"]
