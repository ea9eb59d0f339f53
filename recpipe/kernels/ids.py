"""Ids in arrays: each once, and in buckets. NumPy alone: who needs no more need not load Numba."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def buckets(users: NDArray[np.int64], count: int) -> NDArray[np.uint16]:
    """A bucket from 0 to `count` - 1 for each user, by a hash: ids may have any pattern."""
    mixed = users.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return (mixed % np.uint64(count)).astype(np.uint16)


def distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids, each once, ascending; quick where equal ones stand together."""
    if len(ids) == 0:
        return ids
    first = np.concatenate(([True], ids[1:] != ids[:-1]))
    return np.unique(ids[first])
