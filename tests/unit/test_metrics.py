"""Every metric against its definition in plain Python, and what derives from their registry."""

from __future__ import annotations

import pkgutil
from math import isinf, log2, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recpipe.evaluation import DEFINITIONS, metrics
from recpipe.evaluation.metrics import METRICS, NAMES, RANKING, RATING, metric_at
from recpipe.evaluation.metrics.base import PairSums, RankedLists, RankingMetric
from recpipe.evaluation.settings import Evaluate

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import Metric

RANKING_NAMES = [metric.name for metric in RANKING]


def plain(name: str, hits: list[bool], relevant: int, k: int) -> float:
    """The definitions of docs/contracts.md, of one list."""
    at = [rank for rank, hit in enumerate(hits[:k], start=1) if hit]
    within = min(k, relevant)
    return {
        "precision": len(at) / k,
        "recall": len(at) / relevant,
        "ndcg": sum(1 / log2(r + 1) for r in at)
        / sum(1 / log2(r + 1) for r in range(1, within + 1)),
        "map": sum(n / r for n, r in enumerate(at, start=1)) / within,
        "mrr": 1 / at[0] if at else 0.0,
        "hit_rate": float(bool(at)),
    }[name]


_DEPTH = 7
_lists = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=_DEPTH, max_size=_DEPTH), st.integers(0, 9)),
    max_size=5,
)


@settings(deadline=None)
@given(_lists, st.sets(st.integers(1, _DEPTH), min_size=1))
@pytest.mark.parametrize("name", RANKING_NAMES)
def test_lists_agree_with_plain_python(
    name: str, lists: list[tuple[list[bool], int]], cuts: set[int]
) -> None:
    ks = np.array(sorted(cuts))
    hits = np.array([found for found, _ in lists], np.float64).reshape(-1, _DEPTH).T
    relevant = np.array([max(1, sum(found), more) for found, more in lists], np.int32)
    metric = METRICS[name]
    assert isinstance(metric, RankingMetric)
    values = metric.values(RankedLists(hits, relevant), ks)
    assert values.shape == (len(ks), len(lists))
    for user, (found, _) in enumerate(lists):
        expected = [plain(name, found, int(relevant[user]), int(k)) for k in ks]
        assert values[:, user].tolist() == pytest.approx(expected)
    lowest, highest = metric.range
    assert ((lowest <= values) & (values <= highest)).all()


def test_a_perfect_list_has_the_best_value_of_every_metric() -> None:
    lists = RankedLists(np.ones((3, 1)), np.array([3], np.int32))
    for metric in RANKING:
        assert metric.values(lists, np.array([3])).tolist() == [[metric.range[1]]]


def test_ratings_by_hand() -> None:
    ratings, predictions = np.array([4.0, 2.0]), np.array([[3.0, 2.0], [4.0, 5.0]])
    found = {}
    for metric in RATING:
        if metric.terms is None:
            found[metric.name] = [metric.of(PairSums(0.0, 2, 5))] * 2
        else:
            totals = metric.terms(ratings, predictions).sum(axis=1)
            found[metric.name] = [metric.of(PairSums(float(total), 2, 5)) for total in totals]
    assert found == {
        "rmse": [sqrt(1 / 2), sqrt(9 / 2)],
        "mae": [0.5, 1.5],
        "prediction_coverage": [0.4, 0.4],
    }


def test_an_error_over_no_pair_has_no_value_and_one_that_is_not_finite_is_refused() -> None:
    none = PairSums(0.0, 0, 5)
    assert [metric.of(none) for metric in RATING] == [None, None, 0.0]
    for metric in RATING:
        if metric.terms is not None:
            with pytest.raises(ValueError, match=metric.name):
                metric.of(PairSums(float("nan"), 2, 5))


@pytest.mark.parametrize("metric", METRICS.values(), ids=NAMES)
def test_a_metric_says_all_that_tables_and_documents_need(metric: Metric) -> None:
    assert metric.name in NAMES
    assert metric.label
    assert metric.source
    assert metric.definition.endswith(".")
    assert DEFINITIONS[metric.name] == metric.definition
    lowest, highest = metric.range
    assert lowest < highest
    # What errors are bounded by depends on the scale.
    assert metric.higher_is_better is not isinf(highest)


def test_every_file_of_a_metric_is_registered() -> None:
    files = {module.name for module in pkgutil.iter_modules(metrics.__path__)}
    assert files - {"base"} == set(NAMES)


def test_a_range_over_which_sums_are_not_exact_is_refused() -> None:
    with pytest.raises(ValueError, match="its range must lie within"):
        RankingMetric(
            name="huge", label="", definition="", source="", range=(0, 1e6),
            values=lambda lists, _: lists.hits,
        )  # fmt: skip


def test_what_a_model_is_chosen_by_is_read_from_the_registry() -> None:
    assert metric_at("ndcg@10") == (METRICS["ndcg"], 10)
    assert metric_at("rmse") == (METRICS["rmse"], None)
    assert [metric.name for metric in METRICS.values() if metric.selectable] == [
        name for name in NAMES if name != "prediction_coverage"
    ]
    assert [name for name in NAMES if METRICS[name].sign < 0] == ["rmse", "mae"]
    assert [name for name in NAMES if METRICS[name].on_common_pairs] == ["rmse", "mae"]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("auc", "no metric 'auc'; the metrics are rmse, mae"),
        ("ndcg", "ndcg needs the length of lists, as in ndcg@10"),
        ("ndcg@0", "as in ndcg@10"),
        ("ndcg@010", "as in ndcg@10"),
        ("ndcg@7", r"7 is not one of ks = \[5, 10, 20\]"),
        ("rmse@10", "rmse has no length of lists"),
        ("prediction_coverage", "models cannot be chosen by prediction_coverage, only by rmse"),
    ],
)
def test_a_wrong_criterion_is_refused_with_what_is_right(metric: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Evaluate(metric=metric)
