"""Products of a sparse matrix: with its own transpose, with a dense matrix, and both in one.

And dense parts of a sparse one.

A product with a dense matrix that is wider than the caches hold is taken a tile of its columns
after the other, in which the rows that many others ask for stay near.

Indices are read before the innermost loop, since a store in it might change what is read again, and
are unsigned where -1 has no meaning, since a negative index would count from the end. Without that
a loop takes several times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import float32, float64, int64, njit, types, void

from recpipe.kernels.best import INTS, LONGS, VECTOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 64
"""Columns of a tile: 2.5 MB of float32 for 10,000 rows, which the second and third caches hold."""


def gram_tile(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    high: slice,
    wide: slice,
) -> NDArray[np.float64]:
    """(high, wide) some rows and columns of X'X, on its diagonal and above; zeros below.

    Sums are taken in the order of the rows of X. Time grows with the values of X, and with the
    products that are in the result.

    Args:
        offsets: (n + 1,) where in `columns` each row of X starts.
        columns: of each value, ascending within a row.
        values: of X, in compressed rows.
        high: rows of X'X.
        wide: columns of X'X.
    """
    found = np.zeros((high.stop - high.start, wide.stop - wide.start))
    _gram_tile(offsets, columns, values, high.start, high.stop, wide.start, found)
    return found


def sparse_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    dense: NDArray[Any],
) -> NDArray[Any]:
    """(n, width) X W. A row of the result is summed in the order of its values, whatever the rest.

    Args:
        offsets: (n + 1,) where in `columns` each row of X starts.
        columns: rows of W; a negative one adds nothing.
        values: of X, in compressed rows.
        dense: (m, width) W, of the type of `values`.
    """
    found = np.zeros((len(offsets) - 1, dense.shape[1]), dense.dtype)
    _sparse_product(offsets, columns, values, dense, found)
    return found


def column_tiles(width: int, rows: int) -> NDArray[np.float32]:
    """(tiles, rows + 1, TILE) zeros: room for a matrix of so many columns, and a row of zeros."""
    return np.zeros((-(-width // TILE), rows + 1, TILE), np.float32)


def tiled_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    tiles: NDArray[np.float32],
    *,
    width: int,
) -> NDArray[np.float32]:
    """(n, width) `sparse_product` to the bit, with a W in tiles.

    Args:
        offsets: (n + 1,) where in `columns` each row of X starts.
        columns: rows of W; -1 adds nothing.
        values: of X, in compressed rows.
        tiles: (tiles, m + 1, TILE) W in the room of `column_tiles`.
        width: columns of W.
    """
    found = np.empty((len(offsets) - 1, width), np.float32)
    _tiled_product(offsets, columns, values, tiles, found)
    return found


def normal_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    dense: NDArray[Any],
) -> NDArray[Any]:
    """(m, width) X'(X W), a row of X after the other: of X W no more than a row is ever there.

    Args:
        offsets: (n + 1,) where in `columns` each row of X starts.
        columns: rows of W, of each value.
        values: of X, in compressed rows.
        dense: (m, width) W, of the type of `values`, which sums are taken in.
    """
    found = np.zeros(dense.shape, dense.dtype)
    _normal_product(offsets, columns, values, dense, found)
    return found


def submatrix(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(k, k) the entries of a square sparse matrix in some rows and the same columns.

    Time grows with the entries of these columns, and with the rows of the matrix.

    Args:
        starts: (n + 1,) where in `rows` each column starts.
        rows: of each entry.
        values: of each entry.
        chosen: (k,) distinct columns.
    """
    found = np.zeros((len(chosen), len(chosen)))
    _submatrix(starts, rows, values, chosen, found)
    return found


@njit(void(LONGS, INTS, VECTOR, int64, int64, int64, float64[:, ::1]), cache=True, nogil=True)
def _gram_tile(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    first: int,
    last: int,
    left: int,
    found: NDArray[np.float64],
) -> None:
    right = left + found.shape[1]
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        while end > begin and columns[end - 1] >= right:
            end -= 1
        start = begin
        while start < end and columns[start] < left:
            start += 1
        for a in range(begin, end):
            if columns[a] >= last:
                break
            if columns[a] >= first:
                value, own = float64(values[a]), np.uint64(columns[a] - first)
                for b in range(np.uint64(max(a, start)), np.uint64(end)):
                    found[own, np.uint64(columns[b] - left)] += value * values[b]


