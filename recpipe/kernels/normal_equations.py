"""The linear equations of one row of factors, which both solvers of ALS share.

One side is held still, in `other`. A row with ratings r of the other side's rows y solves

    (sum w y y' + base + penalty I) x = sum t y

explicit (Zhou et al. 2008, ALS-WR): w = 1, t = r, base = 0;
implicit (Hu, Koren and Volinsky 2008): of a strength s, w = alpha |s| and t = 1 + w where s > 0,
else 0; base is the sum of y y' over all of `other`.

The penalty is lambda, times the row's ratings (implicit: those above 0) where it is scaled by
counts.

Matrices are C-contiguous float32 whose width is the rank padded with zeros to a multiple of
`vectors.LANES`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void
from numpy.typing import NDArray

from recpipe.kernels.cholesky_tiles import add_tile
from recpipe.kernels.vectors import LANES, ROWS

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

OFFSETS = types.Array(int64, 1, "C", readonly=True)
COLUMNS = types.Array(int32, 1, "C", readonly=True)
VALUES = types.Array(float32, 1, "C", readonly=True)
CONST = types.Array(float32, 2, "C", readonly=True)
DOUBLES = types.Array(float64, 2, "C", readonly=True)
ROWS_TYPE = (OFFSETS, COLUMNS, VALUES, CONST, CONST)
MATRIX = float32[:, ::1]
VECTOR = float32[::1]

# Rows of `other` gathered at a time: at rank 64 they and the matrix stay in the nearest cache.
GATHERED = 64
# Products summed in one float32 before they go to the total: the rounding of a row with a million
# ratings is then that of one with some thousands.
SUMMED = 1024


class Objective(NamedTuple):
    """What is minimised, as the kernels take it.

    Args:
        rank: number of factors.
        regularization: lambda.
        by_count: whether lambda is multiplied by the row's number of ratings.
        implicit: whether values are strengths, not ratings.
        alpha: growth of confidence with strength; implicit only.
    """

    rank: int
    regularization: float
    by_count: bool
    implicit: bool
    alpha: float


OBJECTIVE = (int64, float32, boolean, boolean, float32)


def width(rank: int) -> int:
    """`rank` padded to a multiple of LANES."""
    return -(-rank // LANES) * LANES


@njit(cache=True, nogil=True, inline="always")
def weights(value: np.float32, implicit: bool, alpha: float) -> tuple[np.float32, np.float32]:
    """(w, t) of a rating."""
    if not implicit:
        return np.float32(1), value
    weight = np.float32(alpha * abs(value))
    return weight, (np.float32(1) + weight if value > 0 else np.float32(0))


@njit(cache=True, nogil=True)
def penalty_of(
    values: Floats,
    start: int,
    stop: int,
    regularization: float,
    by_count: bool,
    implicit: bool,
) -> Any:
    """The penalty of a row whose ratings are values[start:stop]."""
    if not by_count:
        return regularization
    count = stop - start
    if implicit:
        count = 0
        for n in range(start, stop):
            count += values[n] > 0
    return np.float32(regularization * np.float32(count))


@njit(void(MATRIX, int64, MATRIX), cache=True, nogil=True)
def _add_products(rows: Floats, count: int, matrix: Floats) -> None:
    """Add rows' rows to the upper triangle of `matrix` (and to some places below it)."""
    size = matrix.shape[1]
    for i in range(0, size, ROWS):
        for j in range(i // LANES * LANES, size, LANES):
            add_tile(rows, count, i, j, matrix)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def equations(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: NDArray[Any],
    implicit: bool,
    alpha: float,
    gathered: Floats,
    total: Floats,
    matrix: Floats,
    right: Floats,
) -> None:
    """The matrix of a row, without its penalty, and the right side.

    Only the upper triangle of `matrix` is of use; `gathered` and `total` are room to work in.
    """
    size = other.shape[1]
    many = stop - start > SUMMED
    right[:] = 0
    matrix[:] = 0
    total[:] = base
    since = 0
    for first in range(start, stop, GATHERED):
        last = min(first + GATHERED, stop)
        for n in range(first, last):
            weight, target = weights(values[n], implicit, alpha)
            c = columns[n]
            at = n - first
            if implicit:
                root = np.float32(math.sqrt(weight))
                for k in range(size):
                    y = other[c, k]
                    right[k] += target * y
                    gathered[at, k] = root * y
            else:
                for k in range(size):
                    y = other[c, k]
                    right[k] += target * y
                    gathered[at, k] = y
        _add_products(gathered, last - first, matrix)
        since += last - first
        if many and since >= SUMMED:
            total += matrix
            matrix[:] = 0
            since = 0
    matrix += total


@njit(cache=True, nogil=True)
def equations_in_double(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: NDArray[Any],
    rank: int,
    implicit: bool,
    alpha: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rank, rank) the upper triangle of a row's matrix, without its penalty, and the right side.

    Below the diagonal the matrix is that of `base`.
    """
    matrix = base[:rank, :rank].astype(np.float64)
    right = np.zeros(rank)
    y = np.empty(rank)
    for n in range(start, stop):
        weight, target = weights(values[n], implicit, alpha)
        for k in range(rank):
            y[k] = other[columns[n], k]
        for i in range(rank):
            right[i] += np.float64(target) * y[i]
            scaled = np.float64(weight) * y[i]
            for j in range(i, rank):
                matrix[i, j] += scaled * y[j]
    return matrix, right


@njit(float32[:, ::1](CONST), cache=True, nogil=True)
def _products(rows: Floats) -> Floats:
    size = rows.shape[1]
    matrix = np.zeros((size, size), np.float32)
    for i in range(0, size, ROWS):
        for j in range(0, size, LANES):
            add_tile(rows, rows.shape[0], i, j, matrix)
    return matrix


def gram(factors: Floats) -> NDArray[np.float64]:
    """(width, width) the sum of y y' over the rows of `factors`."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for first in range(0, len(factors), SUMMED):
        total += _products(factors[first : first + SUMMED])
    return total
