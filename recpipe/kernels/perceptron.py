"""Scores of a small network over pairs of users and items: a product and a perceptron.

A row of a user, or of an item, is `rank` factors, and then what the first layer of the perceptron
makes of it before the two are added. With x_1 = relu(a_u + a_i) and x_l = relu(W_l' x_(l-1) + b_l),

    score = p_u . q_i + w . x_L + b

The bits of a score depend on its user and its item alone: every sum is taken in one order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, int64, njit, void

from recpipe.kernels.best import LONGS, MATRIX, VECTOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_ITEMS = 16
"""Items that are computed together: each weight is read once for so many."""


class Layers(NamedTuple):
    """What follows the first layer.

    Args:
        widths: (L,) of the layers, the first among them; empty for no perceptron.
        weights: of each further layer W' (in, out), row by row, and its bias, then w.
        bias: b.
    """

    widths: NDArray[np.int64]
    weights: Floats
    bias: float

    @classmethod
    def of(cls, parts: list[Floats]) -> Layers:
        """From W' and bias of each further layer, then w and b, each flat.

        Raises:
            ValueError: if their lengths do not fit.
        """
        *layers, last, bias = parts
        widths = [len(each) for each in layers[1::2]]
        if len(last):
            widths = [len(layers[0]) // widths[0] if widths else len(last), *widths]
        found = cls(
            np.array(widths, np.int64),
            np.concatenate([np.empty(0, np.float32), *layers, last]),
            float(bias[0]),
        )
        inner = sum(a * b + b for a, b in pairwise(widths))
        if len(found.weights) != inner + (widths[-1] if widths else 0):
            raise ValueError(f"layers of widths {widths} do not have {len(found.weights)} weights")
        return found


def network_scores(users: Floats, items: Floats, layers: Layers) -> Floats:
    """(u, n) the score of every item for every user.

    Time grows with users x items x (rank + the weights of all further layers); where an output of a
    layer is 0, what it would add is passed over.

    Args:
        users: (u, rank + width) rows; no width without a perceptron.
        items: (n, rank + width) rows.
        layers: of the perceptron.
    """
    found = np.empty((len(users), len(items)), np.float32)
    rank = users.shape[1] - (int(layers.widths[0]) if len(layers.widths) else 0)
    widest = int(layers.widths.max()) if len(layers.widths) else 0
    inner = np.empty((2 * _ITEMS, widest), np.float32)
    _network_scores(
        users, items, rank, layers.widths, layers.weights, np.float32(layers.bias), inner, found
    )
    return found


@njit(void(VECTOR, MATRIX, int64, float32, float32[::1]), cache=True, nogil=True)
def _products(user: Floats, items: Floats, rank: int, bias: np.float32, found: Floats) -> None:
    for t in range(len(items)):
        total = bias
        for k in range(rank):
            total += user[k] * items[t, k]
        found[t] = total


@njit(void(VECTOR, MATRIX, int64, float32[:, ::1]), cache=True, nogil=True)
def _first(user: Floats, items: Floats, rank: int, found: Floats) -> None:
    for t in range(len(items)):
        for k in range(len(user) - rank):
            found[t, k] = max(user[rank + k] + items[t, rank + k], float32(0))


@njit(void(MATRIX, int64, VECTOR, VECTOR, int64, float32[:, ::1]), cache=True, nogil=True)
def _layer(x: Floats, wide: int, weights: Floats, bias: Floats, count: int, found: Floats) -> None:
    narrow = len(bias)
    for t in range(count):
        found[t, :narrow] = bias
    for k in range(wide):
        for t in range(count):
            value = x[t, k]
            if value > 0:
                for j in range(narrow):
                    found[t, j] += value * weights[k * narrow + j]
    for t in range(count):
        for j in range(narrow):
            found[t, j] = max(found[t, j], float32(0))


@njit(void(MATRIX, VECTOR, float32[::1]), cache=True, nogil=True)
def _add_last(x: Floats, weights: Floats, found: Floats) -> None:
    for t in range(len(found)):
        total = found[t]
        for k in range(len(weights)):
            total += x[t, k] * weights[k]
        found[t] = total


@njit(
    void(MATRIX, MATRIX, int64, LONGS, VECTOR, float32, float32[:, ::1], float32[:, ::1]),
    cache=True,
    nogil=True,
)
def _network_scores(
    users: Floats,
    items: Floats,
    rank: int,
    widths: NDArray[np.int64],
    weights: Floats,
    bias: np.float32,
    inner: Floats,
    found: Floats,
) -> None:
    x, y = inner[:_ITEMS], inner[_ITEMS:]
    for user in range(len(users)):
        for first in range(0, len(items), _ITEMS):
            some = items[first : first + _ITEMS]
            out = found[user, first : first + _ITEMS]
            _products(users[user], some, rank, bias, out)
            if not len(widths):
                continue
            _first(users[user], some, rank, x)
            at = 0
            for layer in range(1, len(widths)):
                wide, narrow = widths[layer - 1], widths[layer]
                end = at + wide * narrow
                own = weights[end : end + narrow]
                _layer(x, wide, weights[at:end], own, len(some), y)
                at = end + narrow
                x, y = y, x
            _add_last(x, weights[at:], out)


__all__ = ["Layers", "network_scores"]
