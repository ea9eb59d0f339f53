"""Items in runs: a user once, how many items follow, and the items of all users end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import int32, int64, njit, types, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Whether an array may be written to (NumPy's own) or not (Arrow's): one compilation.
_INTS = types.Array(int32, 1, "C", readonly=True)
_LONGS = types.Array(int64, 1, "C", readonly=True)
_NARROW = types.Array(uint16, 1, "C", readonly=True)

_PLAN = types.Tuple((int32[::1], int32[::1], int64[::1]))
_BY_ROW = types.Tuple((int64[::1], int32[::1]))


@njit(_PLAN(_LONGS, _INTS, int64), cache=True, nogil=True)
def plan(
    pairs: NDArray[np.int64], users: NDArray[np.int32], buckets: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Where the items of each user go, users being in the order of their buckets and numbers.

    Args:
        pairs: (n,) a user above 32 bits, and an item below (see `kernels.pairs`).
        users: all numbers from the lowest user of `pairs` to the highest.
        buckets: how many there are; a user's is its number modulo that.

    Returns:
        The users that have pairs, how many each, and (users,) where the items of each begin.
    """
    counts = np.zeros(len(users), np.int32)
    for pair in pairs:
        counts[(pair >> 32) - users[0]] += 1
    divisor = np.int32(buckets)
    # Where the runs and the items of each bucket begin.
    runs = np.zeros(buckets + 1, np.int64)
    items = np.zeros(buckets + 1, np.int64)
    for place in range(len(users)):
        if counts[place]:
            bucket = users[place] % divisor
            runs[bucket + 1] += 1
            items[bucket + 1] += counts[place]
    for b in range(buckets):
        runs[b + 1] += runs[b]
        items[b + 1] += items[b]
    found = np.empty(runs[buckets], np.int32)
    sizes = np.empty(runs[buckets], np.int32)
    begins = np.empty(len(users), np.int64)
    for place in range(len(users)):
        if counts[place]:
            b = users[place] % divisor
            found[runs[b]], sizes[runs[b]] = users[place], counts[place]
            begins[place] = items[b]
            runs[b] += 1
            items[b] += counts[place]
    return found, sizes, begins


@njit(
    [void(_LONGS, int64, int64[::1], kind[::1]) for kind in (uint16, int32)],
    cache=True,
    nogil=True,
)
def fill(
    pairs: NDArray[np.int64], least: int, begins: NDArray[np.int64], items: NDArray[Any]
) -> None:
    """Write the items of each user, in the order in which they come, from where they begin.

    Args:
        pairs: (n,) as for `plan`.
        least: the lowest user of `pairs`.
        begins: as `plan` gives it; afterwards where the items of each user end.
        items: (n,) filled.
    """
    for pair in pairs:
        place = (pair >> 32) - least
        items[begins[place]] = np.int32(pair)
        begins[place] += 1


@njit([_BY_ROW(_INTS, _INTS, kind, int64) for kind in (_NARROW, _INTS)], cache=True, nogil=True)
def by_row(
    rows: NDArray[np.int32], sizes: NDArray[np.int32], items: NDArray[Any], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Items gathered by row, those of a row in the order in which they came.

    Args:
        rows: (runs,) the row of each run, below `count`; a run with a negative one is left out.
        sizes: (runs,) how many items each has.
        items: of all runs, end to end.
        count: rows.

    Returns:
        (count + 1,) where each row begins, and the items of all rows.
    """
    offsets = np.zeros(count + 1, np.int64)
    for run in range(len(rows)):
        if rows[run] >= 0:
            offsets[rows[run] + 1] += sizes[run]
    for row in range(count):
        offsets[row + 1] += offsets[row]
    ends = offsets[:-1].copy()
    gathered = np.empty(offsets[count], np.int32)
    at = 0
    for run in range(len(rows)):
        row, size = rows[run], sizes[run]
        if row >= 0:
            for k in range(size):
                gathered[ends[row] + k] = items[at + k]
            ends[row] += size
        at += size
    return offsets, gathered


@njit(_BY_ROW(_LONGS, _INTS, _LONGS, _INTS), cache=True, nogil=True)
def allowed_or_taken(
    taken_from: NDArray[np.int64],
    taken: NDArray[np.int32],
    allowed_from: NDArray[np.int64],
    allowed: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Of a row with allowed items those that are not taken; of any other row what is taken.

    Args:
        taken_from: (rows + 1,) where in `taken` each row begins.
        taken: items of all rows.
        allowed_from: (rows + 1,) where in `allowed` each row begins.
        allowed: items of all rows.

    Returns:
        (rows + 1,) where each row begins, and the items of all rows, in their order.
    """
    rows = len(taken_from) - 1
    offsets = np.zeros(rows + 1, np.int64)
    found = np.empty(len(taken) + len(allowed), np.int32)
    at = 0
    for row in range(rows):
        own = taken[taken_from[row] : taken_from[row + 1]]
        if allowed_from[row] == allowed_from[row + 1]:
            for item in own:
                found[at] = item
                at += 1
        else:
            ascending = np.sort(own)
            for item in allowed[allowed_from[row] : allowed_from[row + 1]]:
                place = np.searchsorted(ascending, item)
                if place == len(ascending) or ascending[place] != item:
                    found[at] = item
                    at += 1
        offsets[row + 1] = at
    return offsets, found[:at].copy()


__all__ = ["allowed_or_taken", "by_row", "fill", "plan"]
