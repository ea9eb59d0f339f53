"""Rows of factors by conjugate gradients, from where they stand.

The equations: `normal_equations`.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, njit, void
from numpy.typing import NDArray

from recpipe.kernels.normal_equations import (
    CONST,
    FASTMATH,
    GATHERED,
    MATRIX,
    OBJECTIVE,
    ROWS_TYPE,
    VALUES,
    VECTOR,
    equations,
    penalty_of,
    weights,
)
from recpipe.kernels.tiles import LANES

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

# Rows that conjugate gradients gather once and keep (1 MiB at rank 64).
_KEPT = 4096
# Ranks, a product with the matrix, up to which conjugate gradients sum the matrix (measured).
_SUMMED_UP_TO = 24


@njit(
    void(CONST, int64, VECTOR, VALUES, int64, boolean, float32, VECTOR),
    cache=True,
    nogil=True,
    fastmath=FASTMATH,
)
def _add_image(
    rows: Floats,
    count: int,
    x: Floats,
    values: Floats,
    first: int,
    implicit: bool,
    alpha: float,
    image: Floats,
) -> None:
    """Add the sum of w (y . x) y over `count` rows y, whose values begin at `first`, to `image`."""
    size = rows.shape[1]
    whole = count // 4 * 4
    for n in range(0, whole, 4):
        a = b = c = d = np.float32(0)
        for k in range(size):
            a += rows[n, k] * x[k]
            b += rows[n + 1, k] * x[k]
            c += rows[n + 2, k] * x[k]
            d += rows[n + 3, k] * x[k]
        if implicit:
            a *= alpha * abs(values[first + n])
            b *= alpha * abs(values[first + n + 1])
            c *= alpha * abs(values[first + n + 2])
            d *= alpha * abs(values[first + n + 3])
        for k in range(size):
            image[k] += (
                a * rows[n, k] + b * rows[n + 1, k] + c * rows[n + 2, k] + d * rows[n + 3, k]
            )
    for n in range(whole, count):
        a = np.float32(0)
        for k in range(size):
            a += rows[n, k] * x[k]
        if implicit:
            a *= alpha * abs(values[first + n])
        for k in range(size):
            image[k] += a * rows[n, k]


@njit(void(CONST, VECTOR, VECTOR), cache=True, nogil=True, fastmath=FASTMATH)
def _add_product(matrix: Floats, x: Floats, image: Floats) -> None:
    """Add matrix x, of a symmetric matrix, to `image`."""
    for i in range(matrix.shape[0]):
        factor = x[i]
        for k in range(matrix.shape[1]):
            image[k] += factor * matrix[i, k]


@njit(int64(*ROWS_TYPE, *OBJECTIVE, int64, MATRIX), cache=True, nogil=True, fastmath=FASTMATH)
def solve_by_gradients(  # noqa: C901, D417, PLR0912, PLR0913, PLR0915, PLR0917 - compiled whole
    offsets: Longs,
    columns: Ints,
    values: Floats,
    other: Floats,
    base: Floats,
    rank: int,  # noqa: ARG001 - taken as `solve_exactly` takes it
    regularization: float,
    by_count: bool,
    implicit: bool,
    alpha: float,
    steps: int,
    out: Floats,
) -> int:
    """Improve every row by some steps of conjugate gradients from where it stands.

    Takács, Pilászy and Tikk (2011, "Applications of the conjugate gradient method for implicit
    feedback collaborative filtering"). The matrix of a row is summed where that costs less than
    applying its ratings one by one in every step, which is up to a rank of about 24 (steps + 1).

    Arguments as of `solve_exactly`, and

    Args:
        steps: most steps a row; fewer where the residual vanishes.
        out: (rows, width) comes with where to begin, leaves with the answers.

    Returns:
        -1: a positive semi-definite matrix has nothing to refuse.
    """
    size = other.shape[1]
    summed = size <= _SUMMED_UP_TO * (steps + 1)
    longest = 0
    for row in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    kept = np.empty((GATHERED if summed else min(longest, _KEPT), size), np.float32)
    side = size if summed else 0
    matrix = np.empty((side, side), np.float32)
    total = np.empty((side, side), np.float32)
    right = np.empty(size, np.float32)
    direction = np.empty(size, np.float32)
    image = np.empty(size, np.float32)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        x = out[row]
        if start == stop:
            x[:] = 0
            continue
        penalty = penalty_of(values, start, stop, regularization, by_count, implicit)
        if summed:
            equations(
                columns, values, start, stop, other, base, implicit, alpha,
                kept, total, matrix, right,
            )  # fmt: skip
            for i in range(LANES, size):
                for j in range(i // LANES * LANES):
                    matrix[i, j] = matrix[j, i]
        else:
            right[:] = 0
        direction[:] = x
        energy = goal = np.float32(0)
        # Step -1 makes the residual, in place of the right side, of where the row stands.
        for step in range(-1, steps):
            for k in range(size):
                image[k] = penalty * direction[k]
            if summed:
                _add_product(matrix, direction, image)
            else:
                if implicit:
                    _add_product(base, direction, image)
                for first in range(start, stop, _KEPT):
                    last = min(first + _KEPT, stop)
                    if step < 0 or stop - start > _KEPT:
                        for n in range(first, last):
                            kept[n - first] = other[columns[n]]
                    if step < 0:
                        for n in range(first, last):
                            target = weights(values[n], implicit, alpha)[1]
                            for k in range(size):
                                right[k] += target * kept[n - first, k]
                    _add_image(kept, last - first, direction, values, first, implicit, alpha, image)
            before = energy
            energy = np.float32(0)
            if step < 0:
                for k in range(size):
                    goal += right[k] * right[k]
                    right[k] -= image[k]
                    energy += right[k] * right[k]
                direction[:] = right
            else:
                curvature = np.float32(0)
                for k in range(size):
                    curvature += direction[k] * image[k]
                length = before / curvature
                for k in range(size):
                    x[k] += length * direction[k]
                    right[k] -= length * image[k]
                    energy += right[k] * right[k]
                for k in range(size):
                    direction[k] = right[k] + (energy / before) * direction[k]
            # Below this the residual is rounding.
            if not energy > np.float32(1e-12) * goal:
                break
    return -1


__all__ = ["solve_by_gradients"]
