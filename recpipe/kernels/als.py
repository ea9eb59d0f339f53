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
    DOUBLES,
    FASTMATH,
    GATHERED,
    MATRIX,
    OFFSETS,
    ROWS_TYPE,
    SCALARS,
    VALUES,
    VECTOR,
    equations,
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
# Each takes away all but the ten-thousandth part of the error, or more, of a pivot above the least.
_REFINEMENTS = 2


@njit(boolean(MATRIX, VECTOR), cache=True, nogil=True, fastmath=FASTMATH)
def _factored(matrix: Floats, inverse: Floats) -> bool:
    """Cholesky's U'U of a matrix, in place.

    Args:
        matrix: symmetric; only its upper triangle is read, and it is destroyed.
        inverse: leaves with one number a row, for `_substitute`.

    Returns:
        Whether every pivot kept enough digits; if not, nothing of it is of use.
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
    return True


@njit(void(MATRIX, VECTOR, VECTOR), cache=True, nogil=True, fastmath=FASTMATH)
def _substitute(matrix: Floats, right: Floats, inverse: Floats) -> None:
    """Solve U'U x = right by what `_factored` has left; x takes the place of `right`."""
    size = matrix.shape[0]
    for first in range(0, size, LANES):
        forward(matrix, first, right, inverse)
    for first in range(size - LANES, -1, -LANES):
        backward(matrix, first, right, inverse)


@njit(boolean(MATRIX, VECTOR, VECTOR), cache=True, nogil=True, fastmath=FASTMATH)
def solve_in_place(matrix: Floats, right: Floats, inverse: Floats) -> bool:
    """Solve matrix x = right by Cholesky's U'U in place; x takes the place of `right`.

    Args:
        matrix: symmetric; only its upper triangle is read, and it is destroyed.
        right: the right side.
        inverse: room for one number a row.

    Returns:
        Whether every pivot kept enough digits; if not, nothing of it is of use.
    """
    if not _factored(matrix, inverse):
        return False
    _substitute(matrix, right, inverse)
    return True


@njit(cache=True, nogil=True)
def solve_in_double(  # noqa: C901, PLR0912, PLR0913, PLR0917 - compiled whole
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: NDArray[Any],
    penalty: float,
    first: int,
    last: int,
    implicit: bool,
    alpha: float,
    shift: float,
    scores: Floats,
    prior: Floats,
    row: int,
    x: Floats,
) -> bool:
    """The best x[first:last] beside the rest of x, in float64, for the few that float32 cannot.

    Args:
        columns: as of `solve_exactly`, as are the other arguments that have no line here.
        values: likewise.
        start: where in `columns` the row's ratings start.
        stop: where they end.
        other: as above.
        base: as above.
        penalty: of the row.
        first: of the factors solved.
        last: the first behind them.
        implicit: as above.
        alpha: as above.
        shift: as above.
        scores: (stop - start,) x . y of each rating.
        prior: as above.
        row: of the prior.
        x: (width,) the row; its factors first..last are replaced.

    Returns:
        False if the matrix is singular; x is then as it was.
    """
    size = last - first
    matrix = base[first:last, first:last].astype(np.float64)
    right = np.zeros(size)
    for n in range(start, stop):
        weight, target = weights(values, n, columns.shape[0], implicit, alpha, shift)
        c = columns[n]
        share = np.float64(target) - np.float64(weight) * scores[n - start]
        for i in range(size):
            right[i] += share * other[c, first + i]
            scaled = np.float64(weight) * other[c, first + i]
            for j in range(i, size):
                matrix[i, j] += scaled * other[c, first + j]
    for i in range(size):
        for j in range(x.shape[0]):
            right[i] -= np.float64(base[first + i, j]) * x[j]
        right[i] -= penalty * x[first + i]
        if prior.shape[0] > 0:
            right[i] += np.float64(penalty) * prior[row, first + i]
        matrix[i, i] += penalty
    for p in range(size):
        least = 1e-13 * abs(matrix[p, p])
        for i in range(p):
            matrix[p, p] -= matrix[i, p] * matrix[i, p]
        if not matrix[p, p] > least:
            return False
        matrix[p, p] = math.sqrt(matrix[p, p])
        for j in range(p + 1, size):
            for i in range(p):
                matrix[p, j] -= matrix[i, p] * matrix[i, j]
            matrix[p, j] /= matrix[p, p]
    for p in range(size):
        for i in range(p):
            right[p] -= matrix[i, p] * right[i]
        right[p] /= matrix[p, p]
    for p in range(size - 1, -1, -1):
        for j in range(p + 1, size):
            right[p] -= matrix[p, j] * right[j]
        right[p] /= matrix[p, p]
    for p in range(size):
        x[first + p] += np.float32(right[p])
    return True


