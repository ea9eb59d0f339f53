"""Numbers that look random and depend on nothing but what they are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import float32, njit, uint64, void

from recpipe.kernels.best import INTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP = 0x9E3779B97F4A7C15


def uniform(seed: int, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.float32]:
    """(rows, columns) uniform numbers in [0, 1), each from a seed, a row's and a column's number.

    Args:
        seed: any integer.
        rows: (n,) numbers.
        columns: (m,) numbers.
    """
    found = np.empty((len(rows), len(columns)), np.float32)
    _uniform(np.uint64(seed % 2**64), rows, columns, found)
    return found


@njit(uint64(uint64), cache=True, nogil=True)
def mix(x: np.uint64) -> np.uint64:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(void(uint64, INTS, INTS, float32[:, ::1]), cache=True, nogil=True)
def _uniform(
    seed: np.uint64, rows: NDArray[np.int32], columns: NDArray[np.int32], found: NDArray[np.float32]
) -> None:
    step = np.uint64(_STEP)
    start = mix(seed + step)
    for r in range(len(rows)):
        begun = mix(start + step * (np.uint64(rows[r]) + np.uint64(1)))
        for c in range(len(columns)):
            mixed = mix(begun + step * (np.uint64(columns[c]) + np.uint64(1)))
            # 24 bits: all that float32 tells apart in [0, 1).
            found[r, c] = np.float32(mixed >> np.uint64(40)) * np.float32(2.0**-24)


__all__ = ["mix", "uniform"]