_SPARSE_AND_DENSE = [
    void(
        LONGS,
        INTS,
        types.Array(kind, 1, "C", readonly=True),
        types.Array(kind, 2, "C", readonly=True),
        kind[:, ::1],
    )
    for kind in (float32, float64)
]


@njit(_SPARSE_AND_DENSE, cache=True, nogil=True)
def _sparse_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    dense: NDArray[Any],
    found: NDArray[Any],
) -> None:
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1]):
            if columns[at] >= 0:
                own, value, a = np.uint64(row), values[at], np.uint64(columns[at])
                for k in range(np.uint64(dense.shape[1])):
                    found[own, k] += value * dense[a, k]


@njit(
    void(LONGS, INTS, VECTOR, types.Array(float32, 3, "C", readonly=True), float32[:, ::1]),
    cache=True,
    nogil=True,
)
def _tiled_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    tiles: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    sums = np.empty(TILE, np.float32)
    for number in range(len(tiles)):
        # Its row of zeros is the last one, which is also that of the number -1.
        tile = tiles[number]
        first = number * TILE
        last = min(first + TILE, found.shape[1])
        for row in range(len(offsets) - 1):
            sums[:] = 0
            at, end = offsets[row], offsets[row + 1]
            # Four at once, which are added in their order: sums are read and written less often.
            while at + 4 <= end:
                a, b, c, d = columns[at], columns[at + 1], columns[at + 2], columns[at + 3]
                w, x, y, z = values[at], values[at + 1], values[at + 2], values[at + 3]
                for k in range(TILE):
                    sums[k] = (
                        ((sums[k] + w * tile[a, k]) + x * tile[b, k]) + y * tile[c, k]
                    ) + z * tile[d, k]
                at += 4
            while at < end:
                a, w = columns[at], values[at]
                for k in range(TILE):
                    sums[k] += w * tile[a, k]
                at += 1
            for k in range(first, last):
                found[row, k] = sums[k - first]


@njit(_SPARSE_AND_DENSE, cache=True, nogil=True)
def _normal_product(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
    dense: NDArray[Any],
    found: NDArray[Any],
) -> None:
    width = np.uint64(dense.shape[1])
    image = np.empty(dense.shape[1], dense.dtype)
    for row in range(len(offsets) - 1):
        image[:] = 0
        at, end = offsets[row], offsets[row + 1]
        # Four at once, as in `_tiled_product`.
        while at + 4 <= end:
            a, b = np.uint64(columns[at]), np.uint64(columns[at + 1])
            c, d = np.uint64(columns[at + 2]), np.uint64(columns[at + 3])
            w, x, y, z = values[at], values[at + 1], values[at + 2], values[at + 3]
            for k in range(width):
                image[k] = (
                    ((image[k] + w * dense[a, k]) + x * dense[b, k]) + y * dense[c, k]
                ) + z * dense[d, k]
            at += 4
        while at < end:
            a, w = np.uint64(columns[at]), values[at]
            for k in range(width):
                image[k] += w * dense[a, k]
            at += 1
        for at in range(offsets[row], end):
            a, w = np.uint64(columns[at]), values[at]
            for k in range(width):
                found[a, k] += w * image[k]


@njit(void(LONGS, INTS, VECTOR, LONGS, float64[:, ::1]), cache=True, nogil=True)
def _submatrix(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    chosen: NDArray[np.int64],
    found: NDArray[np.float64],
) -> None:
    places = np.full(len(starts) - 1, -1)
    for place in range(len(chosen)):
        places[chosen[place]] = place
    for place in range(len(chosen)):
        for at in range(starts[chosen[place]], starts[chosen[place] + 1]):
            if places[rows[at]] >= 0:
                found[places[rows[at]], place] = values[at]


__all__ = [
    "TILE", "column_tiles", "gram_tile", "normal_product", "sparse_product", "submatrix",
    "tiled_product",
]  # fmt: skip
