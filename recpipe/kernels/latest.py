"""The latest of several ratings of one (user, item), in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import boolean, int64, njit, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGS = types.Array(int64, 1, "C", readonly=True)


def latest(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    times: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Indices of one row a (user, item), in the order of user, then item.

    Of several rows of a pair it is the one with the greatest time; of several of those the one
    with the greatest position.
    """
    if ascending(users, items):
        return np.arange(len(users))
    order = np.lexsort((items, users))
    kept = np.empty(len(order), np.int64)
    return kept[: _latest(users, items, times, positions, order, kept)]


@njit(boolean(_LONGS, _LONGS), cache=True, nogil=True)
def ascending(users: NDArray[np.int64], items: NDArray[np.int64]) -> bool:
    """Whether rows are in the order of user, then item, each pair once."""
    for i in range(1, len(users)):
        if users[i] < users[i - 1] or (users[i] == users[i - 1] and items[i] <= items[i - 1]):
            return False
    return True


@njit(
    int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1]),
    cache=True,
    nogil=True,
)
def _latest(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    times: NDArray[np.int64],
    positions: NDArray[np.int64],
    order: NDArray[np.int64],
    kept: NDArray[np.int64],
) -> int:
    count = 0
    for at in range(len(order)):
        row = order[at]
        best = kept[count - 1] if count else -1
        if best < 0 or users[row] != users[best] or items[row] != items[best]:
            kept[count] = row
            count += 1
        elif times[row] > times[best] or (
            times[row] == times[best] and positions[row] > positions[best]
        ):
            kept[count - 1] = row
    return count
