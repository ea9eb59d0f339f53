"""Rows of factors by Cholesky's decomposition, and the factors that a fit begins with.

A row's answer depends on nothing but its own ratings, in their order, and the side held still: not
on the rows that it shares a block with. The equations: `normal_equations`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import boolean, int64, njit, uint64, void
from numpy.typing import NDArray

from recpipe.kernels.cholesky_tiles import (
    backward,
    factor_beside,
    factor_diagonal,
    forward,
    subtract_tile,
)
from recpipe.kernels.normal_equations import (
    COLUMNS,
    CONST,
    FASTMATH,
    GATHERED,
    MATRIX,
    OBJECTIVE,
    ROWS_TYPE,
    VECTOR,
    equations,
    penalty_of,
    weights,
    width,
)
from recpipe.kernels.splitmix import GOLDEN, mixed
from recpipe.kernels.vectors import LANES, ROWS

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

NO_PRIOR = np.empty((0, 0), np.float32)
"""Draws no row anywhere but to 0."""

# A pivot below this share of its diagonal has lost most of its digits in float32.
_MIN_PIVOT = 1e-4


@njit(boolean(MATRIX, VECTOR, VECTOR), cache=True, nogil=True, fastmath=FASTMATH)
def _solve(matrix: Floats, right: Floats, inverse: Floats) -> bool:
    """Solve matrix x = right by Cholesky's U'U in place; x takes the place of `right`.

    Args:
        matrix: symmetric; only its upper triangle is read, and it is destroyed.
        right: the right side.
        inverse: room for one number a row.

    Returns:
        Whether every pivot kept enough digits; if not, nothing in `right` is of use.
    """
    size = matrix.shape[0]
    for p in range(size):
        inverse[p] = matrix[p, p]
    for first in range(0, size, LANES):
        last = first + LANES
        if not factor_diagonal(matrix, first, inverse, np.float32(_MIN_PIVOT)):
            return False
        for column in range(last, size, LANES):
            factor_beside(matrix, first, column, inverse)
        panel = matrix[first:last]
        for i in range(last, size, ROWS):
            for j in range(i // LANES * LANES, size, LANES):
                subtract_tile(panel, LANES, i, j, matrix)
    for first in range(0, size, LANES):
        forward(matrix, first, right, inverse)
    for first in range(size - LANES, -1, -LANES):
        backward(matrix, first, right, inverse)
    return True


@njit(cache=True, nogil=True)
def _solve_in_double(  # noqa: C901, PLR0912, PLR0913, PLR0917 - compiled whole
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: Floats,
    rank: int,
    penalty: float,
    implicit: bool,
    alpha: float,
    prior: Floats,
    row: int,
    out: Floats,
) -> bool:
    """The same row in float64, for the few that float32 cannot; False if it is singular."""
    matrix = base[:rank, :rank].astype(np.float64)
    right = np.zeros(rank)
    for n in range(start, stop):
        weight, target = weights(values[n], implicit, alpha)
        c = columns[n]
        for i in range(rank):
            right[i] += np.float64(target) * other[c, i]
            scaled = np.float64(weight) * other[c, i]
            for j in range(i, rank):
                matrix[i, j] += scaled * other[c, j]
    for i in range(rank):
        matrix[i, i] += penalty
    if prior.shape[0] > 0:
        for i in range(rank):
            right[i] += penalty * prior[row, i]
    for p in range(rank):
        least = 1e-13 * abs(matrix[p, p])
        for i in range(p):
            matrix[p, p] -= matrix[i, p] * matrix[i, p]
        if not matrix[p, p] > least:
            return False
        matrix[p, p] = math.sqrt(matrix[p, p])
        for j in range(p + 1, rank):
            for i in range(p):
                matrix[p, j] -= matrix[i, p] * matrix[i, j]
            matrix[p, j] /= matrix[p, p]
    for p in range(rank):
        for i in range(p):
            right[p] -= matrix[i, p] * right[i]
        right[p] /= matrix[p, p]
    for p in range(rank - 1, -1, -1):
        for j in range(p + 1, rank):
            right[p] -= matrix[p, j] * right[j]
        right[p] /= matrix[p, p]
        out[p] = np.float32(right[p])
    return True


@njit(int64(*ROWS_TYPE, *OBJECTIVE, CONST, MATRIX), cache=True, nogil=True, fastmath=FASTMATH)
def solve_exactly(  # noqa: PLR0913, PLR0917 - a compiled function takes scalars, not objects
    offsets: Longs,
    columns: Ints,
    values: Floats,
    other: Floats,
    base: Floats,
    rank: int,
    regularization: float,
    by_count: bool,
    implicit: bool,
    alpha: float,
    prior: Floats,
    out: Floats,
) -> int:
    """Solve every row by Cholesky.

    Where there is a prior, the penalty of a row is on its distance from it: it adds the penalty
    times the prior to the right side.

    Args:
        offsets: (rows + 1,) where in `columns` each row's ratings start.
        columns: the row in `other` of each rating.
        values: the rating or strength of each.
        other: (n, width) the side held still.
        base: (width, width) sum of y y' over all of `other`; zeros if explicit.
        rank: of `Objective`, as are the next four.
        regularization: lambda.
        by_count: whether lambda is multiplied by counts.
        implicit: whether values are strengths.
        alpha: growth of confidence.
        prior: (rows, width) what rows are drawn to; without rows (`NO_PRIOR`): to 0.
        out: (rows, width) the answers; the prior for a row without ratings.

    Returns:
        -1, or the first row whose matrix is singular.
    """
    size = other.shape[1]
    matrix = np.empty((size, size), np.float32)
    total = np.empty((size, size), np.float32)
    gathered = np.empty((GATHERED, size), np.float32)
    right = np.empty(size, np.float32)
    inverse = np.empty(size, np.float32)
    drawn = prior.shape[0] > 0
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        out[row] = 0
        if drawn:
            out[row] = prior[row]
        if start == stop:
            continue
        equations(
            columns, values, start, stop, other, base, implicit, alpha,
            gathered, total, matrix, right,
        )  # fmt: skip
        penalty = penalty_of(values, start, stop, regularization, by_count, implicit)
        for k in range(rank):
            matrix[k, k] += penalty
        for k in range(rank, size):
            matrix[k, k] = 1
        if drawn:
            for k in range(rank):
                right[k] += penalty * prior[row, k]
        if _solve(matrix, right, inverse):
            out[row] = right
        elif not _solve_in_double(
            columns, values, start, stop, other, base, rank, penalty, implicit, alpha,
            prior, row, out[row],
        ):  # fmt: skip
            return row
    return -1


_mix: Any = njit(uint64(uint64), cache=True, nogil=True)(mixed)


@njit(void(COLUMNS, int64, uint64, MATRIX), cache=True, nogil=True)
def _draw(ids: Ints, rank: int, seed: np.uint64, out: Floats) -> None:
    for row in range(ids.shape[0]):
        state = _mix((seed ^ _mix(np.uint64(ids[row]) + GOLDEN)) + GOLDEN)
        norm = 0.0
        for k in range(rank):
            state = _mix(state + GOLDEN)
            # Box and Muller (1958): the high bits give the radius, the low ones the angle.
            radius = (np.float64(state >> np.uint64(32)) + 1) / 4294967296.0
            angle = np.float64(state & np.uint64(0xFFFFFFFF)) / 4294967296.0
            value = abs(math.sqrt(-2 * math.log(radius)) * math.cos(2 * math.pi * angle))
            out[row, k] = value
            norm += value * value
        scale = 1 / math.sqrt(norm) if norm > 0 else 0.0
        for k in range(rank):
            out[row, k] *= scale


def initial_factors(ids: Ints, *, rank: int, seed: int, side: int) -> Floats:
    """(ids, width) factors before the first step: a row depends on seed, side and its id alone.

    Each is of length 1 and drawn uniformly from the directions without a negative part: ratings are
    positive, and from there the first iterations get further.

    Args:
        ids: of the rows.
        rank: number of factors.
        seed: of the fit.
        side: 0 for users, 1 for items.
    """
    out = np.zeros((len(ids), width(rank)), np.float32)
    _draw(ids, rank, np.uint64((seed * 2 + side) % 2**64), out)
    return out


__all__ = ["NO_PRIOR", "initial_factors", "solve_exactly"]
