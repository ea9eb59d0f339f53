"""Rows of factors by steps in subspaces: a few factors at a time, the others held still.

The equations: `normal_equations`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import int64, njit
from numpy.typing import NDArray

from recpipe.kernels.als import NO_PRIOR, solve_in_double, solve_in_place
from recpipe.kernels.normal_equations import (
    FASTMATH,
    GATHERED,
    MATRIX,
    ROWS_TYPE,
    SCALARS,
    SUMMED,
    add_products,
    weights,
    width,
)

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]

_padded = njit(cache=True, nogil=True, inline="always")(width)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _block_equations(  # noqa: PLR0913, PLR0917 - compiled: scalars, not objects
    columns: Ints,
    values: Floats,
    start: int,
    stop: int,
    other: Floats,
    base: Floats,
    penalty: float,
    first: int,
    last: int,
    implicit: bool,
    alpha: float,
    shift: float,
    scores: Floats,
    x: Floats,
    gathered: Floats,
    total: Floats,
    matrix: Floats,
    right: Floats,
) -> None:
    """The equations of a step of x[first:last]: `matrix`, and in `right` their residual at x.

    `gathered`, `total`, `matrix` and `right` are as wide as the block, padded to LANES; the padding
    of `gathered` is 0. Only the upper triangle of `matrix` is of use.
    """
    size, padded = last - first, matrix.shape[0]
    matrix[:] = 0
    right[:] = 0
    total[:] = 0
    for i in range(size):
        for j in range(size):
            total[i, j] = base[first + i, first + j]
        left = penalty * x[first + i]
        for j in range(x.shape[0]):
            left += base[first + i, j] * x[j]
        right[i] = -left
        total[i, i] += penalty
    for i in range(size, padded):
        total[i, i] = 1
    since = 0
    for begin in range(start, stop, GATHERED):
        end = min(begin + GATHERED, stop)
        for n in range(begin, end):
            weight, target = weights(values, n, columns.shape[0], implicit, alpha, shift)
            share = target - weight * scores[n - start]
            root = np.float32(math.sqrt(weight))
            c, at = columns[n], n - begin
            for k in range(size):
                y = other[c, first + k]
                right[k] += share * y
                gathered[at, k] = root * y
        add_products(gathered, end - begin, matrix)
        since += end - begin
        if since >= SUMMED:
            total += matrix
            matrix[:] = 0
            since = 0
    matrix += total


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _add_scores(
    columns: Ints, start: int, stop: int, other: Floats, first: int, x: Floats, scores: Floats
) -> None:
    """Add to the score of each rating the product of x and as many of its factors from `first`."""
    for n in range(start, stop):
        c = columns[n]
        score = np.float32(0)
        for k in range(x.shape[0]):
            score += x[k] * other[c, first + k]
        scores[n - start] += score


@njit(int64(*ROWS_TYPE, *SCALARS, int64, MATRIX), cache=True, nogil=True, fastmath=FASTMATH)
def solve_by_subspaces(  # noqa: D417, PLR0913, PLR0917 - a compiled function takes scalars
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
    block: int,
    out: Floats,
) -> int:
    """Improve every row from where it stands: block after block of its factors, each exactly.

    Rendle, Krichene, Zhang and Koren (2022, "iALS++: speeding up matrix factorization with subspace
    optimization"). Of the block p of factors the step is that of Newton, which ends in the block's
    own minimum, for the objective is quadratic:

        (sum w y_p y_p' + base_pp + penalty I) step = sum (t - w x . y) y_p - base_p x - penalty x_p

    The scores x . y of the row's ratings are computed once and carried on from block to block. A
    rating costs about rank * (block / 2 + 3) multiplications where Cholesky costs rank^2 / 2, a row
    rank * (rank + block^2 / 6) where it costs rank^3 / 6. No step raises the objective, and where
    none changes a row any more it is at the solution of Cholesky. A pass of all rows gets less far
    than one of Cholesky does; how much less depends on the width of the blocks.

    Arguments as of `solve_exactly`, and

    Args:
        block: factors that are solved at once; the last block is what is left of them.
        out: (rows, width) comes with where to begin, leaves with the answers.

    Returns:
        -1, or the first row of which a block has a singular matrix.
    """
    longest = 0
    for row in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    scores = np.empty(longest, np.float32)
    size = _padded(min(block, rank))
    gathered = np.zeros((GATHERED, size), np.float32)
    matrix, total = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    right, inverse = np.empty(size, np.float32), np.empty(size, np.float32)
    before = np.empty(size, np.float32)
    for row in range(offsets.shape[0] - 1):
        start, stop = offsets[row], offsets[row + 1]
        x, penalty = out[row], penalties[row]
        if start == stop:
            x[:] = 0
            continue
        scores[: stop - start] = 0
        _add_scores(columns, start, stop, other, 0, x, scores)
        for first in range(0, rank, block):
            last = min(first + block, rank)
            here = last - first
            # The padding of a narrower last block still has what the one before has gathered.
            gathered[:, here:] = 0
            _block_equations(
                columns, values, start, stop, other, base, penalty, first, last,
                implicit, alpha, shift, scores, x, gathered, total, matrix, right,
            )  # fmt: skip
            before[:here] = x[first:last]
            if solve_in_place(matrix, right, inverse):
                for k in range(here):
                    x[first + k] += right[k]
            elif not solve_in_double(
                columns, values, start, stop, other, base, penalty, first, last,
                implicit, alpha, shift, scores, NO_PRIOR, 0, x,
            ):  # fmt: skip
                return row
            for k in range(here):
                right[k] = x[first + k] - before[k]
            _add_scores(columns, start, stop, other, first, right[:here], scores)
    return -1


__all__ = ["solve_by_subspaces"]
