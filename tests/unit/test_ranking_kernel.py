from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels import ranking as kernel


def pairs(*found: tuple[int, int]) -> np.ndarray:
    return np.array([(user << 32) + item for user, item in found], np.int64)


def places(*found: tuple[int, int, int]) -> kernel.Places:
    """(user, item, rank) each."""
    ranks = np.array([rank for _, _, rank in found], np.int32)
    return kernel.Places(pairs(*[(user, item) for user, item, _ in found]), ranks)


def test_places_may_come_in_any_order_and_cut_offs_too() -> None:
    wanted = pairs((7, 30), (2, 10), (2, 11), (2, 11))
    listed = places((2, 11, 3), (7, 31, 1), (2, 12, 1), (2, 10, 2))
    judged = kernel.judge(wanted, [listed], ks=[3, 1])
    assert judged.users.tolist() == [2, 7]
    assert judged.relevant.tolist() == [2, 1]
    assert judged.values[0, :, kernel.PRECISION].tolist() == [[2 / 3, 0.0], [0.0, 0.0]]
    assert judged.values[0, :, kernel.RECALL].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert judged.values[0, :, kernel.MRR].tolist() == [[1 / 2, 0.0], [0.0, 0.0]]
    assert not judged.faults.any()


def test_lists_of_models_do_not_touch_each_other() -> None:
    wanted = pairs((1, 5), (2, 5))
    judged = kernel.judge(wanted, [places((1, 5, 1)), places((2, 5, 1)), places()], ks=[1])
    assert judged.values[:, :, kernel.HIT_RATE, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([(1, 5, 1), (1, 5, 2)], kernel.REPEATS),
        ([(1, 9, 1), (1, 9, 2)], kernel.REPEATS),
        ([(1, 5, 2)], kernel.MISRANKED),
        ([(1, 5, 0)], kernel.MISRANKED),
        ([(1, 5, 1), (1, 6, 1)], kernel.MISRANKED),
        ([(1, 5, 1), (1, 5, 1)], kernel.REPEATS | kernel.MISRANKED),
        ([(1, 5, 2), (1, 6, 1)], 0),
    ],
)
def test_what_is_wrong_with_a_list(found: list[tuple[int, int, int]], fault: int) -> None:
    assert kernel.judge(pairs((1, 5)), [places(*found)], ks=[5]).faults.tolist() == [[fault]]
    # So are lists of users who do not count.
    assert kernel.judge(pairs(), [places(*found)], ks=[5]).faults.tolist() == [[fault]]


def test_items_may_be_any_integers() -> None:
    # All of them fall on few entries of the table.
    items = [(step << 20) % 2**31 for step in range(1, 400)]
    wanted = pairs(*[(0, item) for item in items])
    listed = places(*[(0, item, rank) for rank, item in enumerate(items, start=1)])
    judged = kernel.judge(wanted, [listed], ks=[399])
    assert judged.relevant[0] == len(set(items))
    assert judged.faults[0, 0] == (kernel.REPEATS if len(set(items)) < len(items) else 0)


def test_nobody_is_judged_without_a_word() -> None:
    judged = kernel.judge(pairs(), [places()], ks=[1])
    assert judged.values.shape == (1, 0, 6, 1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1))
def test_sums_are_exact_and_so_do_not_depend_on_the_order(values: list[float]) -> None:
    def mean(groups: list[list[float]]) -> float:
        sums = [kernel.totals(np.array(group)[:, None]) for group in groups if group]
        high, low = (sum(int(part[at][0]) for part in sums) for at in (0, 1))
        return kernel.mean(high, low, len(values))

    whole = mean([values])
    assert mean([values[::2], values[1::2]]) == whole
    assert whole == pytest.approx(float(sum(map(Fraction, values)) / len(values)), abs=2.0**-51)
