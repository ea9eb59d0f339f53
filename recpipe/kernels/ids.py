"""Ids in arrays: each once, in buckets, to positions. Without Numba: not everybody need load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recpipe.kernels.splitmix import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

Ints = NDArray[np.int32]
Counts = tuple[Ints, NDArray[np.int64]]


def distinct(ids: Ints) -> Ints:
    """The ids that occur, ascending."""
    if not _dense(ids):
        return np.unique(ids)
    seen = np.zeros(int(ids.max(initial=-1)) + 1, bool)
    seen[ids] = True
    return np.flatnonzero(seen).astype(np.int32)


def distinct_of_runs(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids, each once, ascending; for ids of any size, quick where equal ones stand together."""
    if len(ids) == 0:
        return ids
    first = np.concatenate(([True], ids[1:] != ids[:-1]))
    return np.unique(ids[first])


def distinct_of_many(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids, each once, ascending; quick where they lie close together, in whatever order."""
    if len(ids) == 0:
        return ids
    lowest, highest = int(ids.min()), int(ids.max())
    if highest - lowest >= _most_places(len(ids)):
        return distinct_of_runs(np.sort(ids))
    seen = np.zeros(highest - lowest + 1, bool)
    seen[ids - lowest] = True
    return np.flatnonzero(seen) + lowest


def counts_of(ids: Ints) -> Counts:
    """The ids that occur, ascending, and how often each does."""
    # The table is made anew for each call, and gone through: it may not be much larger than `ids`.
    if not _dense(ids, spare=0):
        once, often = np.unique_counts(ids)
        return once, often.astype(np.int64)
    times = np.bincount(ids)
    found = np.flatnonzero(times)
    return found.astype(np.int32), times[found].astype(np.int64)


def sums_of(parts: Sequence[Counts]) -> Counts:
    """The ids of (ids, counts), each once, ascending, and the sum of its counts."""
    ids = np.concatenate([np.empty(0, np.int32), *(part[0] for part in parts)])
    times = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    once = distinct(ids)
    sums = np.zeros(len(once), np.int64)
    np.add.at(sums, positions(once, ids), times)
    return once, sums


class Tally:
    """How often ids occur; holds at most about twice as many as are distinct, and `least`."""

    def __init__(self, *, least: int = 1 << 22) -> None:
        self._held: list[Counts] = []
        self._size, self._most, self._least = 0, least, least

    def add(self, counts: Counts) -> None:
        """Ids, each once, and how often each occurs."""
        self._held.append(counts)
        self._size += len(counts[0])
        if self._size > self._most:
            self._held = [self.sums()]
            self._size = len(self._held[0][0])
            self._most = 2 * self._size + self._least

    def sums(self) -> Counts:
        """Every id, ascending, and how often it occurs."""
        return sums_of(self._held)


def by_group(
    groups: Ints, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Places in the order of their groups; of one group as they came, of groups below 0 none.

    Args:
        groups: (n,) all below `count`.
        count: of groups.

    Returns:
        The groups that occur, ascending; the places; and where among these each group ends.
    """
    keys = groups + 1
    sizes = np.bincount(keys, minlength=count + 1)
    # Sorting 16 bits is counting them.
    order = np.argsort(keys.astype(np.uint16) if count < 1 << 16 else keys, kind="stable")
    found = np.flatnonzero(sizes[1:])
    return found, order[sizes[0] :], np.cumsum(sizes[1:])[found]


def numbers(
    wanted: NDArray[np.int64], ids: NDArray[np.int64], numbers: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The number of each of `wanted`; quick where equal ones stand together.

    Args:
        wanted: ids, in any order.
        ids: distinct, ascending.
        numbers: of `ids`.

    Raises:
        KeyError: if one of `wanted` is not among `ids`.
    """
    if len(wanted) == 0:
        return np.empty(0, np.int32)
    changes = wanted[1:] != wanted[:-1]
    if 2 * int(np.count_nonzero(changes)) < len(wanted):
        first = np.concatenate(([True], changes))
        found = _looked_up(wanted[first], ids, numbers)
        return np.repeat(found, np.diff(np.append(np.flatnonzero(first), len(wanted))))
    return _looked_up(wanted, ids, numbers)


def _looked_up(
    wanted: NDArray[np.int64], ids: NDArray[np.int64], numbers: NDArray[np.int32]
) -> NDArray[np.int32]:
    at = _places(wanted, ids)
    if not np.array_equal(ids[at], wanted):
        raise KeyError(f"ids without a number, {int(wanted[ids[at] != wanted][0])} for one")
    return numbers[at]


def _places(wanted: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` is in `ids`; anywhere in it if it is not there."""
    if len(ids) == 0:
        raise KeyError(f"ids without a number, {int(wanted[0])} for one")
    lowest, highest = int(ids[0]), int(ids[-1])
    if highest - lowest >= _most_places(len(wanted)):
        return np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    table = np.zeros(highest - lowest + 1, np.int32)
    table[ids - lowest] = np.arange(len(ids), dtype=np.int32)
    return table[np.clip(wanted, lowest, highest) - lowest].astype(np.int64)


def _most_places(count: int) -> int:
    """Places of a table that pays for `count` ids."""
    return 8 * count + (1 << 16)


def buckets(users: NDArray[np.int64], count: int) -> NDArray[np.uint16]:
    """A bucket from 0 to `count` - 1 for each user, by a hash: ids may have any pattern."""
    mixed = users.view(np.uint64) * GOLDEN
    mixed ^= mixed >> np.uint64(32)
    return (mixed % np.uint64(count)).astype(np.uint16)


def positions(ids: Ints, wanted: Ints) -> Ints:
    """Where each of `wanted` is in `ids` (distinct, ascending); -1 where it is not."""
    if _dense(ids) and _dense(wanted):
        return places(ids, highest=int(wanted.max(initial=-1)))[wanted]
    if not len(ids):
        return np.full(len(wanted), -1, np.int32)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1).astype(np.int32)


def table(ids: Ints) -> Ints | None:
    """`places`, or None where they would be too many for so few ids, or an id is negative."""
    return places(ids) if _dense(ids) else None


def places(ids: Ints, *, highest: int = -1) -> Ints:
    """Where each number is in `ids` (distinct, none negative), -1 where it is not.

    Up to the highest of them, or to `highest` if that is more.
    """
    found = np.full(max(int(ids.max(initial=-1)), highest) + 1, -1, np.int32)
    found[ids] = np.arange(len(ids), dtype=np.int32)
    return found


def _dense(ids: Ints, *, spare: int = 1 << 22) -> bool:
    """Whether a table indexed by id is a good idea; ids of ours are numbers from 0."""
    return len(ids) == 0 or (int(ids.min()) >= 0 and int(ids.max()) < 8 * len(ids) + spare)


__all__ = [
    "Counts",
    "Tally",
    "buckets",
    "by_group",
    "counts_of",
    "distinct",
    "distinct_of_many",
    "distinct_of_runs",
    "numbers",
    "places",
    "positions",
    "sums_of",
    "table",
]
