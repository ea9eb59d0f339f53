"""Scores and predictions of ratings from neighbours.

What is known of a user are sources with a number each, and each source has targets with a number
each: a user's items, and for which items each is a neighbour with which weight; or a user's
neighbours with their weights, and which items each has rated. Of the two numbers one is a weight,
and the other a rating.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, njit, types, void

from recpipe.kernels.best import INTS, LONGS, SHORTS, VECTOR, constant, insert

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

_DOUBLES = types.Array(float64, 1, "C", readonly=True)


class Links(NamedTuple):
    """A sparse matrix in compressed rows.

    Args:
        offsets: (rows + 1,) where in `places` each row starts.
        places: of what a row links to, ascending in a row; those that `inverted` makes have 16 bits
            where these are enough, since lists go through them more than through all else.
        numbers: of each link.
    """

    offsets: NDArray[np.int64]
    places: NDArray[np.int32 | np.uint16]
    numbers: NDArray[np.float32]

    def matrix(self, width: int) -> csr_array:
        """(rows, width) as SciPy has it, whose places are signed."""
        from scipy.sparse import csr_array

        shape = len(self.offsets) - 1, width
        return csr_array((self.numbers, self.places.astype(np.int32), self.offsets), shape)


LINKS = types.NamedTuple((LONGS, INTS, VECTOR), Links)
SOURCES = [LINKS, types.NamedTuple((LONGS, SHORTS, VECTOR), Links)]
"""What `inverted` makes, with places of either type."""


def inverted(
    sizes: NDArray[np.int64],
    sources: NDArray[np.int32],
    numbers: NDArray[np.float32],
    *,
    of: int,
) -> Links:
    """The links from each source to the targets that name it, targets ascending.

    Args:
        sizes: (targets,) how many sources each names.
        sources: (links,) those of one target after the other; at least 0.
        numbers: (links,) of each.
        of: how many sources there are.
    """
    kind = np.uint16 if len(sizes) <= 1 << 16 else np.int32
    targets: NDArray[Any] = np.repeat(np.arange(len(sizes), dtype=kind), sizes)
    # Stable: the targets of a source stay ascending.
    order = np.argsort(sources, kind="stable")
    named = np.bincount(sources, minlength=of)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(named, dtype=np.int64)])
    return Links(offsets, targets[order], numbers[order])


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


class Mean(NamedTuple):
    """How a mean of ratings is taken.

    Args:
        rated: as for `weighted_sums`.
        most: how many sources count, those of the greatest weights; of equal ones the first.
        weighted: whether the mean is weighted.
    """

    rated: bool
    most: int
    weighted: bool


MEAN = types.NamedTuple((boolean, int64, boolean), Mean)


def means(
    users: Links,
    sources: Links,
    rows: NDArray[np.int32],
    targets: NDArray[np.int32],
    source_means: NDArray[np.float64],
    *,
    mean: Mean,
) -> NDArray[np.float64]:
    """(pairs,) the mean of rating - mean of the source, over the nearest sources of a pair.

    NaN where no source of the user links to the item. Time grows with the sources of the users of
    all pairs.

    Args:
        users: as for `weighted_sums`.
        sources: the same.
        rows: (pairs,) the user of each.
        targets: (pairs,) the target of each; one below 0 has no source.
        source_means: (sources,) subtracted from the rating.
        mean: how it is taken.
    """
    found = np.full(len(rows), np.nan)
    _means(constant(users), constant(sources), rows, targets, source_means, mean, found)
    return found


@njit([int64(each, int32, int32) for each in SOURCES], cache=True, nogil=True)
def _link(sources: Links, source: int, target: int) -> int:
    """The place of the link from a source to a target; -1 where there is none."""
    low, end = sources.offsets[source], sources.offsets[source + 1]
    high = end
    while low < high:
        middle = (low + high) // 2
        if sources.places[middle] < target:
            low = middle + 1
        else:
            high = middle
    return int(low) if low < end and sources.places[low] == target else -1


@njit(
    [void(LINKS, each, boolean, float32, boolean, float32[:, ::1]) for each in SOURCES],
    cache=True, nogil=True,
)  # fmt: skip
def _weighted_sums(
    users: Links,
    sources: Links,
    rated: bool,
    lowest: float,
    binary: bool,
    found: NDArray[np.float32],
) -> None:
    one = float32(1)
    places, numbers = sources.places, sources.numbers
    for user in range(len(users.offsets) - 1):
        # Unsigned: an index below 0 would count from the end, which takes longer than the sum.
        row = np.uint64(user)
        for at in range(users.offsets[user], users.offsets[user + 1]):
            source, number = users.places[at], users.numbers[at]
            if source < 0 or (rated and number < lowest):
                continue
            if rated and binary:
                number = one
            begin, end = sources.offsets[source], sources.offsets[source + 1]
            if rated:
                for link in range(np.uint64(begin), np.uint64(end)):
                    found[row, np.uint64(places[link])] += number * numbers[link]
                continue
            for link in range(np.uint64(begin), np.uint64(end)):
                rating = numbers[link]
                if rating >= lowest:
                    found[row, np.uint64(places[link])] += number * (one if binary else rating)


@njit(
    [void(LINKS, each, INTS, INTS, _DOUBLES, MEAN, float64[::1]) for each in SOURCES],
    cache=True, nogil=True,
)  # fmt: skip
def _means(
    users: Links,
    sources: Links,
    rows: NDArray[np.int32],
    targets: NDArray[np.int32],
    source_means: NDArray[np.float64],
    mean: Mean,
    found: NDArray[np.float64],
) -> None:
    weights, places = np.empty(mean.most, np.float32), np.empty(mean.most, np.int32)
    for pair in range(len(rows)):
        size, target = 0, targets[pair]
        begin, end = users.offsets[rows[pair]], users.offsets[rows[pair] + 1]
        for at in range(begin, end):
            if users.places[at] < 0 or target < 0:
                continue
            link = _link(sources, users.places[at], target)
            if link < 0:
                continue
            weight = sources.numbers[link] if mean.rated else users.numbers[at]
            if size < mean.most or weight > weights[size - 1]:
                size = insert(weights, places, size, weight, int32(at - begin))
        total, norm = 0.0, 0.0
        for place in range(size):
            at = begin + places[place]
            source = users.places[at]
            link = _link(sources, source, target)
            rating = users.numbers[at] if mean.rated else sources.numbers[link]
            weight = weights[place] if mean.weighted else float32(1)
            total += float64(weight) * (rating - source_means[source])
            norm += float64(weight)
        if size:
            found[pair] = total / norm


__all__ = ["Links", "Mean", "inverted", "means", "weighted_sums"]
