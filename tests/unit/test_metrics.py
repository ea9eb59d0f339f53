"""Every metric against its definition in plain Python, and what derives from their registry."""

from __future__ import annotations

import pkgutil
import tracemalloc
from itertools import combinations
from math import isinf, isnan, log2, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recpipe.evaluation import DEFINITIONS, metrics
from recpipe.evaluation.metrics import EXPOSURE, METRICS, NAMES, RANKING, RATING, metric_at
from recpipe.evaluation.metrics.base import (
    ItemFacts,
    RankedLists,
    RankingMetric,
    RatingMetric,
    UserErrors,
)
from recpipe.evaluation.settings import Evaluate

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import Metric

RANKING_NAMES = [metric.name for metric in RANKING if metric.name != "auc"]
"""AUC asks what the lists could hold as well: tests/unit/test_measuring.py has it."""
ITEMS = 12
"""Items of `FACTS`; the last is not known to train."""


def facts() -> ItemFacts:
    raters = np.array([*[9, 9, 5, 3, 3, 2, 1, 1, 1, 1, 1], 0])
    random = np.random.default_rng(8)
    genres = random.random((ITEMS, 4)) < 0.5
    genres[5] = False
    vectors = random.normal(size=(ITEMS, 3)).astype(np.float32)
    vectors[-1] = 0
    return ItemFacts(raters, 10, genres, vectors)


FACTS = facts()


def cosines(vectors: np.ndarray | None, items: list[int]) -> list[float]:
    """Of all pairs of items that have a vector, the cosine."""
    assert vectors is not None
    some = [v.astype(float) for v in vectors[items] if v.any()]
    return [float(a @ b) / sqrt(float(a @ a) * float(b @ b)) for a, b in combinations(some, 2)]


def average(values: list[float]) -> float:
    """NaN where there are none: the user does not count."""
    return sum(values) / len(values) if values else nan


def plain(name: str, items: list[int], hits: list[bool], relevant: int, k: int) -> float:
    """The definitions of the metrics' files, of one list.

    Args:
        name: of the metric.
        items: of the list, in their order.
        hits: whether each is relevant.
        relevant: how many items are.
        k: the places that count.
    """
    items, hits = items[:k], hits[:k]
    raters, users = FACTS.raters.tolist(), FACTS.users
    at = [rank for rank, hit in enumerate(hits, start=1) if hit]
    # Ten of the head's items have 80 % of 36 ratings: 9 + 9 + 5 + 3 + 3 = 29.
    head = {0, 1, 2, 3, 4}
    beyond = {
        "serendipity": lambda: sum(h and i not in range(k) for i, h in zip(items, hits,
                                                                         strict=True)) / k,
        "novelty": lambda: average([-log2(max(1, raters[i]) / users) for i in items]),
        "average_popularity": lambda: average([raters[i] / users for i in items]),
        "long_tail": lambda: average([i not in head for i in items]),
        "genre_diversity": lambda: average([1 - c for c in cosines(FACTS.genres, items)]),
        "factor_diversity": lambda: average([1 - c for c in cosines(FACTS.vectors, items)]),
        "users_served": lambda: float(bool(items)),
        "cold_items": lambda: average([raters[i] == 0 for i in items]),
    }  # fmt: skip
    if name in beyond:
        return beyond[name]()
    within = min(k, relevant)
    return {
        "precision": len(at) / k,
        "recall": len(at) / relevant,
        "ndcg": sum(1 / log2(r + 1) for r in at)
        / sum(1 / log2(r + 1) for r in range(1, within + 1)),
        "map": sum(n / r for n, r in enumerate(at, start=1)) / within,
        "mrr": 1 / at[0] if at else 0.0,
        "hit_rate": float(bool(at)),
        "r_precision": sum(r <= relevant for r in at) / relevant,
        "rbp": 0.2 * sum(0.8 ** (r - 1) for r in at),
    }[name]


_DEPTH = 7
_list = st.lists(
    st.tuples(st.integers(0, ITEMS - 1), st.booleans()), max_size=_DEPTH, unique_by=lambda p: p[0]
)
_lists = st.lists(st.tuples(_list, st.integers(0, 9)), max_size=5)


