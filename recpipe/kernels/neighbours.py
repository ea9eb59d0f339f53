"""Similarities of the columns of a sparse matrix, and the k nearest columns of each.

A similarity is computed from sums over the rows in which both columns have an entry. With n such
rows, entries x of one column and y of the other, and sums over these rows alone:

    SCALED           left * right * sum xy
    JACCARD          n / (left + right - n)
    PEARSON          (n sum xy - sum x sum y) / sqrt((n sum xx - (sum x)^2) (n sum yy - (sum y)^2))
    ADJUSTED_COSINE  sum xy / sqrt(sum xx sum yy)
    MANHATTAN        1 / (1 + sum |x - y|)
    EUCLIDEAN        1 / (1 + sqrt(sum (x - y)^2))
    CHEBYSHEV        1 / (1 + max |x - y|)

`left` is a number of the column whose neighbours are sought, and `right` one of the neighbour. Where
a root is of 0, as of columns whose entries do not vary, the similarity is 0.

Order is total: similarity descending, then column ascending.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void

from recpipe.kernels.best import INTS, TOP, VECTOR, Top, insert, least_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALED, JACCARD, PEARSON, ADJUSTED_COSINE, MANHATTAN, EUCLIDEAN, CHEBYSHEV = range(7)
_SUMS = {SCALED: 1, JACCARD: 1, PEARSON: 5, ADJUSTED_COSINE: 3}

_LONGS = types.Array(int64, 1, "C", readonly=True)
_DOUBLES = types.Array(float64, 1, "C", readonly=True)

_CONSTANT = 1e-12
"""The share of n sum xx below which n sum xx - (sum x)^2 is a rounding error of 0."""


class Measure(NamedTuple):
    """How similar two columns are.

    Args:
        kind: `SCALED` and so on.
        left: (columns,) see the module.
        right: (columns,).
        overlap: rows that two columns must share.
        shrinkage: similarities are multiplied by n / (n + shrinkage).
    """

    kind: int
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    overlap: int
    shrinkage: float


class Rows(NamedTuple):
    """Sparse rows.

    Args:
        offsets: (rows + 1,) where in `columns` each row starts.
        columns: of each entry, ascending in a row.
        values: of each entry; empty where every entry is 1.
    """

    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


def nearest(
    rows: Rows,
    order: NDArray[np.int64],
    block: range,
    measure: Measure,
    *,
    k: int,
    symmetric: bool,
) -> Top:
    """The k nearest columns of each of some columns; only those of a similarity above 0.

    Every sum is taken in one order of rows, whatever the block, so its bits are always the same.
    Time grows with the sum, over the entries of the block, of the entries of their rows (of those
    behind them where the result is symmetric), and memory with k times the rows of the result.

    Args:
        rows: all that have an entry in the block; where `symmetric`, what is left of the block may
            be missing.
        order: of the rows, in which sums are taken.
        block: of columns whose neighbours are sought.
        measure: of similarity.
        k: neighbours.
        symmetric: look at each pair of columns once, from the left of the two, for both of them.

    Returns:
        A row for each column of the block; where `symmetric` a row for each column from the first of
        the block on: the best pairs that have their left column in the block. Items are columns.
    """
    width = len(measure.left)
    last = width if symmetric else block.stop
    top = Top.empty(last - block.start, max(1, min(k, width - 1)))
    _nearest(
        rows.offsets, rows.columns, rows.values, order, block.start, block.stop, symmetric,
        measure.kind, measure.left, measure.right, measure.overlap, measure.shrinkage,
        _SUMS.get(measure.kind, 1), top,
    )  # fmt: skip
    return top


@njit(void(INTS, INTS, VECTOR, int64, TOP), cache=True, nogil=True)
def merge(
    sizes: NDArray[np.int32],
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    first: int,
    top: Top,
) -> None:
    """Take the best of some rows into `top`.

    Args:
        sizes: how many each row has.
        items: of all rows, above those that `top` has of the row.
        scores: of them, descending in a row, then their items ascending.
        first: the row of `top` that is the first of these.
        top: changed in place.
    """
    at = 0
    for row in range(len(sizes)):
        for _ in range(sizes[row]):
            if scores[at] > least_of(top, first + row):
                top.sizes[first + row] = insert(
                    top.scores[first + row], top.items[first + row], top.sizes[first + row],
                    scores[at], items[at],
                )  # fmt: skip
            at += 1


@njit(void(float64, INTS, VECTOR, int64, int64, int32[::1]), cache=True, nogil=True)
def _count(
    _x: float,
    columns: NDArray[np.int32],
    _values: NDArray[np.float32],
    begin: int,
    end: int,
    counts: NDArray[np.int32],
) -> None:
    for at in range(begin, end):
        counts[columns[at]] += 1


@njit(
    void(int64, float64, INTS, VECTOR, int64, int64, int32[::1], float64[:, ::1]),
    cache=True, nogil=True,
)  # fmt: skip
def _add(
    kind: int,
    x: float,
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    begin: int,
    end: int,
    counts: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> None:
    """Add the products of an entry with the entries of its row from `begin` to `end`."""
    for at in range(begin, end):
        column, y = columns[at], float64(values[at])
        counts[column] += 1
        if kind == SCALED:
            sums[column, 0] += x * y
        elif kind == ADJUSTED_COSINE:
            sums[column, 0] += x * y
            sums[column, 1] += x * x
            sums[column, 2] += y * y
        elif kind == PEARSON:
            sums[column, 0] += x * y
            sums[column, 1] += x * x
            sums[column, 2] += y * y
            sums[column, 3] += x
            sums[column, 4] += y
        elif kind == MANHATTAN:
            sums[column, 0] += abs(x - y)
        elif kind == EUCLIDEAN:
            sums[column, 0] += (x - y) * (x - y)
        else:
            sums[column, 0] = max(sums[column, 0], abs(x - y))


@njit(float64(int64, int64, float64[::1], float64, float64), cache=True, nogil=True)
def _similarity(kind: int, n: int, sums: NDArray[np.float64], left: float, right: float) -> float:
    if kind == SCALED:
        return sums[0] * left * right
    if kind == JACCARD:
        return n / (left + right - n)
    if kind == ADJUSTED_COSINE:
        squares = sums[1] * sums[2]
        return sums[0] / math.sqrt(squares) if squares > 0 else 0.0
    if kind == PEARSON:
        own, other = n * sums[1] - sums[3] * sums[3], n * sums[2] - sums[4] * sums[4]
        if own <= _CONSTANT * n * sums[1] or other <= _CONSTANT * n * sums[2]:
            return 0.0
        return (n * sums[0] - sums[3] * sums[4]) / math.sqrt(own * other)
    return 1 / (1 + (math.sqrt(sums[0]) if kind == EUCLIDEAN else sums[0]))


@njit(void(TOP, int64, float64, int64), cache=True, nogil=True)
def _take(top: Top, row: int, similarity: float, column: int) -> None:
    score = float32(similarity)
    if score > 0 and score > least_of(top, row):
        top.sizes[row] = insert(
            top.scores[row], top.items[row], top.sizes[row], score, int32(column)
        )


@njit(
    void(
        _LONGS, INTS, VECTOR, _LONGS, int64, int64, boolean,
        int64, _DOUBLES, _DOUBLES, int64, float64, int64, TOP,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _nearest(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    order: NDArray[np.int64],
    first: int,
    last: int,
    symmetric: bool,
    kind: int,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    overlap: int,
    shrinkage: float,
    numbers: int,
    top: Top,
) -> None:
    width = len(left)
    counted = len(values) == 0 or kind == JACCARD
    # The entries of the block by column, those of a column in the order of rows.
    starts = np.zeros(last - first + 1, np.int64)
    for at in range(len(columns)):
        if first <= columns[at] < last:
            starts[columns[at] - first + 1] += 1
    for column in range(last - first):
        starts[column + 1] += starts[column]
    ends = starts[:-1].copy()
    places = np.empty(starts[-1], np.int64)
    owners = np.empty(starts[-1], np.int32)
    for row in order:
        for at in range(offsets[row], offsets[row + 1]):
            if columns[at] >= last:
                break
            if columns[at] >= first:
                end = ends[columns[at] - first]
                places[end], owners[end] = at, row
                ends[columns[at] - first] = end + 1
    counts = np.zeros(width, np.int32)
    sums = np.zeros((1 if counted else width, numbers))
    met = np.empty(width, np.int32)
    for column in range(first, last):
        products = 0
        for entry in range(starts[column - first], starts[column - first + 1]):
            at, row = places[entry], owners[entry]
            begin, end = (at + 1 if symmetric else offsets[row]), offsets[row + 1]
            products += end - begin
            if counted:
                _count(1.0, columns, values, begin, end, counts)
            else:
                _add(kind, values[at], columns, values, begin, end, counts, sums)
        # The columns that share a row with this one, ascending.
        size = 0
        if products < width // 8:
            for entry in range(starts[column - first], starts[column - first + 1]):
                at, row = places[entry], owners[entry]
                for other in columns[(at + 1 if symmetric else offsets[row]) : offsets[row + 1]]:
                    if counts[other] > 0:
                        met[size] = other
                        size += 1
                        counts[other] = -counts[other]
            met[:size].sort()
            for place in range(size):
                counts[met[place]] = -counts[met[place]]
        else:
            for other in range(column + 1 if symmetric else 0, width):
                if counts[other]:
                    met[size] = other
                    size += 1
        for other in met[:size]:
            n = counts[other]
            counts[other] = 0
            own = 0 if counted else other
            if counted:
                sums[0, 0] = n
            if other != column and n >= overlap:
                trust = n / (n + shrinkage)
                _take(
                    top, column - first,
                    trust * _similarity(kind, n, sums[own], left[column], right[other]), other,
                )  # fmt: skip
                if symmetric:
                    _take(
                        top, other - first,
                        trust * _similarity(kind, n, sums[own], left[other], right[column]), column,
                    )  # fmt: skip
            sums[own] = 0


__all__ = [
    "ADJUSTED_COSINE", "CHEBYSHEV", "EUCLIDEAN", "JACCARD", "MANHATTAN", "PEARSON", "SCALED",
    "Measure", "Rows", "merge", "nearest",
]  # fmt: skip
