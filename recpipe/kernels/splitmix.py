"""SplitMix64 (Steele, Lea and Flood 2014). Without Numba: not everybody need load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 by the golden ratio, odd: what a state grows by. A product with it is a hash by itself
(Knuth, volume 3, 6.4)."""


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits, each of which depends on each of `x`: neighbouring numbers become unlike.

    The number that follows a state is `mixed(state + GOLDEN)`. Kernels compile it for one number.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


__all__ = ["GOLDEN", "mixed"]
