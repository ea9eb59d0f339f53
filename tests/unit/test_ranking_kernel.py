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


def test_places_may_come_in_any_order() -> None:
    wanted = pairs((7, 30), (2, 10), (2, 11), (2, 11))
    listed = places((2, 11, 3), (7, 31, 1), (2, 12, 1), (2, 10, 2))
    found = kernel.find_hits(wanted, [listed], depth=4)
    assert found.users.tolist() == [2, 7]
    assert found.relevant.tolist() == [2, 1]
    assert found.hits[0].T.tolist() == [[False, True, True, False], [False] * 4]
    assert not found.faults.any()


def test_places_below_the_depth_do_not_count() -> None:
    found = kernel.find_hits(pairs((1, 5)), [places((1, 4, 1), (1, 5, 2))], depth=1)
    assert found.hits.tolist() == [[[False]]]
    assert not found.faults.any()


def test_lists_of_models_do_not_touch_each_other() -> None:
    wanted = pairs((1, 5), (2, 5))
    lists = [places((1, 5, 1)), places((2, 5, 1)), places()]
    found = kernel.find_hits(wanted, lists, depth=1)
    assert found.hits[:, 0].tolist() == [[True, False], [False, True], [False, False]]


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
    assert kernel.find_hits(pairs((1, 5)), [places(*found)], depth=5).faults.tolist() == [[fault]]
    # So are lists of users who do not count.
    assert kernel.find_hits(pairs(), [places(*found)], depth=5).faults.tolist() == [[fault]]


def test_items_may_be_any_integers() -> None:
    # All of them fall on few entries of the table.
    items = [(step << 20) % 2**31 for step in range(1, 400)]
    wanted = pairs(*[(0, item) for item in items])
    listed = places(*[(0, item, rank) for rank, item in enumerate(items, start=1)])
    found = kernel.find_hits(wanted, [listed], depth=399)
    assert found.relevant[0] == len(set(items))
    assert found.faults[0, 0] == (kernel.REPEATS if len(set(items)) < len(items) else 0)


def test_without_users_there_are_no_hits() -> None:
    assert kernel.find_hits(pairs(), [places()], depth=3).hits.shape == (1, 3, 0)


@settings(deadline=None)
@given(st.lists(st.floats(-1024, 1024), min_size=1))
def test_sums_are_exact_and_so_do_not_depend_on_the_order(values: list[float]) -> None:
    def mean(groups: list[list[float]]) -> float:
        sums = [kernel.totals(np.array(group)[None]) for group in groups if group]
        high, low = (sum(int(part[at][0]) for part in sums) for at in (0, 1))
        return kernel.mean(high, low, len(values))

    whole = mean([values])
    assert mean([values[::2], values[1::2]]) == whole
    exact = float(sum(map(Fraction, values)) / len(values))
    assert whole == pytest.approx(exact, rel=2.0**-50, abs=2.0**-51)
