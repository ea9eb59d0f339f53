"""Scores and predictions of ratings from neighbours.

What is known of a user are sources with a number each, and each source has targets with a number
each: a user's items, and for which items each is a neighbour with which weight; or a user's
neighbours with their weights, and which items each has rated. Of the two numbers one is a weight,
and the other a rating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void

from recpipe.kernels.best import INTS, VECTOR, insert

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGS = types.Array(int64, 1, "C", readonly=True)
_DOUBLES = types.Array(float64, 1, "C", readonly=True)


class Links(NamedTuple):
    """A sparse matrix in compressed rows.

    Args:
        offsets: (rows + 1,) where in `places` each row starts.
        places: of what a row links to, ascending in a row.
        numbers: of each link.
    """

    offsets: NDArray[np.int64]
    places: NDArray[np.int32]
    numbers: NDArray[np.float32]


LINKS = types.NamedTuple((_LONGS, INTS, VECTOR), Links)


def constant(links: Links) -> Links:
    """The same arrays, read-only, as the kernels take them."""
    views = [array.view() for array in links]
    for view in views:
        view.flags.writeable = False
    return Links(*views)


def weighted_sums(
    users: Links,
    sources: Links,
    *,
    targets: int,
    rated: bool,
    lowest: float,
    binary: bool,
) -> NDArray[np.float32]:
    """(users, targets) the sum over a user's sources of weight times rating; 0 without any.

    Sums are taken in the order of the sources. Time grows with the targets of all sources of all
    users.

    Args:
        users: from each user to sources; those below 0 are passed over.
        sources: from each source to targets.
        targets: how many there are.
        rated: whether the numbers of users are ratings, and those of sources weights; or the other
            way round.
        lowest: ratings below it count nothing.
        binary: whether the others count 1, and not what they are.
    """
    found = np.zeros((len(users.offsets) - 1, targets), np.float32)
    _weighted_sums(constant(users), constant(sources), rated, lowest, binary, found)
    return found


def means(
    users: Links,
    sources: Links,
    pairs: tuple[NDArray[np.int32], NDArray[np.int32]],
    source_means: NDArray[np.float64],
    *,
    rated: bool,
    most: int,
    weighted: bool,
) -> NDArray[np.float64]:
    """(pairs,) the mean of rating - mean of the source, over the nearest sources of a pair.

    NaN where no source of the user links to the item. Time grows with the sources of the users of
    all pairs.

    Args:
        users: as for `weighted_sums`.
        sources: the same.
        pairs: the user and the target of each; a target below 0 has no source.
        source_means: (sources,) subtracted from the rating.
        rated: as for `weighted_sums`.
        most: how many sources count, those of the greatest weights; of equal ones the first.
        weighted: whether the mean is weighted.
    """
    found = np.full(len(pairs[0]), np.nan)
    _means(constant(users), constant(sources), *pairs, source_means, rated, most, weighted, found)
    return found


@njit(void(LINKS, LINKS, boolean, float32, boolean, float32[:, ::1]), cache=True, nogil=True)
def _weighted_sums(
    users: Links,
    sources: Links,
    rated: bool,
    lowest: float,
    binary: bool,
    found: NDArray[np.float32],
) -> None:
    one = float32(1)
    for user in range(len(users.offsets) - 1):
        row = found[user]
        for at in range(users.offsets[user], users.offsets[user + 1]):
            source, number = users.places[at], users.numbers[at]
            if source < 0 or (rated and number < lowest):
                continue
            if rated and binary:
                number = one
            begin, end = sources.offsets[source], sources.offsets[source + 1]
            if rated:
                for link in range(begin, end):
                    row[sources.places[link]] += number * sources.numbers[link]
                continue
            for link in range(begin, end):
                rating = sources.numbers[link]
                if rating >= lowest:
                    row[sources.places[link]] += number * (one if binary else rating)


@njit(
    void(
        LINKS, LINKS, INTS, INTS, _DOUBLES, boolean, int64, boolean, float64[::1]
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _means(
    users: Links,
    sources: Links,
    rows: NDArray[np.int32],
    targets: NDArray[np.int32],
    source_means: NDArray[np.float64],
    rated: bool,
    most: int,
    weighted: bool,
    found: NDArray[np.float64],
) -> None:
    weights, links = np.empty(most, np.float32), np.empty(most, np.int32)
    for pair in range(len(rows)):
        size, target = 0, targets[pair]
        begin, end = users.offsets[rows[pair]], users.offsets[rows[pair] + 1]
        for at in range(begin, end):
            source = users.places[at]
            if source < 0 or target < 0:
                continue
            low, high = sources.offsets[source], sources.offsets[source + 1]
            stop = high
            while low < high:
                middle = (low + high) // 2
                if sources.places[middle] < target:
                    low = middle + 1
                else:
                    high = middle
            if low == stop or sources.places[low] != target:
                continue
            weight = sources.numbers[low] if rated else users.numbers[at]
            if size < most or weight > weights[size - 1]:
                # Places of users' links are small enough for an int32 within a user.
                size = insert(weights, links, size, weight, int32(at - begin))
        total, norm = 0.0, 0.0
        for place in range(size):
            at = begin + links[place]
            source = users.places[at]
            rating = users.numbers[at]
            if not rated:
                low, high = sources.offsets[source], sources.offsets[source + 1]
                while low < high:
                    middle = (low + high) // 2
                    if sources.places[middle] < target:
                        low = middle + 1
                    else:
                        high = middle
                rating = sources.numbers[low]
            weight = float64(weights[place]) if weighted else 1.0
            total += weight * (rating - source_means[source])
            norm += weight
        if size:
            found[pair] = total / norm


__all__ = ["Links", "means", "weighted_sums"]
