"""Numbers that look random and depend on nothing but what they are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import float32, njit, uint64, void

from recpipe.kernels.best import INTS
from recpipe.kernels.splitmix import GOLDEN, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


_mix: Any = njit(uint64(uint64), cache=True, nogil=True)(mixed)


@njit(void(uint64, INTS, INTS, float32[:, ::1]), cache=True, nogil=True)
def _uniform(
    seed: np.uint64, rows: NDArray[np.int32], columns: NDArray[np.int32], found: NDArray[np.float32]
) -> None:
    start = _mix(seed + GOLDEN)
    for r in range(len(rows)):
        begun = _mix(start + GOLDEN * (np.uint64(rows[r]) + np.uint64(1)))
        for c in range(len(columns)):
            bits = _mix(begun + GOLDEN * (np.uint64(columns[c]) + np.uint64(1)))
            # 24 bits: all that float32 tells apart in [0, 1).
            found[r, c] = np.float32(bits >> np.uint64(40)) * np.float32(2.0**-24)


__all__ = ["uniform"]
