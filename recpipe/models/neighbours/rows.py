"""Ratings as sparse rows in a cache, and the sums over their columns."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.kernels import ids
from recpipe.kernels.neighbours import Rows
from recpipe.models.neighbours.entries import numbers_of
from recpipe.ranking.histories import PARTS, as_part, packed_histories, parts_of
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.neighbours.entries import Liking, Weighting
    from recpipe.ranking.histories import Part
    from recpipe.spark.interactions import Interactions

    Batches = Iterator[pa.RecordBatch]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Arrays = tuple[Ints, Longs, Doubles]

_VALUES_OF_A_PART = 1 << 20

_SUMS = "range int, source int, size int, ids binary, counts binary, sums binary"
"""Of the columns of a range that a part has: (columns, 3) int64 and (columns, 3) float64. `size` is
how many rows the part has, with one of its ranges, and 0 with the others."""

_RANGE = 1 << 18
"""Numbers of a range of columns, whose sums one task adds up."""


class Columns(NamedTuple):
    """The columns of the matrix; each array has a place for each column.

    Args:
        rows: of the whole matrix: how many there are.
        ids: their numbers, ascending.
        ratings: how many values each has.
        means: of these, or what else is expected of them (`centres`).
        counts: how many entries each has.
        sums: of the entries.
        squares: the sum of their squares.
        costs: how many entries follow the column's own in their rows, summed: the products that a
            search from each column to its right takes.
    """

    rows: int
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
        parts: `histories.PARTS`.
        values: how many ratings there are.
        number: how many parts there are.
    """

    parts: DataFrame
    values: int
    number: int

    def columns(self, liking: Liking, *, model: str) -> Columns:
        """The columns, and the sums over the entries of each.

        Args:
            liking: which values are entries.
            model: for the error.

        Raises:
            FitError: if there is no entry.
        """
        rows, found = self._sums(partial(_sums, liking=liking))
        if not any(counts[:, 1].any() for _, counts, _ in found):
            raise nothing_to_fit(model)
        numbers, counts, sums = (np.concatenate(each) for each in zip(*found, strict=True))
        ratings, entries, costs = counts.T
        means = sums[:, 0] / ratings
        return Columns(rows, numbers, ratings, means, entries, sums[:, 1], sums[:, 2], costs)

    def squares(self, columns: Columns, liking: Liking, weighting: Weighting) -> Doubles:
        """(columns,) the sum of the squares of the weighted entries of each."""
        context = self.parts.sparkSession.sparkContext
        sent = context.broadcast((columns.ids, weighting))
        _, found = self._sums(partial(_sums, liking=liking, weighted=sent))
        sent.destroy()
        return np.concatenate([sums[:, 2] for _, _, sums in found])

    def _sums(self, work: Callable[[Batches], Batches]) -> tuple[int, list[Arrays]]:
        """How many rows there are; and ids and sums of the ranges of columns, ascending."""
        found = (
            self.parts.mapInArrow(work, _SUMS)
            .repartition(F.col("range"))
            .mapInArrow(_added, _SUMS)
            .toArrow()
            .sort_by("range")
            .combine_chunks()
        )
        arrays = [
            _arrays(*(found.column(name)[at] for name in ("ids", "counts", "sums")))
            for at in range(len(found))
        ]
        # Not by an Observation, which counts a task again that a lost executor has Spark run again.
        return sum(found.column("size").to_pylist()), arrays


@contextmanager
def packed_matrix(ratings: Interactions, *, value: str = "value") -> Iterator[Matrix]:
    """A matrix of (user int, item int, float), while the `with` lasts.

    Its rows are users, its columns items. The ratings are read twice: they should be cheap to read
    again.

    Args:
        ratings: one row a pair.
        value: the column that the matrix holds.
    """
    values = frame_of(ratings).count()
    # From the data alone, so that sums are taken in the same order on every machine.
    parts = max(1, math.ceil(values / _VALUES_OF_A_PART))
    packed = packed_histories(ratings, buckets=parts, value=value)
    frame = cached(together([packed], buckets=parts).mapInArrow(as_part, PARTS))
    try:
        yield Matrix(frame, values, parts)
    finally:
        frame.unpersist()


def entries_of(part: Part, liking: Liking, ids_of_columns: Ints) -> Rows:
    """In a task: the entries of a part, columns by their places."""
    kept = liking.entries(part.rows.values)
    places = ids.positions(ids_of_columns, part.rows.items[kept])
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    values = np.empty(0, np.float32) if liking.binary else part.rows.values[kept]
    return Rows(before[part.rows.offsets], places, values)


def _sums(
    batches: Batches,
    *,
    liking: Liking,
    weighted: Broadcast[tuple[Ints, Weighting]] | None = None,
) -> Batches:
    """_SUMS of each part, of the entries as they are or weighted."""
    for part in parts_of(batches):
        numbers = ids.distinct(part.rows.items) if weighted is None else weighted.value[0]
        rows = entries_of(part, liking, numbers)
        x = weighted.value[1](rows).astype(np.float64) if weighted is not None else numbers_of(rows)
        behind = np.repeat(rows.offsets[1:], np.diff(rows.offsets)) - np.arange(len(x)) - 1
        width = len(numbers)
        every = ids.positions(numbers, part.rows.items)
        counts = [np.bincount(every, minlength=width), np.bincount(rows.columns, minlength=width)]
        costs = np.zeros(width, np.int64)
        np.add.at(costs, rows.columns, behind)
        sums = [
            np.bincount(every, weights=part.rows.values, minlength=width),
            np.bincount(rows.columns, weights=x, minlength=width),
            np.bincount(rows.columns, weights=x * x, minlength=width),
        ]
        whole = np.column_stack([*counts, costs]).astype(np.int64)
        real = np.column_stack(sums)
        ranges = numbers // _RANGE
        size = len(part.users)
        for each in np.unique(ranges):
            here = slice(*np.searchsorted(ranges, [each, each + 1]))
            yield arrow_row(
                _SUMS, int(each), part.source, size, numbers[here], whole[here], real[here]
            )
            size = 0


def _added(batches: Batches) -> Batches:
    """_SUMS of all parts, added up in their order."""
    found: dict[int, list[tuple[int, Arrays]]] = {}
    rows: dict[int, int] = {}
    for batch in batches:
        ranges, sources, sizes, *arrays = batch.columns
        for at in range(len(batch)):
            each = ranges[at].as_py()
            these = _arrays(*(array[at] for array in arrays))
            found.setdefault(each, []).append((sources[at].as_py(), these))
            rows[each] = rows.get(each, 0) + sizes[at].as_py()
    for each, parts in sorted(found.items()):
        parts.sort(key=lambda part: part[0])
        numbers = ids.distinct(np.concatenate([part[0] for _, part in parts]))
        counts, sums = np.zeros((len(numbers), 3), np.int64), np.zeros((len(numbers), 3))
        for _, (own, own_counts, own_sums) in parts:
            places = ids.positions(numbers, own)
            counts[places] += own_counts
            sums[places] += own_sums
        yield arrow_row(_SUMS, each, -1, rows[each], numbers, counts, sums)


def _arrays(numbers: pa.Scalar, counts: pa.Scalar, sums: pa.Scalar) -> Arrays:
    return (
        as_array(numbers, np.int32),
        as_array(counts, np.int64).reshape(-1, 3),
        as_array(sums, np.float64).reshape(-1, 3),
    )


__all__ = ["Columns", "Matrix", "entries_of", "packed_matrix"]
