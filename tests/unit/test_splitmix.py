from __future__ import annotations

import numpy as np

from recpipe.kernels.splitmix import GOLDEN, mixed


def test_the_numbers_are_those_of_the_published_generator() -> None:
    # The first of seed 0 and of seed 1234567, as Vigna's reference and Java's SplittableRandom.
    states = np.array([0, 1234567], np.uint64)
    assert mixed(states + GOLDEN).tolist() == [0xE220A8397B1DCDAF, 6457827717110365317]
    assert mixed(states + GOLDEN + GOLDEN).tolist() == [
        0x6E789E6AA1B965F4, 3203168211198807973,
    ]  # fmt: skip
