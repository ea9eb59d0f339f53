"""How much two lists have in common, held to the definition and to an independent sum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.backtest.stability import PERSISTENCE, extrapolated, overlaps

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
    assert overlaps([1], [2, 1], k=4).tolist() == [0, 1, 1, 1]
