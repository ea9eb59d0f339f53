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

`left` is a number of the column whose neighbours are sought, and `right` one of the neighbour.
Where a root is of 0, as of columns whose entries do not vary, the similarity is 0.

Order is total: similarity descending, then column ascending.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void

from recpipe.kernels.best import (
    INTS,
    LONGS,
    SHORTS,
    TOP,
    VECTOR,
    Top,
    constant,
    insert,
    least_of,
    read_only,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALED, JACCARD, PEARSON, ADJUSTED_COSINE, MANHATTAN, EUCLIDEAN, CHEBYSHEV = range(7)
_SUMS = {SCALED: 1, JACCARD: 1, PEARSON: 5, ADJUSTED_COSINE: 3}
"""How many sums over shared rows a similarity needs, beside their number; the others need one."""

_DOUBLES = types.Array(float64, 1, "C", readonly=True)

_CONSTANT = 1e-12
"""The share of n sum xx below which n sum xx - (sum x)^2 is a rounding error of 0."""
_DENSE = 8
"""With at least one product for so many columns, those that were met are found by going through all
columns; with fewer, by going through the rows once more."""


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
        columns: of each entry, ascending in a row. Of 16 bits, where these are enough, they take
            half of the memory that a search goes through.
        values: of each entry; empty where every entry is 1.
    """

    offsets: NDArray[np.int64]
    columns: NDArray[np.int32 | np.uint16]
    values: NDArray[np.float32]


class Index(NamedTuple):
    """The entries of some columns, those of a column in the order of rows.

    Args:
        starts: (columns + 1,) where each column starts.
        places: of each entry, among the entries of the rows.
        owners: the row of each entry.
    """

    starts: NDArray[np.int64]
    places: NDArray[np.int64]
    owners: NDArray[np.int32]


MEASURE = types.NamedTuple((int64, _DOUBLES, _DOUBLES, int64, float64), Measure)
ROWS = [types.NamedTuple((LONGS, columns, VECTOR), Rows) for columns in (INTS, SHORTS)]
INDEX = types.NamedTuple((int64[::1], int64[::1], int32[::1]), Index)


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
        rows: all that have an entry in the block; where `symmetric`, their entries in columns
            before the block may be missing.
        order: of the rows, in which sums are taken.
        block: of columns whose neighbours are sought.
        measure: of similarity.
        k: neighbours.
        symmetric: look at each pair of columns once, from the left of the two, for both of them.

    Returns:
        A row for each column of the block; where `symmetric` a row for each column from the first
        of the block on: the best pairs that have their left column in the block. Items are columns.
    """
    width = len(measure.left)
    last = width if symmetric else block.stop
    top = Top.empty(last - block.start, max(1, min(k, width - 1)))
    given = constant(rows)
    index = Index(*_by_column(given, order, block.start, block.stop))
    scaled = measure._replace(left=read_only(measure.left), right=read_only(measure.right))
    # With one number for each column a pair has the same similarity both ways.
    both_ways = measure.left is measure.right
    numbers = _SUMS.get(measure.kind, 1)
    _nearest(given, index, block.start, symmetric, scaled, both_ways, numbers, top)
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
        items: of all rows, each higher than those that `top` has in its row: at equal scores the
            lower item, which came before, stays first.
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


@njit(
    [types.Tuple((int64[::1], int64[::1], int32[::1]))(rows, LONGS, int64, int64) for rows in ROWS],
    cache=True, nogil=True,
)  # fmt: skip
def _by_column(
    rows: Rows, order: NDArray[np.int64], first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """`Index` of the columns of a block."""
    starts = np.zeros(last - first + 1, np.int64)
    for column in rows.columns:
        if first <= column < last:
            starts[column - first + 1] += 1
    for place in range(last - first):
        starts[place + 1] += starts[place]
    ends = starts[:-1].copy()
    places, owners = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int32)
    for row in order:
        for at in range(rows.offsets[row], rows.offsets[row + 1]):
            column = rows.columns[at]
            if column >= last:
                break
            if column >= first:
                end = ends[column - first]
                places[end], owners[end] = at, row
                ends[column - first] = end + 1
    return starts, places, owners


@njit(
    [void(int64, float64, rows, int64, int64, int32[::1], float64[:, ::1]) for rows in ROWS],
    cache=True, nogil=True,
)  # fmt: skip
def _add(
    kind: int,
    x: float,
    rows: Rows,
    begin: int,
    end: int,
    counts: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> None:
    """Add the products of an entry with the entries from `begin` to `end` of its row."""
    for at in range(np.uint64(begin), np.uint64(end)):
        column, y = np.uint64(rows.columns[at]), float64(rows.values[at])
        counts[column] += 1
        own = sums[column]
        if kind == SCALED:
            own[0] += x * y
        elif kind in (ADJUSTED_COSINE, PEARSON):
            own[0] += x * y
            own[1] += x * x
            own[2] += y * y
            if kind == PEARSON:
                own[3] += x
                own[4] += y
        elif kind == MANHATTAN:
            own[0] += abs(x - y)
        elif kind == EUCLIDEAN:
            own[0] += (x - y) * (x - y)
        else:
            own[0] = max(own[0], abs(x - y))


@njit(float64(int64, int64, float64[:, ::1], int64, float64, float64), cache=True, nogil=True)
def _similarity(
    kind: int, n: int, sums: NDArray[np.float64], at: int, left: float, right: float
) -> float:
    """Of n shared rows and the sums at a place, by every kind but `SCALED`; see the module."""
    found = 0.0
    if kind == JACCARD:
        found = n / (left + right - n)
    elif kind == ADJUSTED_COSINE:
        squares = sums[at, 1] * sums[at, 2]
        if squares > 0:
            found = sums[at, 0] / math.sqrt(squares)
    elif kind == PEARSON:
        own = n * sums[at, 1] - sums[at, 3] * sums[at, 3]
        other = n * sums[at, 2] - sums[at, 4] * sums[at, 4]
        if own > _CONSTANT * n * sums[at, 1] and other > _CONSTANT * n * sums[at, 2]:
            found = (n * sums[at, 0] - sums[at, 3] * sums[at, 4]) / math.sqrt(own * other)
    else:
        found = 1 / (1 + (math.sqrt(sums[at, 0]) if kind == EUCLIDEAN else sums[at, 0]))
    return found


@njit(cache=True, nogil=True, inline="always")
def _score(
    kind: int, n: int, trust: float, sums: NDArray[np.float64], at: int, left: float, right: float
) -> float:
    """The similarity of two columns, times `trust`, as float32: what is compared and kept."""
    # `SCALED` is asked for most, and takes less time than the choice among all kinds.
    if kind == SCALED:
        # In this order the bits are the same if left and right change places.
        found = sums[at, 0] * (left * right)
    else:
        found = _similarity(kind, n, sums, at, left, right)
    # Rounded before they are compared, so that what is equal in a table is a tie.
    score: float = float32(trust * found)
    return score


@njit(void(TOP, float32[::1], int64, float32, int64), cache=True, nogil=True)
def _take(top: Top, least: NDArray[np.float32], row: int, score: float, column: int) -> None:
    """Put a column among the nearest of a row, where its score is above the least."""
    top.sizes[row] = insert(top.scores[row], top.items[row], top.sizes[row], score, column)
    least[row] = max(least_of(top, row), 0)


@njit(
    [int64(rows, INDEX, int64, boolean, int32[::1], int32[::1]) for rows in ROWS],
    cache=True, nogil=True,
)  # fmt: skip
def _few(
    rows: Rows,
    index: Index,
    place: int,
    symmetric: bool,
    counts: NDArray[np.int32],
    met: NDArray[np.int32],
) -> int:
    """Put the columns with a count into `met`, ascending; returns how many they are."""
    size = 0
    # A count is negative once its column has been met.
    for entry in range(index.starts[place], index.starts[place + 1]):
        at, row = index.places[entry], index.owners[entry]
        begin = at + 1 if symmetric else rows.offsets[row]
        for other in rows.columns[begin : rows.offsets[row + 1]]:
            if counts[other] > 0:
                met[size] = other
                size += 1
                counts[other] = -counts[other]
    met[:size].sort()
    for other in met[:size]:
        counts[other] = -counts[other]
    return size


@njit(
    [void(rows, INDEX, int64, boolean, MEASURE, boolean, int64, TOP) for rows in ROWS],
    cache=True, nogil=True,
)  # fmt: skip
def _nearest(  # noqa: C901, PLR0912 - compiled whole
    rows: Rows,
    index: Index,
    first: int,
    symmetric: bool,
    measure: Measure,
    both_ways: bool,
    numbers: int,
    top: Top,
) -> None:
    """Fill `top`, as `nearest` returns it, for the columns of `index`, which begin at `first`.

    `both_ways` is whether the similarity of a pair is the same both ways, so that one computation
    serves both columns, and `numbers` how many sums the measure needs.
    """
    kind, left, right, columns = measure.kind, measure.left, measure.right, rows.columns
    width = len(left)
    # Where all entries are 1, the number of shared rows is the only sum.
    counted = len(rows.values) == 0 or kind == JACCARD
    # One place more than there are columns: the loop over all of them below writes behind the last.
    counts, met = np.zeros(width, np.int32), np.empty(width + 1, np.int32)
    overlap, shrinkage = measure.overlap, measure.shrinkage
    sums = np.zeros((1 if counted else width, numbers))
    # What a score must be above; looked at for every pair, and seldom passed.
    least = np.zeros(len(top.sizes), np.float32)
    for place in range(len(index.starts) - 1):
        column, products = first + place, 0
        for entry in range(index.starts[place], index.starts[place + 1]):
            at, row = index.places[entry], index.owners[entry]
            begin, end = (at + 1 if symmetric else rows.offsets[row]), rows.offsets[row + 1]
            products += end - begin
            if counted:
                for link in range(np.uint64(begin), np.uint64(end)):
                    counts[np.uint64(columns[link])] += 1
            else:
                _add(kind, float64(rows.values[at]), rows, begin, end, counts, sums)
        size = 0
        if products < width // _DENSE:
            size = _few(rows, index, place, symmetric, counts, met)
        else:
            for other in range(column + 1 if symmetric else 0, width):
                # Written in any case, and kept if it is counted: the processor would mispredict a
                # branch here about as often as not.
                met[size] = other
                size += counts[other] != 0
        for which in range(size):
            other = met[which]
            n = counts[other]
            counts[other] = 0
            own = 0 if counted else other
            if counted:
                sums[0, 0] = n
            if other != column and n >= overlap:
                trust = n / (n + shrinkage) if shrinkage > 0 else 1.0
                score = _score(kind, n, trust, sums, own, left[column], right[other])
                if score > least[place]:
                    _take(top, least, place, score, other)
                if symmetric:
                    if not both_ways:
                        score = _score(kind, n, trust, sums, own, left[other], right[column])
                    if score > least[other - first]:
                        _take(top, least, other - first, score, column)
            for number in range(numbers):
                sums[own, number] = 0


__all__ = [
    "ADJUSTED_COSINE", "CHEBYSHEV", "EUCLIDEAN", "JACCARD", "MANHATTAN", "PEARSON", "SCALED",
    "Measure", "Rows", "merge", "nearest",
]  # fmt: skip
