"""Sums over the users of a group: what a mean over their pairs, and its error, come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SUMS = 6
"""How many sums `moments_of` makes."""


def moments_of(
    values: FloatArray, users: NDArray[np.int32], groups: NDArray[np.bool_]
) -> FloatArray:
    """Sums by group, of pairs of a user each; the pairs of one user go together.

    Args:
        values: (..., n) a number of each pair; NaN where the pair does not count.
        users: (n,) of each pair, ascending.
        groups: (G, n) whether a pair is of a group.

    Returns:
        (SUMS, ..., G): how many users there are, how many pairs they have and the sum of the
        squares of these numbers; the sum of the values, the sum over users of the square of a
        user's sum, and that of the product of a user's sum and number of pairs.
    """
    found = np.zeros((SUMS, *values.shape[:-1], len(groups)))
    group, pair = np.nonzero(groups)
    if not len(pair):
        return found
    user = users[pair]
    starts = np.flatnonzero(np.append(True, (np.diff(group) != 0) | (np.diff(user) != 0)))
    counts = ~np.isnan(values)
    both = np.stack([counts, np.where(counts, values, 0.0)])
    pairs, sums = np.add.reduceat(np.take(both, pair, axis=-1), starts, axis=-1)
    terms = np.stack([pairs > 0, pairs, pairs * pairs, sums, sums * sums, sums * pairs])
    there, starts = np.unique(group[starts], return_index=True)
    found[..., there] = np.add.reduceat(terms, starts, axis=-1)
    return found


__all__ = ["SUMS", "moments_of"]
