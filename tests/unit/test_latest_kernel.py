"""The latest of several ratings of a pair, and what goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.ids import buckets, distinct_of_many, distinct_of_runs, numbers
from recpipe.kernels.latest import latest

if TYPE_CHECKING:
    from random import Random

ROWS = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2), st.integers(0, 2)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_latest_stays_and_of_ties_the_last(
    rows: list[tuple[int, int, int]], random: Random
) -> None:
    positions = list(range(len(rows)))
    random.shuffle(positions)
    columns = np.array(
        [(*row, place) for row, place in zip(rows, positions, strict=True)], np.int64
    )
    users, items, times, places = (np.ascontiguousarray(c) for c in columns.reshape(-1, 4).T)
    kept = latest(users, items, times, places)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for (user, item, time), place in zip(rows, positions, strict=True):
        best[user, item] = max(best.get((user, item), (-1, -1)), (time, place))
    found = [(int(users[i]), int(items[i]), int(times[i]), int(places[i])) for i in kept]
    assert found == [(*pair, *best[pair]) for pair in sorted(best)]


def test_ids_are_each_once_and_in_order() -> None:
    assert distinct_of_runs(np.array([5, 5, -1, 5, 2**40], np.int64)).tolist() == [-1, 5, 2**40]
    assert distinct_of_runs(np.array([], np.int64)).tolist() == []


def test_buckets_depend_on_the_id_alone_and_are_even() -> None:
    users = np.arange(0, 10_000_000, 1000, dtype=np.int64)
    found = buckets(users, 7)
    assert np.array_equal(buckets(users[::-1].copy(), 7), found[::-1])
    assert np.bincount(found, minlength=7).min() > 0.8 * len(users) / 7


IDS = st.one_of(st.integers(-9, 9), st.integers(-(2**62), 2**62))


@given(st.lists(IDS), st.booleans())
def test_ids_near_and_far_are_each_once_and_find_their_numbers(ids: list[int], runs: bool) -> None:
    given_ids = np.array(sorted(ids) if runs else ids, np.int64)
    found = distinct_of_many(given_ids)
    assert found.tolist() == sorted(set(ids))
    by_id = np.arange(len(found), dtype=np.int32)[::-1] * 7
    assert numbers(given_ids, found, by_id).tolist() == [
        7 * (len(found) - 1 - sorted(set(ids)).index(i)) for i in given_ids.tolist()
    ]


@pytest.mark.parametrize("wanted", [[1, 9], [3, 3, 3, 3, 4], [-1], [2**60, 1], [5]])
def test_an_id_without_a_number_is_an_error(wanted: list[int]) -> None:
    known = np.array([1, 3, 8], np.int64)
    for ids in (known, known[:0]):
        with pytest.raises(KeyError, match="ids without a number"):
            numbers(np.array(wanted, np.int64), ids, np.arange(len(ids), dtype=np.int32))
