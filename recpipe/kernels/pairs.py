"""Pairs of a user and an item, each as one long: user * 2^32 + item.

A pair costs one column instead of two on its way from the JVM, and moves as one number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import int32, int64, njit, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Whether an array may be written to (NumPy's own) or not (Arrow's): one compilation.
_INTS = types.Array(int32, 1, "C", readonly=True)
_LONGS = types.Array(int64, 1, "C", readonly=True)
_BY_BUCKET = [
    types.Tuple((int64[::1], kind[::1], int64[::1]))(
        _LONGS, types.Array(kind, 1, "C", readonly=True), int64
    )
    for kind in (int32, int64)
]

NONE = np.empty(0, np.int32)
"""No values beside the pairs."""


@njit(_BY_BUCKET, cache=True, nogil=True)
def by_bucket(
    pairs: NDArray[np.int64], values: NDArray[Any], buckets: int
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Pairs by the bucket of their user (user modulo `buckets`), in one bucket as they came.

    Args:
        pairs: (n,).
        values: (n,) numbers of 4 or 8 bytes that go with the pairs, or `NONE`.
        buckets: how many there are.

    Returns:
        Pairs, their values, and (buckets + 1,) where each bucket begins.
    """
    bucket = np.empty(len(pairs), np.int32)
    starts = np.zeros(buckets + 1, np.int64)
    divisor = np.int32(buckets)
    for at in range(len(pairs)):
        bucket[at] = np.int32(pairs[at] >> 32) % divisor
        starts[bucket[at] + 1] += 1
    for b in range(buckets):
        starts[b + 1] += starts[b]
    places = starts[:-1].copy()
    moved = np.empty(len(pairs), np.int64)
    beside = np.empty(len(values), values.dtype)
    for at in range(len(pairs)):
        place = places[bucket[at]]
        places[bucket[at]] = place + 1
        moved[place] = pairs[at]
        if len(values):
            beside[place] = values[at]
    return moved, beside, starts


_BY_ROW = types.Tuple((int64[::1], int32[::1], int32[::1]))


@njit(_BY_ROW(_INTS, _LONGS, _INTS, int64), cache=True, nogil=True)
def by_row(
    rows: NDArray[np.int32], pairs: NDArray[np.int64], values: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Items gathered by row, those of a row in the order in which they came.

    Args:
        rows: (n,) the row of each pair, below `count`.
        pairs: (n,).
        values: (n,) numbers that go with the pairs, or `NONE`.
        count: rows.

    Returns:
        (count + 1,) where each row begins, the items of all rows, and their values.
    """
    offsets = np.zeros(count + 1, np.int64)
    for row in rows:
        offsets[row + 1] += 1
    for row in range(count):
        offsets[row + 1] += offsets[row]
    ends = offsets[:-1].copy()
    items = np.empty(len(pairs), np.int32)
    beside = np.empty(len(values), np.int32)
    for at in range(len(rows)):
        row = rows[at]
        items[ends[row]] = np.int32(pairs[at])
        if len(values):
            beside[ends[row]] = values[at]
        ends[row] += 1
    return offsets, items, beside


def users_of(pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """The user of each pair."""
    return (pairs >> 32).astype(np.int32)


__all__ = ["NONE", "by_bucket", "by_row", "users_of"]
