"""How much two lists have in common, held to the definition and to an independent sum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.backtest import Window
from recpipe.backtest.stability import PERSISTENCE, extrapolated, overlaps
from recpipe.storage.runs import RUN_ID

K = 8
lists = st.permutations(range(12)).map(lambda items: items[:K])


@given(lists, lists)
def test_overlaps_are_counted_at_every_depth(one: list[int], other: list[int]) -> None:
    expected = [len(set(one[:d]) & set(other[:d])) for d in range(1, K + 1)]
    assert overlaps(one, other, k=K).tolist() == expected


@given(lists, lists)
def test_rank_biased_overlap_is_that_of_lists_that_go_on_agreeing_as_they_end(
    one: list[int], other: list[int]
) -> None:
    """Webber et al. (2010), equation 30: the agreement at the end holds for all that follows."""
    agreement = [len(set(one[:d]) & set(other[:d])) / d for d in range(1, K + 1)]
    agreement += [agreement[-1]] * 1000
    p = PERSISTENCE
    expected = (1 - p) * sum(p ** (d - 1) * a for d, a in enumerate(agreement, start=1))
    assert extrapolated(overlaps(one, other, k=K)) == pytest.approx(expected, abs=1e-9)


def test_equal_lists_have_1_and_lists_without_a_common_item_0() -> None:
    assert extrapolated(overlaps([1, 2, 3], [1, 2, 3], k=3)) == pytest.approx(1)
    assert extrapolated(overlaps([1, 2, 3], [4, 5, 6], k=3)) == 0


def test_of_lists_shorter_than_k_what_is_there_counts() -> None:
    assert overlaps([1], [2, 1], k=4).tolist() == [0, 1]
    assert overlaps([1, 2, 3], [1, 2, 3], k=2).tolist() == [1, 2]


def test_equal_lists_that_are_shorter_than_k_are_equal() -> None:
    five = [1, 2, 3, 4, 5]
    shared = overlaps(five, five, k=10)
    assert shared.tolist() == five
    assert extrapolated(shared) == pytest.approx(1)


def test_cutoffs_within_one_second_have_names_of_their_own() -> None:
    second = datetime(2020, 1, 1, 12, tzinfo=UTC)
    starts = [second + timedelta(microseconds=n) for n in (0, 1, 500_000)]
    names = [Window(start, start).name for start in starts]
    assert names == ["2020-01-01T120000Z", "2020-01-01T120000.000001Z", "2020-01-01T120000.500000Z"]
    assert all(RUN_ID.fullmatch(name) for name in names)
