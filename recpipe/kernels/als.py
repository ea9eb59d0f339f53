"""Compiled least-squares solves of alternating least squares, a row of factors at a time.

One side is held still, in `other`. A row with ratings r of the other side's rows y solves

    (sum w y y' + base + penalty I) x = sum t y

explicit (Zhou et al. 2008, ALS-WR): w = 1, t = r, base = 0;
implicit (Hu, Koren and Volinsky 2008): of a strength s, w = alpha |s| and t = 1 + w where s > 0,
else 0; base is the sum of y y' over all of `other`.

The penalty is lambda, times the row's ratings (implicit: those above 0) where it is scaled by
counts. A row's answer depends on nothing but its own ratings, in their order, and `other`: not on
the rows that it shares a block with.

Matrices are C-contiguous float32 whose width is the rank padded with zeros to a multiple of
`tiles.LANES`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, int32, int64, njit, types, uint64, void
from numpy.typing import NDArray

from recpipe.kernels.tiles import (
    LANES,
    ROWS,
    add_tile,
    backward,
    factor_beside,
    factor_diagonal,
    forward,
    subtract_tile,
)

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

_OFFSETS = types.Array(int64, 1, "C", readonly=True)
_COLUMNS = types.Array(int32, 1, "C", readonly=True)
_VALUES = types.Array(float32, 1, "C", readonly=True)
_CONST = types.Array(float32, 2, "C", readonly=True)
_ROWS_TYPE = (_OFFSETS, _COLUMNS, _VALUES, _CONST, _CONST)
_MATRIX = float32[:, ::1]
_VECTOR = float32[::1]

# Rows of `other` gathered at a time: at rank 64 they and the matrix stay in the nearest cache.
_GATHERED = 64
# Products summed in one float32 before they go to the total: the rounding of a row with a million
# ratings is then that of one with some thousands.
_SUMMED = 1024
# A pivot below this share of its diagonal has lost most of its digits in float32.
_LEAST_PIVOT = 1e-4
# Rows that conjugate gradients gather once and keep (1 MiB at rank 64).
_KEPT = 4096
# Ranks, a product with the matrix, up to which conjugate gradients sum the matrix (measured).
_SUMMED_UP_TO = 24


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


_OBJECTIVE = (int64, float32, boolean, boolean, float32)


def width(rank: int) -> int:
    """`rank` padded to a multiple of LANES."""
    return -(-rank // LANES) * LANES


@njit(cache=True, nogil=True, inline="always")
def _weights(value: np.float32, implicit: bool, alpha: float) -> tuple[np.float32, np.float32]:
    """(w, t) of a rating."""
    if not implicit:
        return np.float32(1), value
    weight = np.float32(alpha * abs(value))
    return weight, (np.float32(1) + weight if value > 0 else np.float32(0))


@njit(cache=True, nogil=True)
def _penalty(
    values: Floats,
    start: int,
    stop: int,
    regularization: float,
    by_count: bool,
    implicit: bool,
) -> Any:
    if not by_count:
        return regularization
    count = stop - start
    if implicit:
        count = 0
        for n in range(start, stop):
            count += values[n] > 0
    return np.float32(regularization * np.float32(count))


@njit(void(_MATRIX, int64, _MATRIX), cache=True, nogil=True)
def _add_products(rows: Floats, count: int, matrix: Floats) -> None:
    """Add rows' rows to the upper triangle of `matrix` (and to some places below it)."""
    size = matrix.shape[1]
    for i in range(0, size, ROWS):
        for j in range(i // LANES * LANES, size, LANES):
            add_tile(rows, count, i, j, matrix)


@njit(boolean(_MATRIX, _VECTOR, _VECTOR), cache=True, nogil=True, fastmath=_FASTMATH)
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
        if not factor_diagonal(matrix, first, inverse, np.float32(_LEAST_PIVOT)):
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
    out: Floats,
) -> bool:
    """The same row in float64, for the few that float32 cannot; False if it is singular."""
    matrix = base[:rank, :rank].astype(np.float64)
    right = np.zeros(rank)
    for n in range(start, stop):
        weight, target = _weights(values[n], implicit, alpha)
        c = columns[n]
        for i in range(rank):
            right[i] += np.float64(target) * other[c, i]
            scaled = np.float64(weight) * other[c, i]
            for j in range(i, rank):
                matrix[i, j] += scaled * other[c, j]
    for i in range(rank):
        matrix[i, i] += penalty
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


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def _equations(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: Floats,
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
    many = stop - start > _SUMMED
    right[:] = 0
    matrix[:] = 0
    total[:] = base
    since = 0
    for first in range(start, stop, _GATHERED):
        last = min(first + _GATHERED, stop)
        for n in range(first, last):
            weight, target = _weights(values[n], implicit, alpha)
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
        if many and since >= _SUMMED:
            total += matrix
            matrix[:] = 0
            since = 0
    matrix += total


@njit(int64(*_ROWS_TYPE, *_OBJECTIVE, _MATRIX), cache=True, nogil=True, fastmath=_FASTMATH)
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
    out: Floats,
) -> int:
    """Solve every row by Cholesky.

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
        out: (rows, width) the answers; 0 for a row without ratings.

    Returns:
        -1, or the first row whose matrix is singular.
    """
    size = other.shape[1]
    matrix = np.empty((size, size), np.float32)
    total = np.empty((size, size), np.float32)
    gathered = np.empty((_GATHERED, size), np.float32)
    right = np.empty(size, np.float32)
    inverse = np.empty(size, np.float32)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        out[row] = 0
        if start == stop:
            continue
        _equations(
            columns, values, start, stop, other, base, implicit, alpha,
            gathered, total, matrix, right,
        )  # fmt: skip
        penalty = _penalty(values, start, stop, regularization, by_count, implicit)
        for k in range(rank):
            matrix[k, k] += penalty
        for k in range(rank, size):
            matrix[k, k] = 1
        if _solve(matrix, right, inverse):
            out[row] = right
        elif not _solve_in_double(
            columns, values, start, stop, other, base, rank, penalty, implicit, alpha, out[row]
        ):
            return row
    return -1


