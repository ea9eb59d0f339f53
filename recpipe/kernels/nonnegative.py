"""Rows of factors that may not be negative: least squares by coordinate descent, in float64.

A row with ratings r of the other side's rows y minimises, over x >= 0,

    sum (r - y . x)^2 + penalty |x|^2.

Each step sets one coordinate to its best value while the others are held still, 0 where that would
be negative (Franc, Hlavac and Navara 2005, "Sequential coordinate-wise algorithm for the
non-negative least squares problem"). With a penalty there is one answer, and steps lead to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, void

from recpipe.kernels.normal_equations import COLUMNS, CONST, MATRIX, OFFSETS, VALUES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_SWEEPS = 10_000
# A sweep that changes no coordinate by more than this share of the largest is the last.
_STILL = 1e-10


@njit(void(OFFSETS, COLUMNS, VALUES, CONST, VALUES, MATRIX), cache=True, nogil=True)
def solve_nonnegative(  # noqa: C901 - compiled whole
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    other: NDArray[np.float32],
    penalties: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Solve every row. A sweep over the coordinates of a row takes rank^2 steps.

    Args:
        offsets: (rows + 1,) where in `columns` each row's ratings start.
        columns: the row in `other` of each rating.
        values: each rating.
        other: (n, rank) the side held still.
        penalties: (rows,) of each row.
        out: (rows, rank) the answers; 0 for a row without ratings.
    """
    rank = other.shape[1]
    matrix = np.empty((rank, rank))
    x, slope = np.empty(rank), np.empty(rank)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        matrix[:] = 0
        x[:] = 0
        slope[:] = 0
        for n in range(start, stop):
            y = other[columns[n]]
            for i in range(rank):
                slope[i] -= np.float64(values[n]) * y[i]
                for j in range(rank):
                    matrix[i, j] += np.float64(y[i]) * y[j]
        for i in range(rank):
            matrix[i, i] += penalties[row]
        for _ in range(_MAX_SWEEPS):
            largest = moved = 0.0
            for k in range(rank):
                if matrix[k, k] <= 0:
                    continue
                value = max(0.0, x[k] - slope[k] / matrix[k, k])
                change = value - x[k]
                if change != 0:
                    x[k] = value
                    for i in range(rank):
                        slope[i] += change * matrix[k, i]
                largest = max(largest, value)
                moved = max(moved, abs(change))
            if moved <= _STILL * largest:
                break
        for k in range(rank):
            out[row, k] = np.float32(x[k])


__all__ = ["solve_nonnegative"]
