"""Rows of factors by conjugate gradients, from where they stand.

The equations: `normal_equations`.
"""

from __future__ import annotations

import numpy as np
from numba import int64, njit
from numpy.typing import NDArray

from recpipe.kernels.gradient_tiles import APPLIED, add_product, apply_ratings
from recpipe.kernels.normal_equations import (
    FASTMATH,
    GATHERED,
    MATRIX,
    ROWS_TYPE,
    SCALARS,
    equations,
    weights,
)
from recpipe.kernels.vectors import LANES

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

# Bytes of gathered factors that stay in a core's own cache from one step to the next.
_KEPT_BYTES = 512 << 10
# Ranks, a product with the matrix, up to which a long row's matrix is summed (measured).
_SUMMED_UP_TO = 24


@njit(cache=True, nogil=True)
def _gather(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    first: int,
    last: int,
    other: Floats,
    implicit: bool,
    alpha: float,
    shift: float,
    kept: Floats,
    weight: Floats,
    target: Floats,
) -> int:
    """Ratings first..last side by side, and zeros up to a multiple of APPLIED: how many that is."""
    count = last - first
    for n in range(count):
        at = first + n
        weight[n], target[n] = weights(values, at, columns.shape[0], implicit, alpha, shift)
        c = columns[first + n]
        # A loop: Numba makes arrays of slices.
        for k in range(other.shape[1]):
            kept[n, k] = other[c, k]
    whole: int = -(-count // APPLIED) * APPLIED
    kept[count:whole] = 0
    weight[count:whole] = 0
    target[count:whole] = 0
    return whole


@njit(int64(*ROWS_TYPE, *SCALARS, int64, MATRIX), cache=True, nogil=True, fastmath=FASTMATH)
def solve_by_gradients(  # noqa: C901, D417, PLR0912, PLR0913, PLR0915, PLR0917 - compiled whole
    offsets: Longs,
    columns: Ints,
    values: Floats,
    other: Floats,
    base: Floats,
    penalties: Floats,
    rank: int,  # noqa: ARG001 - taken as `solve_exactly` takes it
    implicit: bool,
    alpha: float,
    shift: float,
    steps: int,
    out: Floats,
) -> int:
    """Improve every row by some steps of conjugate gradients from where it stands.

    Takács, Pilászy and Tikk (2011, "Applications of the conjugate gradient method for implicit
    feedback collaborative filtering"). Ratings are applied one by one in every step, from a copy of
    their factors side by side; where these would leave the cache, and the rank is not above about
    24 (steps + 1), the matrix of the row is summed instead.

    Arguments as of `solve_exactly`, and

    Args:
        steps: most steps a row; fewer where the residual vanishes.
        out: (rows, width) comes with where to begin, leaves with the answers.

    Returns:
        -1: a positive semi-definite matrix has nothing to refuse.
    """
    size = other.shape[1]
    room = max(_KEPT_BYTES // (4 * size) // APPLIED * APPLIED, GATHERED)
    kept = np.empty((room, size), np.float32)
    weight, target = np.empty(room, np.float32), np.empty(room, np.float32)
    nothing = np.zeros(room, np.float32)
    matrix, total = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    right = np.empty(size, np.float32)
    direction = np.empty(size, np.float32)
    image = np.empty(size, np.float32)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        x = out[row]
        if start == stop:
            x[:] = 0
            continue
        penalty = penalties[row]
        summed = stop - start > room and size <= _SUMMED_UP_TO * (steps + 1)
        if summed:
            equations(
                columns, values, start, stop, other, base, implicit, alpha, shift,
                kept, total, matrix, right,
            )  # fmt: skip
            for i in range(LANES, size):
                for j in range(i // LANES * LANES):
                    matrix[i, j] = matrix[j, i]
        else:
            right[:] = 0
        direction[:] = x
        energy = begun = np.float32(0)
        count = 0
        # Step -1 makes the residual of where the row stands.
        for step in range(-1, steps):
            for k in range(size):
                image[k] = penalty * direction[k]
            if summed:
                add_product(matrix, direction, image)
            else:
                if implicit:
                    add_product(base, direction, image)
                for first in range(start, stop, room):
                    if step < 0 or stop - start > room:
                        count = _gather(
                            columns, values, first, min(first + room, stop), other,
                            implicit, alpha, shift, kept, weight, target,
                        )  # fmt: skip
                    sought = target if step < 0 else nothing
                    apply_ratings(kept, count, direction, weight, sought, image)
            before = energy
            energy = np.float32(0)
            if step < 0:
                for k in range(size):
                    right[k] -= image[k]
                    energy += right[k] * right[k]
                direction[:] = right
                begun = energy
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
            # What is left by then is rounding; so it is of a row that stood at its answer.
            if not energy > np.float32(1e-12) * begun:
                break
    return -1


__all__ = ["solve_by_gradients"]
