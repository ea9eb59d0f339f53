"""Every metric that an independent library has, on random inputs, to 1e-9.

Where a library defines a metric in another way, the way from its number to ours is written here and
said in docs/metrics.md.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, NamedTuple

import ir_measures
import numba
import numpy as np
import pytest
from scipy.stats import entropy
from sklearn import metrics as sklearn
from sklearn.metrics.pairwise import cosine_similarity

from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import (
    ExposureMetric,
    ItemFacts,
    RankedLists,
    RankingMetric,
    RatingMetric,
    UserErrors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Compiled, these functions take minutes; as they are written, milliseconds.
numba.config.DISABLE_JIT = True  # type: ignore[attr-defined]
from ranx import metrics as ranx  # noqa: E402

numba.config.DISABLE_JIT = False  # type: ignore[attr-defined]

USERS, ITEMS, DEPTH = 40, 60, 20
CLOSE = 1e-9


class Case(NamedTuple):
    """Lists of some users; every user has at least one relevant item and every list 20 places."""

    lists: list[list[int]]
    relevant: list[set[int]]
    facts: ItemFacts

    def ranked(self) -> RankedLists:
        items = np.array(self.lists, np.int32).T
        hits = np.array([
            [item in wanted for item in listed]
            for listed, wanted in zip(self.lists, self.relevant, strict=True)
        ], float).T  # fmt: skip
        sizes = np.array([len(wanted) for wanted in self.relevant], np.int32)
        return RankedLists(hits, sizes, items, self.facts)

    def values(self, name: str, k: int) -> np.ndarray:
        metric = METRICS[name]
        assert isinstance(metric, RankingMetric)
        found: np.ndarray = metric.values(self.ranked(), np.array([k]))[0]
        return found


@pytest.fixture(params=range(5))
def case(request: pytest.FixtureRequest) -> Case:
    random = np.random.default_rng(request.param)
    lists = [random.permutation(ITEMS)[:DEPTH].tolist() for _ in range(USERS)]
    relevant = [set(random.permutation(ITEMS)[: random.integers(1, 30)].tolist()) for _ in lists]
    facts = ItemFacts(
        random.integers(1, 50, ITEMS), 100, random.random((ITEMS, 6)) < 0.4,
        random.normal(size=(ITEMS, 8)).astype(np.float32),
    )  # fmt: skip
    return Case(lists, relevant, facts)


def _runs(case: Case) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """The judgements and the lists as retrieval libraries have them."""
    judged = {str(u): {str(i): 1 for i in sorted(r)} for u, r in enumerate(case.relevant)}
    found = {
        str(u): {str(i): float(DEPTH - rank) for rank, i in enumerate(listed)}
        for u, listed in enumerate(case.lists)
    }
    return judged, found


@pytest.mark.parametrize("k", [1, 5, 10, 20])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("precision", "P@{k}"),
        ("recall", "R@{k}"),
        ("ndcg", "nDCG@{k}"),
        ("mrr", "RR@{k}"),
        ("hit_rate", "Success@{k}"),
        ("map", "AP@{k}"),
    ],
)
def test_lists_as_ir_measures_has_them(case: Case, ours: str, theirs: str, k: int) -> None:
    judged, found = _runs(case)
    measure = ir_measures.parse_measure(theirs.format(k=k))
    values = {m.query_id: m.value for m in ir_measures.iter_calc([measure], judged, found)}
    expected = np.array([values[str(user)] for user in range(USERS)])
    if ours == "map":
        # Theirs is over all relevant items, also where k places cannot hold them.
        sizes = np.array([len(wanted) for wanted in case.relevant])
        expected = expected * sizes / np.minimum(sizes, k)
    assert np.abs(case.values(ours, k) - expected).max() < CLOSE


@pytest.mark.parametrize("k", [1, 5, 10, 20])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("precision", ranx.precision),
        ("recall", ranx.recall),
        ("ndcg", ranx.ndcg),
        ("mrr", ranx.reciprocal_rank),
        ("hit_rate", ranx.hit_rate),
        # Without a cut-off of its own: the list itself is cut.
        ("rbp", lambda judged, run, k: ranx.rank_biased_precision(judged, run[:, :k], 0.8)),
        ("r_precision", lambda judged, run, k: ranx.r_precision(judged, run[:, :k])),
    ],
)
def test_lists_as_ranx_has_them(
    case: Case, ours: str, theirs: Callable[..., np.ndarray], k: int
) -> None:
    # Pairs of an item and a number: its relevance, the highest first, and of lists anything.
    judged = np.zeros((USERS, ITEMS, 2))
    for user, wanted in enumerate(case.relevant):
        others = set(range(ITEMS)) - wanted
        judged[user, :, 0] = [*wanted, *others]
        judged[user, : len(wanted), 1] = 1
    run = np.stack([np.array(case.lists)] * 2, axis=-1).astype(float)
    assert np.abs(case.values(ours, k) - theirs(judged, run, k)).max() < CLOSE


@pytest.mark.parametrize("k", [1, 5, 20])
def test_auc_as_scikit_learn_has_it_where_what_is_not_listed_ties(case: Case, k: int) -> None:
    for user, value in enumerate(case.values("auc", k)):
        scores = np.zeros(ITEMS)
        scores[case.lists[user][:k]] = np.arange(k, 0, -1)
        relevant = [item in case.relevant[user] for item in range(ITEMS)]
        assert value == pytest.approx(sklearn.roc_auc_score(relevant, scores), abs=CLOSE)


@pytest.mark.parametrize("name", ["genre_diversity", "factor_diversity"])
@pytest.mark.parametrize("k", [2, 10, 20])
def test_diversity_as_scikit_learns_cosines_have_it(case: Case, name: str, k: int) -> None:
    vectors = case.facts.genres if name == "genre_diversity" else case.facts.vectors
    assert vectors is not None
    for user, value in enumerate(case.values(name, k)):
        some = np.array([v for v in vectors[case.lists[user][:k]] if v.any()], float)
        pairs = np.triu_indices(len(some), 1)
        expected = 1 - cosine_similarity(some)[pairs].mean() if len(some) > 1 else np.nan
        assert value == pytest.approx(expected, abs=CLOSE, nan_ok=True)


def test_entropy_as_scipy_has_it_and_gini_as_the_mean_difference(case: Case) -> None:
    shown = np.bincount(np.ravel([listed[:5] for listed in case.lists]), minlength=ITEMS)
    found = {
        name: metric.value(shown.astype(float))
        for name, metric in METRICS.items()
        if isinstance(metric, ExposureMetric)
    }
    assert found["entropy"] == pytest.approx(entropy(shown, base=2), abs=CLOSE)
    assert found["coverage"] == np.count_nonzero(shown) / ITEMS
    # Half of the relative mean absolute difference (Gini 1912).
    difference = np.abs(shown[:, None] - shown[None, :]).mean()
    assert found["gini"] == pytest.approx(difference / (2 * shown.mean()), abs=CLOSE)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("rmse", sklearn.root_mean_squared_error),
        ("mae", sklearn.mean_absolute_error),
        ("r2", sklearn.r2_score),
        ("explained_variance", sklearn.explained_variance_score),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_ratings_as_scikit_learn_has_them(
    name: str, theirs: Callable[[np.ndarray, np.ndarray], float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    users = np.sort(random.integers(0, USERS, 500))
    ratings = random.integers(1, 11, 500) / 2
    predictions = ratings + random.normal(0.2, 1, 500)

    def summed(terms: np.ndarray) -> np.ndarray:
        return np.bincount(users, terms, minlength=USERS)[None]

    error = predictions - ratings
    errors = UserErrors(
        summed(np.ones(500))[0], summed(np.ones(500)), summed(error), summed(abs(error)),
        summed(error**2), summed(ratings), summed(ratings**2),
    )  # fmt: skip
    metric = METRICS[name]
    assert isinstance(metric, RatingMetric)
    value = float(metric.value(np.array([np.sum(term) for term in metric.terms(errors)])))
    assert value == pytest.approx(theirs(ratings, predictions), abs=CLOSE)
    for macro, micro in (("macro_rmse", "rmse"), ("macro_mae", "mae")):
        if name == micro:
            metric = METRICS[macro]
            assert isinstance(metric, RatingMetric)
            value = float(metric.value(np.array([np.sum(term) for term in metric.terms(errors)])))
            each = [theirs(ratings[users == u], predictions[users == u]) for u in set(users)]
            assert value == pytest.approx(np.mean(each), abs=CLOSE)
            assert not isnan(value)
