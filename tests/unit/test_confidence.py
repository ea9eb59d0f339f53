"""Intervals and tests over users: calibrated, paired, and the same for groups as for users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.evaluation import MetricRow, differences, with_intervals
from recpipe.evaluation.confidence import bootstrapped, interval, seen_from, swapped
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import RatingMetric
from recpipe.evaluation.rows import Sample
from recpipe.kernels.groups import (
    EACH,
    GROUPS,
    GroupSums,
    added,
    aligned,
    by_group,
    groups_of,
    in_same_groups,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def mean(sums: Floats) -> Floats:
    found: Floats = sums[0] / sums[1]
    return found


def row(model: str, values: Sequence[float] | Floats, *, fold: int | None = None) -> MetricRow:
    """NDCG@10 of users 0, 1, 2 and so on, each a group of his own."""
    each = np.asarray(values, np.float64)
    sums = GroupSums(np.arange(len(each)), np.stack([each, np.ones(len(each))]))
    return MetricRow(
        model, "ndcg", 10, float(each.mean()), users=len(each), rows=len(each), split="test",
        fold=fold, sample=Sample(sums, mean),
    )  # fmt: skip


def population(seed: int) -> Floats:
    """Values as NDCG has them: most users 0, the others spread and skewed."""
    random = np.random.default_rng(seed)
    return random.beta(1, 3, 20_000) * (random.random(20_000) < 0.4)


@pytest.fixture(scope="module")
def trials() -> list[tuple[float, Floats, Floats]]:
    """1,000 times 300 users of one model, and 300 others of the same model."""
    truth = population(1)
    random = np.random.default_rng(2)
    return [
        (float(truth.mean()), random.choice(truth, 300), random.choice(truth, 300))
        for _ in range(1000)
    ]


def test_intervals_of_95_percent_hold_the_truth_93_to_97_times_in_100(
    trials: list[tuple[float, Floats, Floats]],
) -> None:
    held = 0
    for seed, (truth, values, _) in enumerate(trials):
        (drawn,) = bootstrapped([values[None]], seed=seed, draws=500)
        low, high = interval(drawn[0] / 300, 300)
        assert low is not None
        assert high is not None
        held += low <= truth <= high
    assert 930 <= held <= 970


def test_a_model_is_called_different_from_itself_5_times_in_100(
    trials: list[tuple[float, Floats, Floats]],
) -> None:
    by_interval = by_swaps = 0
    for seed, (_, one, other) in enumerate(trials):
        both = bootstrapped([one[None], other[None]], seed=seed, draws=500)
        low, high = interval((both[0][0] - both[1][0]) / 300, 300)
        assert low is not None
        assert high is not None
        by_interval += not low <= 0 <= high
        swaps = swapped({("a", None): one[None], ("b", None): other[None]}, seed=seed, draws=499)
        first, second = swaps.of(("a", None), ("b", None))
        met = np.count_nonzero(np.abs(first - second) >= abs(one.sum() - other.sum()) - 1e-9)
        by_swaps += int((1 + met) / 500 <= 0.05)
    assert 35 <= by_interval <= 65
    assert 35 <= by_swaps <= 65


def test_few_users_have_wide_intervals_that_still_hold() -> None:
    """Of 12 users the plain percentile bootstrap holds a mean some 90 times in 100."""
    random = np.random.default_rng(5)
    held = 0
    for seed in range(1000):
        values = random.normal(1.0, 0.3, 12)
        (drawn,) = bootstrapped([values[None]], seed=seed, draws=500)
        low, high = interval(drawn[0] / 12, 12)
        assert low is not None
        assert high is not None
        held += low <= 1.0 <= high
    assert 930 <= held <= 970


def test_groups_of_users_give_nearly_the_interval_of_users() -> None:
    values = np.random.default_rng(3).choice(population(1), 20_000)
    users = np.arange(20_000, dtype=np.int32)
    found = []
    for each in (True, False):
        groups = groups_of(users, each=each)
        sums = by_group(groups, np.stack([values, np.ones(len(values))]), each=each).sums
        (drawn,) = bootstrapped([sums], seed=1, draws=1000)
        low, high = interval(mean(drawn), sums.shape[-1])
        assert low is not None
        assert high is not None
        found.append(high - low)
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_what_users_have_in_common_does_not_hide_a_difference() -> None:
    """Users differ a lot and models a little, by the same for every user."""
    random = np.random.default_rng(4)
    hard = random.random(200)
    rows = [row("a", hard + 0.01), row("b", hard + random.normal(0, 0.01, 200))]

    (pair,) = differences(rows, metric="ndcg@10", split="test", seed=1)

    ends = [with_intervals(rows, seed=1)[0].ci_low, with_intervals(rows, seed=1)[1].ci_high]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] < ends[1]  # the intervals of the two overlap
    assert pair.excludes_zero
    assert pair.value == pytest.approx(0.01, abs=0.002)
    assert pair.p is not None
    assert pair.p < 0.01


def test_a_metric_that_is_better_when_lower_gives_a_lead_above_0() -> None:
    metric = METRICS["rmse"]
    assert isinstance(metric, RatingMetric)

    def rmse(model: str, squared: float) -> MetricRow:
        sums = np.stack([np.full(50, squared), np.ones(50)])
        sample = Sample(GroupSums(np.arange(50), sums), metric.value)
        return MetricRow(
            model, "rmse", None, squared**0.5, users=50, rows=50, split="test", sample=sample
        )

    (pair,) = differences([rmse("a", 0.81), rmse("b", 1.0)], metric="rmse", split="test", seed=1)

    assert pair.model == "a"
    assert pair.value == pytest.approx(0.1)
    assert pair.ci_low == pytest.approx(0.1)
    assert seen_from("b", [pair])["a"].value == pytest.approx(-0.1)


def test_p_is_corrected_for_all_pairs_and_never_falls_in_their_order() -> None:
    random = np.random.default_rng(6)
    rows = [row(name, random.random(60) + more) for name, more in zip("abcd", (0, 0.05, 0.1, 0.3),
                                                                     strict=True)]  # fmt: skip
    pairs = differences(rows, metric="ndcg@10", split="test", seed=1)

    assert len(pairs) == 6
    order = sorted(pairs, key=lambda pair: pair.p or 0)
    corrected = [pair.p_holm for pair in order]
    assert corrected == sorted(corrected, key=lambda p: p or 0)
    assert order[0].p_holm == pytest.approx(6 * (order[0].p or 0))
    assert order[-1].p_holm == pytest.approx(max(corrected[-2] or 0, order[-1].p or 0))


def test_of_105_pairs_a_clear_difference_can_still_be_shown() -> None:
    """2,000 swaps would leave every corrected p above 105 / 2001."""
    random = np.random.default_rng(7)
    rows = [row(f"model {place}", random.random(80) + place) for place in range(15)]

    pairs = differences(rows, metric="ndcg@10", split="test", seed=1)

    assert len(pairs) == 105
    assert all(pair.shown for pair in pairs)


def test_an_interval_may_leave_out_0_where_the_corrected_test_shows_nothing() -> None:
    """Of twenty models that are alike, two differ by chance as one pair alone would rarely do."""
    random = np.random.default_rng(9)
    rows = [row(f"model {place}", random.random(100)) for place in range(20)]

    pairs = differences(rows, metric="ndcg@10", split="test", seed=1)

    (first,) = [pair for pair in pairs if pair.p == min(p.p or 1 for p in pairs)][:1]
    assert first.excludes_zero
    assert not first.shown
    assert first.as_dict()["shown"] is False


def test_a_model_and_itself_have_no_difference() -> None:
    values = population(1)[:100]

    (pair,) = differences([row("a", values), row("b", values)], metric="ndcg@10", split="test",
                          seed=1)  # fmt: skip

    assert (pair.value, pair.ci_low, pair.ci_high, pair.p) == (0.0, 0.0, 0.0, 1.0)
    assert not pair.excludes_zero
    assert pair.as_dict()["shown"] is False


@pytest.mark.parametrize("users", [0, 1])
def test_of_one_user_or_none_nothing_is_sure(users: int) -> None:
    rows = [row(name, [0.5] * users) for name in "ab"] if users else []

    assert [(r.ci_low, r.ci_high) for r in with_intervals(rows, seed=1)] == [(None, None)] * len(
        rows
    )
    pairs = differences(rows, metric="ndcg@10", split="test", seed=1)
    assert [(pair.ci_low, pair.p, pair.excludes_zero) for pair in pairs] == [
        (None, None, False)
    ] * (len(rows) // 2)


def test_with_folds_a_user_is_drawn_with_all_of_them() -> None:
    """User 0 is the only one that differs: a fold alone would count him twice."""
    rows = [
        row(model, [value, *[0.5] * 9], fold=fold)
        for fold in (0, 1)
        for model, value in (("a", 1.0), ("b", 0.0))
    ]

    (pair,) = differences(rows, metric="ndcg@10", split="test", seed=1)
    (alone,) = differences(rows[:2], metric="ndcg@10", split="test", seed=1)

    assert pair.value == pytest.approx(0.1)
    assert (pair.ci_low, pair.ci_high) == (alone.ci_low, alone.ci_high)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-9, 9)), max_size=30), st.integers(1, 4))
def test_sums_of_groups_add_up_whatever_the_parts(users: list[tuple[int, int]], parts: int) -> None:
    found = [
        by_group(
            np.array([g for g, _ in some], np.int64), np.array([[v for _, v in some]], float),
            each=True,
        )
        for some in (users[at::parts] for at in range(parts))
    ]  # fmt: skip

    whole = added(found)

    expected = {group: sum(v for g, v in users if g == group) for group, _ in users}
    assert dict(zip(whole.groups.tolist(), whole.sums[0].tolist(), strict=True)) == expected


def of_users(users: Sequence[int] | range, *, each: bool) -> GroupSums:
    numbers = np.array(users, np.int32)
    values = np.stack([numbers.astype(float), np.ones(len(numbers))])
    return by_group(groups_of(numbers, each=each), values, each=each)


def test_sums_by_user_and_by_group_are_not_put_together() -> None:
    """User 1 is not the group of users 1, 1025, 2049 and so on, though both are number 1."""
    mixed = [of_users([1, 2], each=True), of_users([1, 2], each=False)]
    for together in (aligned, added):
        with pytest.raises(ValueError, match="cannot be put together"):
            together(mixed)


@pytest.mark.parametrize(
    ("folds", "by_user"),
    [
        ([range(EACH), range(EACH)], True),
        ([range(EACH), range(1, EACH + 1)], False),  # more users than either has
        ([range(10), range(EACH + 1)], False),
    ],
)
def test_all_folds_of_a_part_are_resampled_by_user_or_all_by_group(
    folds: list[range], *, by_user: bool
) -> None:
    parts = [of_users(users, each=len(users) <= EACH) for users in folds]

    moved = in_same_groups(parts)

    assert [part.each for part in moved] == [by_user] * len(folds)
    groups, sums = aligned(moved)
    assert len(groups) == (EACH if by_user else GROUPS)
    assert [part.sum(axis=-1).tolist() for part in sums] == [
        [sum(users), len(users)] for users in folds
    ]


def test_a_difference_over_folds_of_unlike_size_draws_a_user_with_all_folds() -> None:
    """The same lead for everybody: however users are drawn, the interval is that lead."""
    small, large = 10, EACH + 1

    def fold_of(model: str, lead: float, users: int, fold: int) -> MetricRow:
        sums = of_users(range(users), each=users <= EACH)
        values = np.stack([sums.sums[1] * (0.1 + lead), sums.sums[1]])
        return MetricRow(
            model, "ndcg", 10, 0.1 + lead, users=users, rows=users, split="test", fold=fold,
            sample=Sample(sums._replace(sums=values), mean),
        )  # fmt: skip

    rows = [
        fold_of(model, lead, users, fold)
        for model, lead in (("a", 0.05), ("b", 0.0))
        for fold, users in enumerate((small, large))
    ]
    # A draw may leave out every group of the ten users of the small fold; it has no value then.
    (pair,) = differences(rows, metric="ndcg@10", split="test", seed=1)

    assert [pair.ci_low, pair.ci_high] == pytest.approx([0.05, 0.05])
    assert len({row.ci_low is None for row in with_intervals(rows, seed=1)}) == 1
