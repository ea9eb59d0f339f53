"""Passes of stochastic gradient descent whose steps go by moments of the gradients so far.

Cells, blocks and the model are those of `kernels.sgd`. A row of a block holds its rank + 1 factors
and bias, then as many numbers for each moment, then for Adam how often the row has been stepped:
moments travel with the factors, and nobody but the optimizer need know of them.

A cell is taken in batches. All gradients of a batch are taken at one point; then each row with a
rating in it steps once, along the sum g of the gradients of the losses of its ratings (those of
`kernels.sgd.descend`, penalties included). Each row is what PyTorch calls a parameter, and one
without a gradient stays as it is, moments and count included. With the learning rate a and the
penalty L:

    momentum   m = b1 m + g                                   x -= a m
    adagrad    v += g^2                                       x -= a g / (sqrt v + 1e-10)
    adam       m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
               x -= a m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + 1e-8)   in the row's step t
    adamw      as adam, with the penalty out of g: first x -= a L x

as `torch.optim.SGD`, `Adagrad`, `Adam` and `AdamW` have them. Sources: Polyak 1964; Duchi, Hazan
and Singer 2011; Kingma and Ba 2015; Loshchilov and Hutter 2019.

A cell is cut into two halves. Each has B batches, of which the b-th has the ratings b, b + B,
b + 2 B and so on of that half. As a cell is sorted by user, each user's ratings (but those of the
one whom the cut divides) are dealt to the batches of one half as evenly as they can be, and come
one after the other in each: a batch has half of the users, is as mixed as a random one of these,
and is read as fast as a sorted one.
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
"""For how many steps of a row Adam's corrections are computed at most; then they stay as they are,
which is 1 in float32 where b2 is at most 0.9999."""
_ROUNDING = 1e-8
_USERS_AT_ONCE = 32
"""Users stepped by one call: a call takes longer than a step, and more rows than the nearest cache
holds would be read twice from afar."""

_BLOCK = float32[:, ::1]


class Optimizer(NamedTuple):
    """A rule with what it needs.

    Args:
        rule: one of `RULES`.
        beta1: how much of the first moment stays in a step.
        beta2: how much of the second moment stays in a step.
        batch_size: most ratings of a batch; a half has as few batches as this allows.
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
    """Visit every rating of a cell once, batch by batch, and step the rows of users and items.

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
        The sum of squared errors, each taken just before the step of its batch.
    """
    rates, scales = _corrections(learning_rate, optimizer.beta1, optimizer.beta2)
    half = -(-len(cell[0]) // 2)
    batches = -(-half // optimizer.batch_size)
    by_column = np.full(rank + 1, penalties[0], np.float32)
    by_column[rank] = penalties[1]
    found: float = _descend(
        *cell, users, items, *output, learning_rate, by_column, RULES.index(optimizer.rule),
        optimizer.beta1, optimizer.beta2, rates, scales, max(batches, 1),
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
        _BLOCK, INTS, _BLOCK, INTS, int64, FLOATS, int64, float32, float32, float32, FLOATS, FLOATS
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
    pushes: Floats,
    ratings: Ints,
    found: int,
    penalties: Floats,
    rule: int,
    rate: float,
    beta1: float,
    beta2: float,
    rates: Floats,
    scales: Floats,
) -> None:
    """Step the first `found` of `rows` of a block, and clear their `pushes`.

    `ratings` is how many each row has in the batch, and `pushes` the negative sum of the gradients
    of their losses without the penalty.
    """
    # Unsigned: an index that might be negative, and so count from the end, keeps loops from SIMD.
    width = np.uint64(pushes.shape[1])
    second, steps = np.uint64(2) * width, np.uint64(3) * width
    new1, new2 = np.float32(1) - beta1, np.float32(1) - beta2
    decay = rate if rule == _ADAMW else np.float32(0)
    for t in range(found):
        n = rows[t]
        times = np.float32(0) if rule == _ADAMW else np.float32(ratings[t])
        if rule == _MOMENTUM:
            for k in range(width):
                x = block[n, k]
                m = beta1 * block[n, width + k] + (times * penalties[k] * x - pushes[t, k])
                block[n, width + k] = m
                block[n, k] = x - rate * m
                pushes[t, k] = 0
        elif rule == _ADAGRAD:
            for k in range(width):
                x = block[n, k]
                g = times * penalties[k] * x - pushes[t, k]
                v = block[n, width + k] + g * g
                block[n, width + k] = v
                block[n, k] = x - rate * g / (np.sqrt(v) + _ADAGRAD_EPSILON)
                pushes[t, k] = 0
        else:
            before = int64(block[n, steps])
            block[n, steps] += np.float32(1)
            step, scale = rates[min(before, len(rates) - 1)], scales[min(before, len(scales) - 1)]
            for k in range(width):
                x = block[n, k]
                g = times * penalties[k] * x - pushes[t, k]
                m = beta1 * block[n, width + k] + new1 * g
                v = beta2 * block[n, second + k] + new2 * g * g
                block[n, width + k] = m
                block[n, second + k] = v
                x -= decay * penalties[k] * x
                block[n, k] = x - step * m / (np.sqrt(v) * scale + _ADAM_EPSILON)
                pushes[t, k] = 0


@njit(
    float64(
        INTS, INTS, FLOATS, _BLOCK, _BLOCK, float32, float32, float32, float32, FLOATS,
        int64, float32, float32, FLOATS, FLOATS, int64,
    ),
    nogil=True,
    cache=True,
    fastmath=FASTMATH,
    # Python's would ask before each division whether it is by 0.
    error_model="numpy",
)  # fmt: skip
def _descend(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - see `_step`
    user: Ints,
    item: Ints,
    rating: Floats,
    users: Floats,
    items: Floats,
    offset: float,
    low: float,
    span: float,
    learning_rate: float,
    penalties: Floats,
    rule: int,
    beta1: float,
    beta2: float,
    rates: Floats,
    scales: Floats,
    batches: int,
) -> float:
    """See `descend`; `penalties` is L of each column, and `rating` may have weights behind it."""
    total = 0.0
    rank = penalties.shape[0] - 1
    count = user.shape[0]
    weighed = rating.shape[0] > count
    # For each side the rows of a batch in the order of their first ratings: which they are, what
    # their ratings push them by, and how many these are. Made once, and clean after each batch.
    half = (count + 1) // 2
    most = (half + batches - 1) // batches
    most_users, most_items = min(most, _USERS_AT_ONCE), min(most, items.shape[0])
    user_rows, item_rows = np.empty(most_users, np.int32), np.empty(most_items, np.int32)
    of_users = np.zeros((most_users, rank + 1), np.float32)
    of_items = np.zeros((most_items, rank + 1), np.float32)
    user_ratings, item_ratings = np.empty(most_users, np.int32), np.empty(most_items, np.int32)
    # Where an item is among those of its batch.
    place = np.full(items.shape[0], -1, np.int32)
    row, of_user = np.empty(rank, np.float32), np.empty(rank, np.float32)
    for batch in range(2 * batches):
        met_users = met_items = 0
        # First the batches of the first half, then those of the second.
        n, end = (batch, half) if batch < batches else (half + batch - batches, count)
        while n < end:
            u = user[n]
            for k in range(rank):
                row[k] = users[u, k]
                of_user[k] = 0
            bias = users[u, rank]
            of_bias = np.float32(0)
            met = 0
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
                    of_user[k] += push * items[i, k]
                    of_items[at, k] += push * row[k]
                of_bias += push
                of_items[at, rank] += push
                met += 1
                n += batches
            for k in range(rank):
                of_users[met_users, k] = of_user[k]
            of_users[met_users, rank] = of_bias
            user_rows[met_users], user_ratings[met_users] = u, met
            met_users += 1
            # No later rating of the batch has these users. They are stepped while they are near.
            if met_users == most_users or n >= end:
                _step(
                    users, user_rows, of_users, user_ratings, met_users, penalties,
                    rule, learning_rate, beta1, beta2, rates, scales,
                )  # fmt: skip
                met_users = 0
        _step(
            items, item_rows, of_items, item_ratings, met_items, penalties,
            rule, learning_rate, beta1, beta2, rates, scales,
        )  # fmt: skip
        for t in range(met_items):
            place[item_rows[t]] = -1
    return total


__all__ = ["RULES", "Optimizer", "descend"]