@settings(deadline=None)
@given(_lists, st.sets(st.integers(1, _DEPTH), min_size=1))
# Two items without a genre in common, whose diversity rounds to a little more than 1.
@example([([(0, False), (7, False)], 0)], {1, 2})
@pytest.mark.parametrize("name", RANKING_NAMES)
def test_lists_agree_with_plain_python(
    name: str, lists: list[tuple[list[tuple[int, bool]], int]], cuts: set[int]
) -> None:
    ks = np.array(sorted(cuts))
    hits = np.zeros((_DEPTH, len(lists)))
    items = np.full((_DEPTH, len(lists)), -1, np.int32)
    for user, (found, _) in enumerate(lists):
        for place, (item, hit) in enumerate(found):
            hits[place, user], items[place, user] = hit, item
    relevant = np.maximum(hits.sum(axis=0), [max(1, more) for _, more in lists]).astype(np.int32)
    metric = METRICS[name]
    assert isinstance(metric, RankingMetric)
    values = metric.values(RankedLists(hits, relevant, items, FACTS), ks)
    assert values.shape == (len(ks), len(lists))
    for user, (found, _) in enumerate(lists):
        mine = [item for item, _ in found], [hit for _, hit in found]
        expected = [plain(name, *mine, int(relevant[user]), int(k)) for k in ks]
        assert values[:, user].tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)
    lowest, highest = metric.range
    assert ((lowest <= values) & (values <= highest) | np.isnan(values)).all()


def test_a_perfect_list_has_the_best_value_of_every_metric_of_accuracy() -> None:
    items = np.array([[2], [3], [4]], np.int32)
    lists = RankedLists(np.ones((3, 1)), np.array([3], np.int32), items, FACTS)
    for metric in RANKING:
        if not metric.beyond_accuracy:
            best = 1 - 0.8**3 if metric.name == "rbp" else metric.range[1]
            assert metric.values(lists, np.array([3])).tolist() == [[pytest.approx(best)]]


