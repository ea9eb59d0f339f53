"""The linear equations of one row of factors, which both solvers of ALS share.

One side is held still, in `other`. A row with ratings r of the other side's rows y solves

    (sum w y y' + base + penalty I) x = sum t y

explicit (Zhou et al. 2008, ALS-WR): w = 1, or what the rating weighs, t = w r, base = 0;
implicit (Hu, Koren and Volinsky 2008; Rendle et al. 2021): of a strength s, w = alpha |s| and
t = w + shift where s > 0, else 0; base is alpha0 times the sum of y y' over all of `other`.

`Objective` says what of it minimises which objective, and the penalty of a row.

Matrices are C-contiguous float32 whose width is the rank padded with zeros to a multiple of
`vectors.LANES`.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void
from numpy.typing import NDArray

from recpipe.kernels.cholesky_tiles import add_tile
from recpipe.kernels.vectors import LANES, ROWS

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

OFFSETS = types.Array(int64, 1, "C", readonly=True)
COLUMNS = types.Array(int32, 1, "C", readonly=True)
VALUES = types.Array(float32, 1, "C", readonly=True)
CONST = types.Array(float32, 2, "C", readonly=True)
DOUBLES = types.Array(float64, 2, "C", readonly=True)
ROWS_TYPE = (OFFSETS, COLUMNS, VALUES, CONST, CONST, VALUES)
MATRIX = float32[:, ::1]
VECTOR = float32[::1]

# Rows of `other` gathered at a time: at rank 64 they and the matrix stay in the nearest cache.
GATHERED = 64
# Products summed in one float32 before they go to the total: the rounding of a row with a million
# ratings is then that of one with some thousands.
SUMMED = 1024


class Objective(NamedTuple):
    """What is minimised. The last three are of implicit objectives only.

    explicit: sum over ratings of (r - x . y)^2, each times what the rating weighs;
    `confidence` (Hu, Koren and Volinsky 2008): sum over all pairs of c (p - x . y)^2, of a liking
    p = 1 and c = alpha0 + alpha s, elsewhere p = 0 and c = alpha0;
    `ials` (Rendle et al. 2021, "Revisiting the performance of iALS on item recommendation
    benchmarks"): sum over likings of alpha s (1 - x . y)^2, and alpha0 times the sum over all pairs
    of (x . y)^2.

    To each is added lambda n^nu |x|^2 of every row x: n is its number of ratings (implicit: of
    likings), and with `ials` more by alpha0 times the number of rows on the other side.

    Args:
        rank: number of factors.
        regularization: lambda.
        exponent: nu; 0 for the same penalty of all rows.
        implicit: whether values are strengths, not ratings.
        alpha: growth of confidence with strength.
        unobserved_weight: alpha0.
        loss: of implicit objectives.
    """

    rank: int
    regularization: float
    exponent: float = 1.0
    implicit: bool = False
    alpha: float = 0.0
    unobserved_weight: float = 1.0
    loss: Literal["confidence", "ials"] = "confidence"

    @property
    def scalars(self) -> tuple[int, bool, float, float]:
        """(rank, implicit, alpha, shift), as the kernels take them."""
        shift = self.unobserved_weight if self.loss == "confidence" else 0.0
        return self.rank, self.implicit, self.alpha, shift

    def penalties(self, offsets: Longs, values: Floats, *, others: int) -> Floats:
        """The penalty of each row.

        Args:
            offsets: (rows + 1,) where each row's values start.
            values: ratings, or strengths.
            others: number of rows on the other side.
        """
        counts = np.diff(offsets)
        if self.implicit:
            counts = np.diff(np.concatenate([[0], np.cumsum(values > 0)])[offsets])
        unobserved = self.unobserved_weight * others if self.loss == "ials" else 0.0
        scale: Floats = ((counts + unobserved) ** self.exponent).astype(np.float32)
        return np.float32(self.regularization) * scale


SCALARS = (int64, boolean, float32, float32)


def width(rank: int) -> int:
    """`rank` padded to a multiple of LANES."""
    return -(-rank // LANES) * LANES


@njit(cache=True, nogil=True, inline="always")
def weights(
    values: Floats, n: int, count: int, implicit: bool, alpha: float, shift: float
) -> tuple[np.float32, np.float32]:
    """(w, t) of rating n of `count`; explicit ones may have their weights behind them."""
    value = values[n]
    if not implicit:
        weight = values[count + n] if values.shape[0] > count else np.float32(1)
        return weight, weight * value
    weight = np.float32(alpha * abs(value))
    return weight, (np.float32(shift) + weight if value > 0 else np.float32(0))


@njit(void(MATRIX, int64, MATRIX), cache=True, nogil=True)
def add_products(rows: Floats, count: int, matrix: Floats) -> None:
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
    shift: float,
    gathered: Floats,
    total: Floats,
    matrix: Floats,
    right: Floats,
) -> None:
    """The matrix of a row, without its penalty, and the right side.

    Only the upper triangle of `matrix` is of use; `gathered` and `total` are room to work in.
    """
    size, count = other.shape[1], columns.shape[0]
    weighed = implicit or values.shape[0] > count
    many = stop - start > SUMMED
    right[:] = 0
    matrix[:] = 0
    total[:] = base
    since = 0
    for first in range(start, stop, GATHERED):
        last = min(first + GATHERED, stop)
        for n in range(first, last):
            weight, target = weights(values, n, count, implicit, alpha, shift)
            c = columns[n]
            at = n - first
            if weighed:
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
        add_products(gathered, last - first, matrix)
        since += last - first
        if many and since >= SUMMED:
            total += matrix
            matrix[:] = 0
            since = 0
    matrix += total


@njit(float32[:, ::1](CONST), cache=True, nogil=True)
def _products(rows: Floats) -> Floats:
    size = rows.shape[1]
    matrix = np.zeros((size, size), np.float32)
    for i in range(0, size, ROWS):
        for j in range(0, size, LANES):
            add_tile(rows, rows.shape[0], i, j, matrix)
    return matrix


def gram(factors: Floats) -> Doubles:
    """(width, width) the sum of y y' over the rows of `factors`."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for first in range(0, len(factors), SUMMED):
        total += _products(factors[first : first + SUMMED])
    return total