@njit(
    void(_CONST, int64, _VECTOR, _VALUES, int64, boolean, float32, _VECTOR),
    cache=True,
    nogil=True,
    fastmath=_FASTMATH,
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


@njit(void(_CONST, _VECTOR, _VECTOR), cache=True, nogil=True, fastmath=_FASTMATH)
def _add_product(matrix: Floats, x: Floats, image: Floats) -> None:
    """Add matrix x, of a symmetric matrix, to `image`."""
    for i in range(matrix.shape[0]):
        factor = x[i]
        for k in range(matrix.shape[1]):
            image[k] += factor * matrix[i, k]


@njit(int64(*_ROWS_TYPE, *_OBJECTIVE, int64, _MATRIX), cache=True, nogil=True, fastmath=_FASTMATH)
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
    kept = np.empty((_GATHERED if summed else min(longest, _KEPT), size), np.float32)
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
        penalty = _penalty(values, start, stop, regularization, by_count, implicit)
        if summed:
            _equations(
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
                            target = _weights(values[n], implicit, alpha)[1]
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


@njit(float32[:, ::1](_CONST), cache=True, nogil=True)
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
    for first in range(0, len(factors), _SUMMED):
        total += _products(factors[first : first + _SUMMED])
    return total


@njit(uint64(uint64), cache=True, nogil=True)
def _mixed(x: np.uint64) -> np.uint64:
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(void(_COLUMNS, int64, uint64, _MATRIX), cache=True, nogil=True)
def _draw(ids: Ints, rank: int, seed: np.uint64, out: Floats) -> None:
    for row in range(ids.shape[0]):
        state = _mixed(seed ^ _mixed(np.uint64(ids[row])))
        norm = 0.0
        for k in range(rank):
            state = _mixed(state)
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
    "Objective",
    "gram",
    "initial_factors",
    "solve_by_gradients",
    "solve_exactly",
    "width",
]