@pytest.mark.parametrize(
    ("shown", "coverage", "gini", "entropy"),
    [
        ([3, 3, 3, 3], 1, 0, 2),  # even
        ([8, 0, 0, 0], 1 / 4, 3 / 4, 0),  # all places to one of four
        ([1, 0, 2, 1], 3 / 4, (-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / 4 / 4, 1.5),
    ],
)
def test_exposure_by_hand(shown: list[int], coverage: float, gini: float, entropy: float) -> None:
    found = {metric.name: metric.value(np.array(shown, float)) for metric in EXPOSURE}
    assert found == pytest.approx({"coverage": coverage, "gini": gini, "entropy": entropy})


def test_facts_know_the_head_and_the_catalogue() -> None:
    assert FACTS.catalogue == 11
    assert FACTS.most_rated_first.tolist() == list(range(11))
    assert np.flatnonzero(~FACTS.tail).tolist() == [0, 1, 2, 3, 4]
    assert FACTS.known == {"raters", "genres", "vectors"}
    assert ItemFacts(FACTS.raters, 10).known == {"raters"}


@pytest.mark.parametrize("name", ["genre_diversity", "factor_diversity"])
def test_diversity_reads_the_vectors_of_listed_items_alone(name: str) -> None:
    """A second look at the facts copies as much as the lists hold, not as the catalogue does."""
    items, width = 200_000, 50
    vectors = np.zeros((items, width), np.float32)
    vectors[:, 0] = 1
    known = ItemFacts(np.ones(items, np.int64), 10, vectors > 0, vectors)
    lists = RankedLists(
        np.zeros((2, 1)), np.array([1], np.int32), np.array([[0], [items - 1]], np.int32), known
    )
    metric = METRICS[name]
    assert isinstance(metric, RankingMetric)
    metric.values(lists, np.array([2]))

    tracemalloc.start()
    found = metric.values(lists, np.array([2]))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.tolist() == [[pytest.approx(0)]]
    assert most < 100_000


def test_a_metric_that_has_not_said_what_it_needs_is_a_fault() -> None:
    lists = RankedLists(np.ones((1, 1)), np.array([1], np.int32), np.zeros((1, 1), np.int32))
    for metric in RANKING:
        if metric.needs:
            with pytest.raises(ValueError, match="without facts"):
                metric.values(lists, np.array([1]))


def errors_of(ratings: list[list[float]], predictions: list[list[float]], pairs: int) -> UserErrors:
    """One model's errors over the predicted pairs of each user, of whom the first has others."""
    rated = [np.array(each) for each in ratings]
    errors = [np.array(p) - r for p, r in zip(predictions, rated, strict=True)]
    terms = [
        [len(e) for e in errors], [e.sum() for e in errors], [abs(e).sum() for e in errors],
        [(e * e).sum() for e in errors], [r.sum() for r in rated], [(r * r).sum() for r in rated],
    ]  # fmt: skip
    others = pairs - sum(map(len, ratings))
    held = [len(r) + others * (user == 0) for user, r in enumerate(ratings)]
    return UserErrors(np.array(held, float), *(np.array([term], float) for term in terms))


def total(name: str, errors: UserErrors) -> float:
    metric = METRICS[name]
    assert isinstance(metric, RatingMetric)
    shape = errors.predicted.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = [np.broadcast_to(term, shape).sum() for term in metric.terms(errors)]
        return float(metric.value(np.array(sums)))


def test_ratings_by_hand() -> None:
    errors = errors_of([[4.0, 2.0], [5.0]], [[3.0, 2.0], [3.0]], pairs=5)
    found = {name: total(name, errors) for name in ("rmse", "mae", "prediction_coverage")}
    assert found == {"rmse": sqrt(5 / 3), "mae": 1.0, "prediction_coverage": 0.6}
    # User 1 has errors -1 and 0, user 2 has -2: each user counts once.
    assert total("macro_rmse", errors) == pytest.approx((sqrt(1 / 2) + 2) / 2)
    assert total("macro_mae", errors) == (1 / 2 + 2) / 2
    spread = (4 - 11 / 3) ** 2 + (2 - 11 / 3) ** 2 + (5 - 11 / 3) ** 2
    assert total("r2", errors) == pytest.approx(1 - 5 / spread)
    # The errors lie around -1: -0, 1 and -1.
    assert total("explained_variance", errors) == pytest.approx(1 - 2 / spread)


@pytest.mark.parametrize("name", ["r2", "explained_variance"])
def test_of_equal_ratings_no_share_of_their_variance_is_explained(name: str) -> None:
    third = float(np.float32(3.3))
    assert isnan(total(name, errors_of([[third] * 7], [[3.0] * 7], pairs=7)))


def test_an_error_over_no_pair_has_no_value() -> None:
    none = errors_of([[]], [[]], pairs=5)
    found = {metric.name: total(metric.name, none) for metric in RATING}
    assert found.pop("prediction_coverage") == 0
    assert all(isnan(value) for value in found.values())


@pytest.mark.parametrize("metric", METRICS.values(), ids=NAMES)
def test_a_metric_says_all_that_tables_and_documents_need(metric: Metric) -> None:
    assert metric.name in NAMES
    assert metric.label
    assert metric.source
    assert metric.definition.endswith(".")
    assert DEFINITIONS[metric.name] == metric.definition
    lowest, highest = metric.range
    assert lowest < highest
    # How large an error can be depends on the scale.
    errors = isinstance(metric, RatingMetric) and isinf(highest)
    assert metric.higher_is_better is not (errors or metric.name in {"gini", "average_popularity"})


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
    assert [metric.name for metric in METRICS.values() if not metric.selectable] == [
        "prediction_coverage",
        *(metric.name for metric in METRICS.values() if metric.beyond_accuracy),
    ]
    assert [name for name in NAMES if METRICS[name].on_common_pairs] == [
        metric.name for metric in RATING if metric.name != "prediction_coverage"
    ]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("ndgc", "no metric 'ndgc'; the metrics are rmse, mae"),
        ("gini@10", "models cannot be chosen by gini, only by rmse"),
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
