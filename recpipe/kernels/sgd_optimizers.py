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
        _BLOCK, INTS, _BLOCK, INTS, int64, float32, float32, int64, float32, float32, float32,
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
    rows: Ints,
    gradients: Floats,
    ratings: Ints,
    found: int,
    regularization: float,
    bias_regularization: float,
    rule: int,
    rate: float,
    beta1: float,
    beta2: float,
    rates: Floats,
    scales: Floats,
) -> None:
    """Step the first `found` of `rows` of a block, and clear their `gradients`.

    `gradients` come in as sums over the `ratings` of each row, without their penalty.
    """
    # Unsigned, as what may count from the end is no SIMD.
    width = np.uint64(gradients.shape[1])
    bias, second, count = width - np.uint64(1), np.uint64(2) * width, np.uint64(3) * width
    for t in range(found):
        n = rows[t]
        share = np.float32(-1) / np.float32(ratings[t])
        if rule == _ADAMW:
            keep = np.float32(1) - rate * regularization
            for k in range(bias):
                gradients[t, k] *= share
                block[n, k] *= keep
            gradients[t, bias] *= share
            block[n, bias] *= np.float32(1) - rate * bias_regularization
        else:
            for k in range(bias):
                gradients[t, k] = regularization * block[n, k] + share * gradients[t, k]
            gradients[t, bias] = bias_regularization * block[n, bias] + share * gradients[t, bias]
        if rule == _MOMENTUM:
            for k in range(width):
                m = beta1 * block[n, width + k] + gradients[t, k]
                block[n, width + k] = m
                block[n, k] -= rate * m
        elif rule == _ADAGRAD:
            for k in range(width):
                v = block[n, width + k] + gradients[t, k] * gradients[t, k]
                block[n, width + k] = v
                block[n, k] -= rate * gradients[t, k] / (np.sqrt(v) + _ADAGRAD_EPSILON)
        else:
            steps = int64(block[n, count])
            block[n, count] += np.float32(1)
            step, scale = rates[min(steps, len(rates) - 1)], scales[min(steps, len(scales) - 1)]
            new1, new2 = np.float32(1) - beta1, np.float32(1) - beta2
            for k in range(width):
                m = beta1 * block[n, width + k] + new1 * gradients[t, k]
                v = beta2 * block[n, second + k] + new2 * gradients[t, k] * gradients[t, k]
                block[n, width + k] = m
                block[n, second + k] = v
                block[n, k] -= step * m / (np.sqrt(v) * scale + _ADAM_EPSILON)
        for k in range(width):
            gradients[t, k] = 0


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
def _descend(  # noqa: PLR0913, PLR0914, PLR0917 - see `_step`
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
    # For each side the rows of a batch in the order of their first ratings: where they are, the sums
    # of their gradients and how many ratings they have. Made once, and clean after each batch.
    most_users = min(batch_size, users.shape[0], count)
    most_items = min(batch_size, items.shape[0], count)
    user_rows, item_rows = np.empty(most_users, np.int32), np.empty(most_items, np.int32)
    of_users = np.zeros((most_users, rank + 1), np.float32)
    of_items = np.zeros((most_items, rank + 1), np.float32)
    user_ratings, item_ratings = np.empty(most_users, np.int32), np.empty(most_items, np.int32)
    # Where an item is among those of its batch.
    place = np.full(items.shape[0], -1, np.int32)
    row = np.empty(rank, np.float32)
    n = 0
    while n < count:
        end = min(n + batch_size, count)
        met_users = met_items = 0
        while n < end:
            u = user[n]
            bias = users[u, rank]
            for k in range(rank):
                row[k] = users[u, k]
            first = n
            while n < end and user[n] == u:
                i = item[n]
                at = place[i]
                if at < 0:
                    at = place[i] = met_items
                    item_rows[at], item_ratings[at] = i, 0
                    met_items += 1
                item_ratings[at] += 1
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
                    of_users[met_users, k] += push * items[i, k]
                    of_items[at, k] += push * row[k]
                of_users[met_users, rank] += push
                of_items[at, rank] += push
                n += 1
            user_rows[met_users], user_ratings[met_users] = u, n - first
            met_users += 1
        _step(
            users, user_rows, of_users, user_ratings, met_users, regularization,
            bias_regularization, rule, learning_rate, beta1, beta2, rates, scales,
        )  # fmt: skip
        _step(
            items, item_rows, of_items, item_ratings, met_items, regularization,
            bias_regularization, rule, learning_rate, beta1, beta2, rates, scales,
        )  # fmt: skip
        for t in range(met_items):
            place[item_rows[t]] = -1
    return total


__all__ = ["RULES", "Optimizer", "descend"]
