"""Passes of stochastic gradient descent whose steps go by moments of the gradients so far.

Cells, blocks and the model are those of `kernels.sgd`. A row of a block holds its rank + 1 factors
and bias, then as many numbers for each moment, then for Adam how often the row has been stepped:
moments travel with the factors, and nobody but the optimizer need know of them.

A rating steps the rows of its user and of its item, and no other: each row is what PyTorch calls a
parameter, and one without a gradient stays as it is, moments and count included. With the gradient
g of the loss of a rating (see `kernels.sgd.descend`), the learning rate a and the penalty L:

    momentum   m = b1 m + g                                   x -= a m
    adagrad    v += g^2                                       x -= a g / (sqrt v + 1e-10)
    adam       m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
               x -= a m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + 1e-8)   in the row's step t
    adamw      as adam, with the penalty out of g: first x -= a L x

as `torch.optim.SGD`, `Adagrad`, `Adam` and `AdamW` have them. Sources: Polyak 1964; Duchi, Hazan
and Singer 2011; Kingma and Ba 2015; Loshchilov and Hutter 2019.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, float64, int64, njit, void
from numpy.typing import NDArray

from recpipe.kernels.sgd import FASTMATH, FLOATS, INTS, sigmoid

if TYPE_CHECKING:
    Ints = NDArray[np.int32]

Floats = NDArray[np.float32]

RULES = ("momentum", "adagrad", "adam", "adamw")
_MOMENTUM, _ADAGRAD, _ADAM, _ADAMW = range(len(RULES))

_ADAGRAD_EPSILON, _ADAM_EPSILON = np.float32(1e-10), np.float32(1e-8)
_MOST_STEPS = 1 << 18
"""Steps after which the corrections of Adam stand still: 1 in float32 where b2 is up to 0.9999."""
_ROUNDING = 1e-8

_BLOCK = float32[:, ::1]


class Optimizer(NamedTuple):
    """A rule with what it needs.

    Args:
        rule: one of `RULES`.
        beta1: how much of the first moment stays in a step.
        beta2: how much of the second moment stays in a step.
        batch_size: ratings of a batch.
    """

    rule: str
    beta1: float
    beta2: float
    batch_size: int


def descend(
    cell: tuple[Ints, Ints, Floats],
    users: Floats,
    items: Floats,
    optimizer: Optimizer,
    *,
    rank: int,
    output: tuple[float, float, float],
    learning_rate: float,
    penalties: tuple[float, float],
) -> float:
    """Visit every rating of a cell once, in order, and step the rows of its user and item.

    Args:
        cell: users, items and ratings, as of `kernels.sgd.descend`.
        users: (rows, `kernels.sgd.row_width`) the user block, changed in place.
        items: (rows, `kernels.sgd.row_width`) the item block, changed in place.
        optimizer: how steps follow from gradients.
        rank: number of factors.
        output: offset, low and span, as of `kernels.sgd.descend`.
        learning_rate: a.
        penalties: L of factors and of biases, a rating.

    Returns:
        The sum of squared errors, each taken just before its own step.
    """
    rates, scales = _corrections(learning_rate, optimizer.beta1, optimizer.beta2)
    found: float = _descend(
        *cell, users, items, rank, *output, learning_rate, *penalties,
        RULES.index(optimizer.rule), optimizer.beta1, optimizer.beta2, rates, scales,
        optimizer.batch_size,
    )  # fmt: skip
    return found


@lru_cache(maxsize=4)
def _corrections(rate: float, beta1: float, beta2: float) -> tuple[Floats, Floats]:
    """For the steps t from 1 on a / (1 - b1^t) and 1 / sqrt(1 - b2^t), until neither changes."""
    longest = max(beta1, beta2)
    steps = 1 if not longest else math.ceil(math.log(_ROUNDING) / math.log(longest))
    t = np.arange(1, min(max(steps, 1), _MOST_STEPS) + 1)
    return (
        (rate / (1 - beta1**t)).astype(np.float32),
        (1 / np.sqrt(1 - beta2**t)).astype(np.float32),
    )


@njit(
    void(
        _BLOCK, int64, _BLOCK, int64, int64, float32, float32, int64, float32, float32, float32,
        FLOATS, FLOATS,
    ),
    nogil=True,
    cache=True,
    fastmath=FASTMATH,
    # Python's would ask before each division whether it is by 0.
    error_model="numpy",
)  # fmt: skip
def _step(  # noqa: PLR0913, PLR0917 - a compiled function takes scalars, not objects
    block: Floats,
    n: int,
    gradients: Floats,
    g: int,
    ratings: int,
    regularization: float,
    bias_regularization: float,
    rule: int,
    rate: float,
    beta1: float,
    beta2: float,
    rates: Floats,
    scales: Floats,
) -> None:
    """Step one row, and clear `gradient` (rank + 1,): the sum over `ratings` without penalty."""
    width = gradients.shape[1]
    bias = width - 1
    share = np.float32(-1) / np.float32(ratings)
    if rule == _ADAMW:
        keep = np.float32(1) - rate * regularization
        for k in range(bias):
            gradients[g, k] *= share
            block[n, k] *= keep
        gradients[g, bias] *= share
        block[n, bias] *= np.float32(1) - rate * bias_regularization
    else:
        for k in range(bias):
            gradients[g, k] = regularization * block[n, k] + share * gradients[g, k]
        gradients[g, bias] = bias_regularization * block[n, bias] + share * gradients[g, bias]
    if rule == _MOMENTUM:
        for k in range(width):
            m = beta1 * block[n, width + k] + gradients[g, k]
            block[n, width + k] = m
            block[n, k] -= rate * m
    elif rule == _ADAGRAD:
        for k in range(width):
            v = block[n, width + k] + gradients[g, k] * gradients[g, k]
            block[n, width + k] = v
            block[n, k] -= rate * gradients[g, k] / (np.sqrt(v) + _ADAGRAD_EPSILON)
    else:
        steps = int64(block[n, 3 * width])
        block[n, 3 * width] += np.float32(1)
        step, scale = rates[min(steps, len(rates) - 1)], scales[min(steps, len(scales) - 1)]
        new1, new2 = np.float32(1) - beta1, np.float32(1) - beta2
        for k in range(width):
            m = beta1 * block[n, width + k] + new1 * gradients[g, k]
            v = beta2 * block[n, 2 * width + k] + new2 * gradients[g, k] * gradients[g, k]
            block[n, width + k] = m
            block[n, 2 * width + k] = v
            block[n, k] -= step * m / (np.sqrt(v) * scale + _ADAM_EPSILON)
    for k in range(width):
        gradients[g, k] = 0


@njit(
    float64(
        INTS, INTS, FLOATS, _BLOCK, _BLOCK, int64, float32, float32, float32, float32, float32,
        float32, int64, float32, float32, FLOATS, FLOATS, int64,
    ),
    nogil=True,
    cache=True,
    fastmath=FASTMATH,
    # Python's would ask before each division whether it is by 0.
    error_model="numpy",
)  # fmt: skip
def _descend(  # noqa: PLR0913, PLR0917 - see `_step`
    user: Ints,
    item: Ints,
    rating: Floats,
    users: Floats,
    items: Floats,
    rank: int,
    offset: float,
    low: float,
    span: float,
    learning_rate: float,
    regularization: float,
    bias_regularization: float,
    rule: int,
    beta1: float,
    beta2: float,
    rates: Floats,
    scales: Floats,
    batch_size: int,
) -> float:
    total = 0.0
    count = user.shape[0]
    weighed = rating.shape[0] > count
    # What the ratings of a batch push their rows by, summed: of the user at hand, whose run is
    # short of a batch, and of every item, as items come back within a batch.
    row = np.empty(rank, np.float32)
    of_user = np.zeros((1, rank + 1), np.float32)
    of_items = np.zeros((items.shape[0], rank + 1), np.float32)
    met = np.zeros(items.shape[0], np.int64)
    touched = np.empty(min(batch_size, items.shape[0]), np.int64)
    n = 0
    while n < count:
        end = min(n + batch_size, count)
        found = 0
        while n < end:
            u = user[n]
            for k in range(rank):
                row[k] = users[u, k]
            bias = users[u, rank]
            first = n
            while n < end and user[n] == u:
                i = item[n]
                if met[i] == 0:
                    touched[found] = i
                    found += 1
                met[i] += 1
                z = np.float32(0)
                for k in range(rank):
                    z += row[k] * items[i, k]
                z += offset + bias + items[i, rank]
                if span > 0:
                    s = sigmoid(z)
                    error = rating[n] - (low + span * s)
                    push = error * span * s * (np.float32(1) - s)
                else:
                    error = rating[n] - z
                    push = error
                if weighed:
                    push *= rating[count + n]
                total += np.float64(error) * np.float64(error)
                for k in range(rank):
                    of_user[0, k] += push * items[i, k]
                    of_items[i, k] += push * row[k]
                of_user[0, rank] += push
                of_items[i, rank] += push
                n += 1
            # No later rating of the batch has this user: items were pushed by the row as it was.
            _step(
                users, u, of_user, 0, n - first, regularization, bias_regularization,
                rule, learning_rate, beta1, beta2, rates, scales,
            )  # fmt: skip
        for t in range(found):
            i = touched[t]
            _step(
                items, i, of_items, i, met[i], regularization, bias_regularization,
                rule, learning_rate, beta1, beta2, rates, scales,
            )  # fmt: skip
            met[i] = 0
    return total


__all__ = ["RULES", "Optimizer", "descend"]
