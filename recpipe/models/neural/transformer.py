"""The network of SASRec: what it holds, how it begins, and the vector of a user by NumPy.

For the items s_1 .. s_n of a user, the oldest first, and the embedding E of items,

    x_t = sqrt(d) E[s_t] + P[n - t]
    x  <- x + attention(norm(x))            in each layer, where t sees 1 .. t alone
    x  <- x + relu(norm(x) W1 + b1) W2 + b2
    h   = norm(x)

and the score of an item j after s_n is h_n . E[j] (Kang and McAuley 2018, sections III.A to D).
Positions are counted from the newest item on: the newest has position 0 in a history of any length.

`sequence_network.py` has the same network in PyTorch, for the fit. Lists need no PyTorch: the state
of a user is a few products of matrices.

References:
    Wang-Cheng Kang, Julian McAuley. Self-Attentive Sequential Recommendation. ICDM 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from recpipe.ranking.histories import Histories

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]
    Weights = Mapping[str, Floats]

ITEMS = "items"
"""The name of the embedding of items, which are the factors of the fitted model."""
EPSILON = 1e-6
"""Added to the variance in a norm, so that it never divides by 0."""

_FIRST_DEVIATION = 0.02


@dataclass(frozen=True)
class Shape:
    """The sizes of a network.

    Args:
        items: that it knows.
        rank: d, numbers of an embedding; a multiple of `heads`.
        max_length: items of a history that it sees, the newest.
        layers: layers of attention, each followed by a feed-forward layer.
        heads: of each layer of attention.
    """

    items: int
    rank: int
    max_length: int
    layers: int
    heads: int

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of weights by its name; the embedding of items is the first."""
        d = self.rank
        found: dict[str, tuple[int, ...]] = {ITEMS: (self.items, d)}
        found["positions"] = (self.max_length, d)
        for layer in range(self.layers):
            of_layer = {
                "attention_scale": (d,), "attention_shift": (d,),
                "seen": (d, 3 * d), "seen_shift": (3 * d,), "mixed": (d, d), "mixed_shift": (d,),
                "forward_scale": (d,), "forward_shift": (d,),
                "inner": (d, d), "inner_shift": (d,), "outer": (d, d), "outer_shift": (d,),
            }  # fmt: skip
            found |= {f"{layer}_{name}": size for name, size in of_layer.items()}
        return found | {"scale": (d,), "shift": (d,)}


def initial_weights(shape: Shape, *, seed: int) -> dict[str, Floats]:
    """The weights with which a fit begins: scales 1, shifts 0, the others normal around 0.

    Matrices deviate by sqrt(2 / (rows + columns)) (Glorot and Bengio 2010), embeddings by 0.02.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Floats] = {}
    for name, size in shape.sizes().items():
        if len(size) == 1:
            found[name] = np.full(size, float(name.endswith("scale")), np.float32)
            continue
        embeds = name in {ITEMS, "positions"}
        deviation = _FIRST_DEVIATION if embeds else math.sqrt(2 / sum(size))
        found[name] = deviation * rng.standard_normal(size, np.float32)
    return found


def in_time(rows: Histories) -> Ints:
    """The items of all rows, in each the oldest first.

    Args:
        rows: their values are places in time from the newest item on.
    """
    owner = np.repeat(np.arange(len(rows.offsets) - 1), np.diff(rows.offsets))
    found: Ints = rows.items[np.lexsort((-rows.values, owner))]
    return found


def padded(rows: Histories, *, length: int) -> Ints:
    """(rows, length) the newest items of each row, the newest last; -1 before the oldest."""
    items, sizes = in_time(rows), np.diff(rows.offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    column = length - (rows.offsets[1:][owner] - np.arange(len(items)))
    found = np.full((len(sizes), length), -1, np.int32)
    found[owner[column >= 0], column[column >= 0]] = items[column >= 0]
    return found


def last_state(weights: Weights, shape: Shape, items: Ints) -> Floats:
    """(rank,) h_n of one history.

    Each history is computed alone, so that the bits of a vector depend on no other history.

    Args:
        weights: as `Shape.sizes` has them.
        shape: of the network.
        items: (n,) at least one, the oldest first.
    """
    items = items[-shape.max_length :]
    x = weights[ITEMS][items] * np.float32(math.sqrt(shape.rank))
    x = x + weights["positions"][len(items) - 1 :: -1]
    for layer in range(shape.layers):
        own = {name: weights[f"{layer}_{name}"] for name in _OF_LAYER}
        x = x + _attention(own, _norm(x, own["attention_scale"], own["attention_shift"]), shape)
        y = _norm(x, own["forward_scale"], own["forward_shift"])
        y = np.maximum(y @ own["inner"] + own["inner_shift"], 0)
        x = x + (y @ own["outer"] + own["outer_shift"])
    return _norm(x[-1], weights["scale"], weights["shift"])


def _norm(x: Floats, scale: Floats, shift: Floats) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    found: Floats = centred / np.sqrt(variance + np.float32(EPSILON)) * scale + shift
    return found


def _attention(own: Weights, x: Floats, shape: Shape) -> Floats:
    n, d = x.shape
    seen = (x @ own["seen"] + own["seen_shift"]).reshape(n, 3, shape.heads, d // shape.heads)
    # (heads, n, d / heads) each.
    queries, keys, values = seen.transpose(1, 2, 0, 3)
    scores: Any = queries @ keys.transpose(0, 2, 1) / np.float32(math.sqrt(d // shape.heads))
    scores[:, ~np.tri(n, dtype=bool)] = -np.inf
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    mixed = (shares @ values).transpose(1, 0, 2).reshape(n, d)
    found: Floats = mixed @ own["mixed"] + own["mixed_shift"]
    return found


_OF_LAYER = [
    name.removeprefix("0_") for name in Shape(1, 1, 1, 1, 1).sizes() if name.startswith("0_")
]


@dataclass(frozen=True, eq=False)
class Encoder:
    """Finds the vectors of users by their histories: a `fold_in.RowSolver`. Their biases are 0.

    Args:
        shape: of the network.
        weights: of it.
    """

    shape: Shape
    weights: Weights

    def __call__(self, rows: Histories) -> Floats:
        """(rows, rank + 1) `last_state` of each row, then 0.

        Args:
            rows: values are places in time; that of the newest item is 1.
        """
        items, ends = in_time(rows), rows.offsets
        found = np.zeros((len(ends) - 1, self.shape.rank + 1), np.float32)
        for row, vector in enumerate(found):
            vector[:-1] = last_state(self.weights, self.shape, items[ends[row] : ends[row + 1]])
        return found


__all__ = [
    "EPSILON", "ITEMS", "Encoder", "Shape", "in_time", "initial_weights", "last_state", "padded",
]  # fmt: skip
