"""The latest of several ratings of a pair, and what goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.kernels.ids import buckets, distinct_of_runs
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
