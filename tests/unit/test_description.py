"""Bins, quantiles and curves of a description, without Spark."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpipe.describe.calendar import periods
from recpipe.describe.distributions import log_bins, popularity, spread_of, value_bins

counts = st.dictionaries(st.integers(1, 100_000), st.integers(1, 50), min_size=1, max_size=30)


def test_bins_of_a_log_scale_begin_at_1_2_5_10() -> None:
    bins = log_bins({1: 3, 4: 2, 5: 1, 9: 1, 10: 7, 19: 1})
    assert [(b.low, b.high, b.holds) for b in bins] == [
        (1, 2, 3), (2, 5, 2), (5, 10, 2), (10, 20, 8),
    ]  # fmt: skip
    assert [(b.low, b.high, b.holds) for b in log_bins({20: 5, 49: 1, 50: 2})] == [
        (20, 50, 6), (50, 100, 2),
    ]  # fmt: skip


@given(counts)
def test_every_number_is_in_one_bin(found: dict[int, int]) -> None:
    bins = log_bins(found)
    assert sum(b.holds for b in bins) == sum(found.values())
    assert all(a.high == b.low for a, b in pairwise(bins))
    for b in bins:
        assert b.holds == sum(n for value, n in found.items() if b.low <= value < b.high)


@given(counts)
def test_quartiles_and_mean_are_those_of_the_numbers(found: dict[int, int]) -> None:
    spread = spread_of(found)
    assert spread is not None
    values = np.repeat(list(found), list(found.values()))
    expected = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
    assert spread.quartiles == tuple(expected)
    assert spread.mean == pytest.approx(values.mean())
    assert (spread.lowest, spread.highest) == (values.min(), values.max())


@given(counts)
def test_the_curve_of_popularity_rises_from_nothing_to_all_and_bends_down(
    found: dict[int, int],
) -> None:
    points = popularity(found)
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in pairwise(points)]
    assert all(before >= after - 0.02 for before, after in pairwise(slopes))


def test_of_ten_items_the_first_has_half_of_the_ratings() -> None:
    assert dict(popularity({9: 1, 1: 9}))[0.1] == pytest.approx(0.5)


def test_few_ratings_have_a_bar_each_and_many_share_twenty() -> None:
    assert [(b.low, b.high, b.holds) for b in value_bins({0.5: 2, 5.0: 1})] == [
        (0.5, 0.5, 2), (5.0, 5.0, 1),
    ]  # fmt: skip
    many = {i / 10: 1 for i in range(-100, 101)}
    bins = value_bins(many)
    assert len(bins) == 20
    assert sum(b.holds for b in bins) == len(many)
    plays = value_bins({float(2**i): 1 for i in range(30)})
    assert plays[1].high / plays[1].low == pytest.approx(plays[5].high / plays[5].low)


@pytest.mark.parametrize(
    ("days", "unit"), [(1, "day"), (100, "day"), (300, "week"), (2000, "month"), (4000, "quarter"),
                       (20_000, "year")],
)  # fmt: skip
def test_the_unit_of_time_is_the_shortest_that_fits_a_picture(days: int, unit: str) -> None:
    first = date(1996, 3, 29)
    ratings = Counter({first + timedelta(days=i): 1 for i in range(0, days, 3)})
    ratings[first + timedelta(days=days - 1)] += 1
    found, bars = periods(ratings)
    assert found == unit
    assert len(bars) <= 120
    assert sum(bar.ratings for bar in bars) == ratings.total()
    gaps = [(b.begins - a.begins).days for a, b in pairwise(bars)]
    assert (
        not gaps
        or max(gaps) <= {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}[unit]
    )
