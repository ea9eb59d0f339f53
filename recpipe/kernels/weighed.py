"""Ratings that do not all weigh the same, beside those that do: two kinds of arrays. NumPy only.

On their way ratings are one array, so that whoever sorts and cuts them need not know which kind it
is: float32, or WEIGHED where each has a weight. Kernels get float32: the ratings, and behind them
the weights, if there are any (`flat`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Values = NDArray[Any]
    Floats = NDArray[np.float32]

WEIGHED = np.dtype([("rating", np.float32), ("weight", np.float32)])
"""A rating and what it weighs."""


def with_weights(ratings: Floats, weights: Floats) -> Values:
    """(n,) WEIGHED."""
    found = np.empty(len(ratings), WEIGHED)
    found["rating"], found["weight"] = ratings, weights
    return found


def read(floats: Floats, count: int) -> Values:
    """Ratings of either kind that were written as bytes: twice as many numbers have weights.

    Args:
        floats: the bytes.
        count: of the ratings.
    """
    return floats.view(WEIGHED) if len(floats) > count else floats


def joined(parts: Iterable[Values]) -> Values:
    """Ratings of one kind end to end; no parts give an empty float32 array."""
    # An empty part that was written as bytes has lost its kind.
    some = [part for part in parts if len(part)]
    return np.concatenate(some) if some else np.empty(0, np.float32)


def flat(values: Values) -> Floats:
    """(n,) ratings as kernels take them, or (2 n,) with their weights behind them."""
    if values.dtype != WEIGHED:
        return values
    return np.concatenate([values["rating"], values["weight"]])


__all__ = ["WEIGHED", "flat", "joined", "read", "with_weights"]