@njit(int64(*ROWS_TYPE, *SCALARS, CONST, MATRIX), cache=True, nogil=True, fastmath=FASTMATH)
def solve_exactly(  # noqa: PLR0913, PLR0917 - a compiled function takes scalars, not objects
    offsets: Longs,
    columns: Ints,
    values: Floats,
    other: Floats,
    base: Floats,
    penalties: Floats,
    rank: int,
    implicit: bool,
    alpha: float,
    shift: float,
    prior: Floats,
    out: Floats,
) -> int:
    """Solve every row by Cholesky.

    Where there is a prior, the penalty of a row is on its distance from it: it adds the penalty
    times the prior to the right side.

    Args:
        offsets: (rows + 1,) where in `columns` each row's ratings start.
        columns: the row in `other` of each rating.
        values: the rating or strength of each; behind ratings perhaps what each weighs.
        other: (n, width) the side held still.
        base: (width, width) what the matrices of all rows share; zeros if explicit.
        penalties: (rows,) see `Objective.penalties`.
        rank: of `Objective.scalars`, as are the next three.
        implicit: whether values are strengths.
        alpha: growth of confidence.
        shift: what the target of a liking has beside its weight.
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
        if start == stop:
            if drawn:
                out[row] = prior[row]
            continue
        equations(
            columns, values, start, stop, other, base, implicit, alpha, shift,
            gathered, total, matrix, right,
        )  # fmt: skip
        penalty = penalties[row]
        for k in range(rank):
            matrix[k, k] += penalty
        for k in range(rank, size):
            matrix[k, k] = 1
        if drawn:
            for k in range(rank):
                right[k] += penalty * prior[row, k]
        if solve_in_place(matrix, right, inverse):
            out[row] = right
        elif not solve_in_double(
            columns, values, start, stop, other, base, penalty, 0, rank, implicit, alpha, shift,
            np.zeros(stop - start, np.float32), prior, row, out[row],
        ):  # fmt: skip
            return row
    return -1


@njit(cache=True, nogil=True)
def _solve_nearly(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: NDArray[np.float64],
    rank: int,
    penalty: float,
    implicit: bool,
    alpha: float,
    shift: float,
    out: Floats,
) -> None:
    """`solve_in_double`, if it must be with a tiny penalty; 0 where all factors are 0."""
    none = np.zeros(stop - start, np.float32)
    if not solve_in_double(
        columns, values, start, stop, other, base, penalty, 0, rank, implicit, alpha, shift,
        none, NO_PRIOR, 0, out,
    ):  # fmt: skip
        length = 0.0
        for n in range(start, stop):
            for k in range(rank):
                length += np.float64(other[columns[n], k]) ** 2
        if length > 0:
            solve_in_double(
                columns, values, start, stop, other, base, penalty + 1e-9 * length, 0, rank,
                implicit, alpha, shift, none, NO_PRIOR, 0, out,
            )  # fmt: skip


@njit(
    void(OFFSETS, COLUMNS, VALUES, CONST, DOUBLES, VALUES, *SCALARS, MATRIX),
    cache=True,
    nogil=True,
    fastmath=FASTMATH,
)
def solve_refined(  # noqa: C901, PLR0912, PLR0913, PLR0917 - compiled whole
    offsets: Longs,
    columns: Ints,
    values: Floats,
    other: Floats,
    base: NDArray[np.float64],
    penalties: Floats,
    rank: int,
    implicit: bool,
    alpha: float,
    shift: float,
    out: Floats,
) -> None:
    """Solve every row by Cholesky in float32, and refine the answer by residuals in float64.

    Each residual is solved by the same decomposition and added to the answer, which then has the
    digits of float64 at nearly the price of float32 (Higham 2002, "Accuracy and stability of
    numerical algorithms", chapter 12). A row that float32 cannot decompose is solved in float64;
    one that has more than one answer, for want of a penalty, gets that of a tiny penalty, which is
    about the shortest.

    Arguments as of `solve_exactly`, but `base` is float64. No row is refused.
    """
    size = other.shape[1]
    matrix = np.empty((size, size), np.float32)
    total = np.empty((size, size), np.float32)
    gathered = np.empty((GATHERED, size), np.float32)
    right = np.empty(size, np.float32)
    inverse = np.empty(size, np.float32)
    x, residual = np.empty(size), np.empty(size)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        out[row] = 0
        if start == stop:
            continue
        equations(
            columns, values, start, stop, other, base, implicit, alpha, shift,
            gathered, total, matrix, right,
        )  # fmt: skip
        penalty = penalties[row]
        for k in range(rank):
            matrix[k, k] += penalty
        for k in range(rank, size):
            matrix[k, k] = 1
        if not _factored(matrix, inverse):
            _solve_nearly(
                columns, values, start, stop, other, base, rank, penalty, implicit, alpha, shift,
                out[row],
            )  # fmt: skip
            continue
        _substitute(matrix, right, inverse)
        for k in range(size):
            x[k] = right[k]
        for _ in range(_REFINEMENTS):
            for i in range(size):
                residual[i] = -penalty * x[i]
            if implicit:
                for i in range(rank):
                    for j in range(rank):
                        residual[i] -= base[i, j] * x[j]
            for n in range(start, stop):
                weight, target = weights(values, n, columns.shape[0], implicit, alpha, shift)
                c = columns[n]
                score = 0.0
                for k in range(size):
                    score += other[c, k] * x[k]
                left = target - weight * score
                for k in range(size):
                    residual[k] += left * other[c, k]
            for k in range(size):
                right[k] = residual[k]
            _substitute(matrix, right, inverse)
            for k in range(size):
                x[k] += right[k]
        for k in range(rank):
            out[row, k] = np.float32(x[k])


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


__all__ = [
    "NO_PRIOR", "initial_factors", "solve_exactly", "solve_in_double", "solve_in_place",
    "solve_refined",
]  # fmt: skip
