"""Ids counted, and counts added up, whatever the numbers look like."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recpipe.kernels.ids import Tally, by_group, counts_of, sums_of

CLOSE, FAR = st.integers(0, 40), st.integers(-(2**31), 2**31 - 1)
"""Ids for which a table is a good idea, and ids for which it is not."""

IDS = st.one_of(*(arrays(np.int32, st.integers(0, 50), elements=ids) for ids in (CLOSE, FAR)))


@given(ids=IDS)
def test_counts_are_those_of_each_id(ids: np.ndarray) -> None:
    found, times = counts_of(ids)
    assert found.dtype == np.int32
    assert times.dtype == np.int64
    assert list(zip(found.tolist(), times.tolist(), strict=True)) == sorted(
        Counter(ids.tolist()).items()
    )


@given(parts=st.lists(IDS, max_size=4))
def test_sums_of_counts_are_the_counts_of_all(parts: list[np.ndarray]) -> None:
    found, times = sums_of([counts_of(ids) for ids in parts])
    all_found, all_times = counts_of(np.concatenate([np.empty(0, np.int32), *parts]))
    np.testing.assert_array_equal(found, all_found, strict=True)
    np.testing.assert_array_equal(times, all_times, strict=True)


def test_sums_do_not_round() -> None:
    large = 2**53 + 1
    one = np.array([7], np.int32)
    _, times = sums_of([(one, np.array([large])), (one, np.array([1]))])
    assert times.tolist() == [large + 1]


@given(parts=st.lists(IDS, max_size=8), least=st.integers(0, 20))
def test_a_tally_that_is_summed_on_its_way_comes_to_the_same(
    parts: list[np.ndarray], least: int
) -> None:
    tally = Tally(least=least)
    for ids in parts:
        tally.add(counts_of(ids))
    found, times = tally.sums()
    all_found, all_times = counts_of(np.concatenate([np.empty(0, np.int32), *parts]))
    np.testing.assert_array_equal(found, all_found, strict=True)
    np.testing.assert_array_equal(times, all_times, strict=True)


@given(
    groups=arrays(np.int32, st.integers(0, 50), elements=st.integers(-1, 6)),
    count=st.sampled_from([7, 1 << 17]),
)
def test_groups_hold_their_places_in_the_order_of_these(groups: np.ndarray, count: int) -> None:
    found, order, ends = by_group(groups, count)
    expected = {g: np.flatnonzero(groups == g).tolist() for g in sorted({*groups.tolist()} - {-1})}
    starts = [0, *ends.tolist()]
    parts = [order[a:z].tolist() for a, z in pairwise(starts)]
    assert dict(zip(found.tolist(), parts, strict=True)) == expected
