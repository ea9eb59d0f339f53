"""Biases of users and items that change over time, by alternating ridge regressions.

A rating at day t is mean + b_u + a_u dev_u(t) + c_u,t + b_i + d_i,bin(t), with

    dev_u(t) = sign(t - t_u) |t - t_u|^power,   t_u the mean day of the user's ratings

(Koren 2009, "Collaborative filtering with temporal dynamics", section 3.2). With a penalty on the
square of each parameter the users are solved exactly for given items, and the items for given
users. In both the parameters of single days (of items: periods) are eliminated first: for n values
with the mean y on a day and the penalty L, c = n (y - b - a dev) / (n + L), so that b and a are a
regression on the means of the days, each of which weighs n L / (n + L). Where ratings weigh, n is
the sum of their weights, and y their mean by weight. All sums are float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Longs = NDArray[np.int64]
    Sums = Callable[[Doubles | None], Doubles]
    """From the biases of items in bins, (items, bins): the sums of what is left of ratings once the
    users, solved beside these biases, are taken away. From None: how many ratings there are. Either
    is (items, bins), and a rating counts as much as it weighs."""


class Penalties(NamedTuple):
    """What the squares of parameters are multiplied by.

    Args:
        user: of b_u.
        drift: of a_u.
        day: of c_u,t, above 0.
        item: of b_i.
        bin: of d_i,bin, above 0.
    """

    user: float
    drift: float
    day: float
    item: float
    bin: float


class Days(NamedTuple):
    """The days of some users, on which they have rated; users and their days ascending.

    Args:
        starts: (days,) where in the ratings each day starts; none is empty.
        users: (users,) where in the days each user starts; none is empty.
        days: (days,) the number of each.
        centres: (users,) the mean day of each user's ratings.
        dev: (days,) dev_u(t) of each, for its user.
    """

    starts: Longs
    users: Longs
    days: Longs
    centres: Doubles
    dev: Doubles

    @classmethod
    def of(cls, rows: NDArray[np.int32], days: Longs, *, power: float) -> Days:
        """Those of ratings that are sorted by user, then day.

        Args:
            rows: (ratings,) the user of each.
            days: (ratings,) the day of each.
            power: of `dev`.
        """
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (days[1:] != days[:-1])
        starts = np.flatnonzero(first)
        own = rows[starts]
        users = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
        sizes = np.diff(np.append(starts[users], len(rows)))
        # In float32, as the model keeps them: a prediction computes the same dev.
        means = np.add.reduceat(days.astype(np.float64), starts[users]) / sizes
        centres = means.astype(np.float32).astype(np.float64)
        spread = np.repeat(centres, np.diff(np.append(users, len(starts))))
        return cls(starts, users, days[starts], centres, deviation(days[starts] - spread, power))


class UserBiases(NamedTuple):
    """Parameters of users.

    Args:
        bias: (users,) b_u.
        drift: (users,) a_u.
        day: (days,) c_u,t.
    """

    bias: Doubles
    drift: Doubles
    day: Doubles


def deviation(distance: Doubles, power: float) -> Doubles:
    """Sign(distance) |distance|^power, of days from the mean day of a user."""
    found: Doubles = np.sign(distance) * np.abs(distance) ** power
    return found


def user_biases(
    values: Doubles, days: Days, penalties: Penalties, weights: Doubles | None = None
) -> UserBiases:
    """The best parameters of users, for what the items leave over of their ratings.

    Args:
        values: (ratings,) less mean and items.
        days: of the ratings.
        penalties: of users.
        weights: (ratings,) of the squared error of each, above 0; None: all 1.
    """
    counts: NDArray[Any] = np.diff(np.append(days.starts, len(values)))
    if weights is not None:
        counts, values = np.add.reduceat(weights, days.starts), values * weights
    means = np.add.reduceat(values, days.starts) / counts
    weight = counts * (penalties.day / (counts + penalties.day))

    def summed(each: Doubles) -> Doubles:
        found: Doubles = np.add.reduceat(each, days.users)
        return found

    s0, s1, s2 = (summed(weight * days.dev**n) for n in range(3))
    t0, t1 = summed(weight * means), summed(weight * days.dev * means)
    s0, s2 = s0 + penalties.user, s2 + penalties.drift
    determinant = s0 * s2 - s1 * s1
    bias = (s2 * t0 - s1 * t1) / determinant
    drift = (s0 * t1 - s1 * t0) / determinant
    sizes = np.diff(np.append(days.users, len(days.starts)))
    left = means - np.repeat(bias, sizes) - np.repeat(drift, sizes) * days.dev
    return UserBiases(bias, drift, counts * left / (counts + penalties.day))


def of_ratings(found: UserBiases, days: Days, *, ratings: int) -> Doubles:
    """(ratings,) b_u + a_u dev_u(t) + c_u,t of each rating."""
    sizes = np.diff(np.append(days.users, len(days.starts)))
    per_day = np.repeat(found.bias, sizes) + np.repeat(found.drift, sizes) * days.dev + found.day
    return np.repeat(per_day, np.diff(np.append(days.starts, ratings)))


def item_biases(counts: Doubles, sums: Doubles, penalties: Penalties) -> tuple[Doubles, Doubles]:
    """(items,) b_i and (items, bins) d_i,bin: the best for what the users leave over.

    Args:
        counts: (items, bins) ratings, or the sum of what they weigh.
        sums: (items, bins) of what the users leave over of them.
        penalties: of items.
    """
    shrunk = penalties.bin / (counts + penalties.bin)
    whole = (counts * shrunk).sum(axis=1) + penalties.item
    # Numbers that no item has have neither ratings nor, perhaps, a penalty.
    bias = np.divide((sums * shrunk).sum(axis=1), whole, out=np.zeros(len(whole)), where=whole > 0)
    return bias, (sums - counts * bias[:, None]) / (counts + penalties.bin)


class Solution(NamedTuple):
    """The biases of the items; rows of 0 for those without ratings.

    Args:
        counts: (items, bins) ratings, or the sum of what they weigh.
        bias: (items,) b_i.
        bins: (items, bins) d_i,bin.
    """

    counts: Doubles
    bias: Doubles
    bins: Doubles


def solve(sums: Sums, penalties: Penalties, *, sweeps: int) -> Solution:
    """The biases of the items after so many sweeps over users and items.

    Args:
        sums: over all ratings, by whatever way they are made.
        penalties: of all parameters.
        sweeps: how many.
    """
    counts = sums(None)
    bias, bins = np.zeros(len(counts)), np.zeros(counts.shape)
    for _ in range(sweeps):
        bias, bins = item_biases(counts, sums(bias[:, None] + bins), penalties)
    return Solution(counts, bias, bins)


__all__ = [
    "Days", "Penalties", "Solution", "UserBiases", "deviation", "item_biases", "of_ratings",
    "solve", "user_biases",
]  # fmt: skip
