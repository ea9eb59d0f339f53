"""Compiled passes of stochastic gradient descent over one cell of ratings.

A cell is three parallel arrays sorted by user, then item; users and items are numbered within
their blocks. A block is one float32 array (rows, rank + 1): a row's factors, then its bias, so
that it travels as one piece of memory. Nothing here knows of Spark, or of files.

The model is r^ = g(offset + b_u + b_i + p_u . q_i), where g is the identity or, for a bounded
output, low + span * sigmoid. Its updates are those of Koren, Bell and Volinsky (2009, "Matrix
factorization techniques for recommender systems", section "Adding biases").
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, float64, int32, int64, njit, types
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

USERS, ITEMS = 0, 1
"""The two sides, as `initial_block` takes them."""

# Sums may be reordered (so that they become SIMD) but NaN and infinity stay what they are: a
# diverged fit must show in its loss.
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}

# Signatures are given so that import compiles (or loads from the cache) once, read-only arrays
# are taken without a copy, and a wrong type is an error rather than another compilation.
INTS = types.Array(int32, 1, "C", readonly=True)
FLOATS = types.Array(float32, 1, "C", readonly=True)
_CELL = (INTS, INTS, FLOATS)
_BLOCK = float32[:, ::1]
_CONST_BLOCK = types.Array(float32, 2, "C", readonly=True)


@njit(float32(float32), nogil=True, cache=True)
def sigmoid(z: np.float32) -> np.float32:
    """1 / (1 + exp(-z))."""
    return np.float32(1) / (np.float32(1) + np.float32(math.exp(-z)))


@njit(
    float64(*_CELL, _BLOCK, _BLOCK, float32, float32, float32, float32, float32, float32),
    nogil=True,
    cache=True,
    fastmath=FASTMATH,
)
def descend(  # noqa: PLR0913, PLR0917 - a compiled function takes scalars, not objects
    user: Ints,
    item: Ints,
    rating: Floats,
    users: Floats,
    items: Floats,
    offset: float,
    low: float,
    span: float,
    learning_rate: float,
    regularization: float,
    bias_regularization: float,
) -> float:
    """Visit every rating of a cell once, in order, and step both blocks down its gradient.

    The loss of a rating is w (r - r^)^2 / 2 + regularization / 2 * (|p|^2 + |q|^2)
    + bias_regularization / 2 * (b_u^2 + b_i^2), and both sides step from the same point; w is what
    the rating weighs, or 1.

    Args:
        user: (n,) row in `users` of each rating, ascending.
        item: (n,) row in `items` of each rating.
        rating: (n,) what is to be predicted, or (2 n,) with what each weighs behind it.
        users: (rows, rank + 1) the user block, changed in place.
        items: (rows, rank + 1) the item block, changed in place.
        offset: what is predicted before biases and factors (before the sigmoid if bounded).
        low: lowest prediction of a bounded output.
        span: highest less lowest prediction of a bounded output; 0 for an output without bounds.
        learning_rate: length of a step.
        regularization: L2 penalty of factors, a rating.
        bias_regularization: L2 penalty of biases, a rating.

    Returns:
        The sum of squared errors, each taken just before its own step; they weigh the same.
    """
    rank = users.shape[1] - 1
    weighed = rating.shape[0] > user.shape[0]
    keep = np.float32(1) - learning_rate * regularization
    keep_bias = np.float32(1) - learning_rate * bias_regularization
    # A user's row lives here for the run of its ratings: registers and the nearest cache instead
    # of a store the compiler must assume to touch the items.
    row = np.empty(rank, np.float32)
    total = 0.0
    count = user.shape[0]
    n = 0
    while n < count:
        u = user[n]
        bias = users[u, rank]
        for k in range(rank):
            row[k] = users[u, k]
        while n < count and user[n] == u:
            i = item[n]
            z = np.float32(0)
            for k in range(rank):
                z += row[k] * items[i, k]
            z += offset + bias + items[i, rank]
            if span > 0:
                s = sigmoid(z)
                error = rating[n] - (low + span * s)
                step = learning_rate * error * span * s * (np.float32(1) - s)
            else:
                error = rating[n] - z
                step = learning_rate * error
            if weighed:
                step *= rating[count + n]
            total += np.float64(error) * np.float64(error)
            bias = keep_bias * bias + step
            items[i, rank] = keep_bias * items[i, rank] + step
            for k in range(rank):
                p = row[k]
                q = items[i, k]
                row[k] = keep * p + step * q
                items[i, k] = keep * q + step * p
            n += 1
        users[u, rank] = bias
        for k in range(rank):
            users[u, k] = row[k]
    return total


@njit(
    float64(*_CELL, _CONST_BLOCK, _CONST_BLOCK, int64, float32, float32, float32),
    nogil=True,
    cache=True,
    fastmath=FASTMATH,
)
def squared_error(  # noqa: PLR0913, PLR0917 - see `descend`
    user: Ints,
    item: Ints,
    rating: Floats,
    users: Floats,
    items: Floats,
    rank: int,
    offset: float,
    low: float,
    span: float,
) -> float:
    """The sum of squared errors of a cell, added up in its order; arguments as in `descend`.

    Rows may go on after their bias, which is at `rank`.
    """
    total = 0.0
    for n in range(user.shape[0]):
        u = user[n]
        i = item[n]
        z = np.float32(0)
        for k in range(rank):
            z += users[u, k] * items[i, k]
        z += offset + users[u, rank] + items[i, rank]
        if span > 0:
            error = np.float64(rating[n] - (low + span * sigmoid(z)))
        else:
            error = np.float64(rating[n] - z)
        total += error * error
    return total


def row_width(optimizer: str, rank: int) -> int:
    """Numbers of a row of a block: factors and bias, and what a rule of `sgd_optimizers` adds."""
    moments = {"plain": 0, "momentum": 1, "adagrad": 1, "adam": 2, "adamw": 2}[optimizer]
    # Adam counts the steps of each row.
    return (rank + 1) * (1 + moments) + int(optimizer.startswith("adam"))


def initial_block(
    rows: int,
    rank: int,
    *,
    scale: float,
    seed: int,
    side: int,
    block: int,
    uniform: bool = False,
    width: int | None = None,
) -> Floats:
    """A block before the first epoch: the same on any machine and on any retry.

    Factors are normal with standard deviation scale / sqrt(rank), so that a row's norm is about
    `scale` at any rank, or uniform from 0 to `scale`; everything else is 0.

    Args:
        rows: users or items of the block.
        rank: number of factors.
        scale: about the norm of a row, or above all factors.
        seed: of the fit.
        side: USERS or ITEMS.
        block: the block's number within its side.
        uniform: whether factors are uniform.
        width: of a row; by default factors and bias.
    """
    draw = np.random.default_rng([seed, side, block])
    array = np.zeros((rows, width or rank + 1), np.float32)
    if uniform:
        array[:, :rank] = draw.random((rows, rank), dtype=np.float32) * np.float32(scale)
        return array
    deviation = np.float32(scale / math.sqrt(rank))
    array[:, :rank] = draw.standard_normal((rows, rank), dtype=np.float32) * deviation
    return array
