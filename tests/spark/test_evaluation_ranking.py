from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpipe.errors import ContractError
from recpipe.evaluation import MetricRow, evaluated_users, exposure, ranking_metrics
from recpipe.evaluation.metrics import EXPOSURE, RANKING
from recpipe.evaluation.metrics.base import ItemFacts, RankedLists, RankingMetric
from recpipe.ranking.pairs import packed_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.evaluation.metrics.base import FloatArray, IntArray


CORE = [
    metric
    for metric in RANKING
    if metric.name in {"precision", "recall", "ndcg", "map", "mrr", "hit_rate"}
]
"""The metrics that are reckoned by hand here; tests/unit/test_metrics.py has the others."""


def top(spark: SparkSession, lists: Mapping[int, Sequence[int]]) -> DataFrame:
    rows = [(u, i, rank) for u, items in lists.items() for rank, i in enumerate(items, start=1)]
    return spark.createDataFrame(rows, "user int, item int, rank int")


def held(spark: SparkSession, rows: Sequence[tuple[int, int, float]]) -> DataFrame:
    return spark.createDataFrame(list(rows), "user int, item int, rating float")


def values(rows: list[MetricRow]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


def test_one_list_by_hand(spark: SparkSession) -> None:
    # Relevant: 11, 13, 19 (15 is rated too low). Hits at ranks 2 and 4.
    lists = {"sgd": top(spark, {1: [10, 11, 12, 13, 15]})}
    held_out = held(spark, [(1, 11, 4.0), (1, 13, 5.0), (1, 19, 4.5), (1, 15, 3.5)])

    rows = ranking_metrics(
        lists, held_out, ks=[3, 5], relevance_threshold=4.0, split="test", fold=1, metrics=CORE
    )

    assert values(rows) == pytest.approx(
        {
            "precision@3": 1 / 3,
            "precision@5": 2 / 5,
            "recall@3": 1 / 3,
            "recall@5": 2 / 3,
            "ndcg@3": (1 / log2(3)) / (1 + 1 / log2(3) + 1 / 2),
            "ndcg@5": (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / 2),
            "map@3": (1 / 2) / 3,
            "map@5": (1 / 2 + 2 / 4) / 3,
            "mrr@3": 1 / 2,
            "mrr@5": 1 / 2,
            "hit_rate@3": 1,
            "hit_rate@5": 1,
        }
    )
    assert {(r.model, r.users, r.rows, r.split, r.fold) for r in rows} == {("sgd", 1, 3, "test", 1)}
    assert [row.name for row in rows][:3] == ["precision@3", "precision@5", "recall@3"]


def test_who_counts(spark: SparkSession) -> None:
    lists = {
        "sgd": top(
            spark,
            {
                1: [10],  # one place, a hit: still divided by k
                2: [10, 11],  # no hit
                # 3 has relevant items and no list
                4: [10, 11],  # held out, but nothing relevant
                5: [10, 11],  # nothing held out
            },
        )
    }
    held_out = held(spark, [(1, 10, 5.0), (2, 12, 5.0), (3, 10, 4.0), (3, 11, 4.0), (4, 10, 3.5)])

    rows = ranking_metrics(
        lists, held_out, ks=[2], relevance_threshold=4.0, split="test", metrics=CORE
    )

    assert {(row.users, row.rows) for row in rows} == {(3, 4)}
    assert values(rows) == pytest.approx(
        {
            "precision@2": (1 / 2) / 3,
            "recall@2": 1 / 3,
            "ndcg@2": 1 / 3,
            "map@2": 1 / 3,
            "mrr@2": 1 / 3,
            "hit_rate@2": 1 / 3,
        }
    )


def test_ideal_lists_score_1_however_many_items_are_relevant(spark: SparkSession) -> None:
    lists = {"sgd": top(spark, {1: [10, 11, 12], 2: [10, 11, 12]})}
    many = [(1, item, 5.0) for item in range(10, 16)]
    held_out = held(spark, [*many, (2, 10, 5.0)])

    found = values(ranking_metrics(lists, held_out, ks=[3], relevance_threshold=4.0, split="test"))

    assert (found["ndcg@3"], found["map@3"]) == (1.0, 1.0)
    assert found["recall@3"] == pytest.approx((3 / 6 + 1) / 2)
    assert found["precision@3"] == pytest.approx((1 + 1 / 3) / 2)


def test_evaluated_users_are_those_with_something_relevant(spark: SparkSession) -> None:
    held_out = held(spark, [(1, 10, 5.0), (1, 11, 4.0), (2, 10, 3.5)])

    def users(threshold: float | None) -> list[int]:
        frame = evaluated_users(held_out, relevance_threshold=threshold)
        return sorted(row["user"] for row in frame.collect())

    assert (users(4.0), users(None)) == ([1], [1, 2])


def test_without_a_threshold_every_held_out_item_is_relevant(spark: SparkSession) -> None:
    lists = {"sgd": top(spark, {1: [10], 2: [11]})}
    held_out = held(spark, [(1, 10, 0.5), (2, 10, 1.0)])

    rows = ranking_metrics(lists, held_out, ks=[1], relevance_threshold=None, split="test")

    assert (values(rows)["hit_rate@1"], rows[0].users) == (0.5, 2)


def test_a_rating_equal_to_a_threshold_that_is_no_binary_fraction_is_relevant(
    spark: SparkSession,
) -> None:
    lists = {"sgd": top(spark, {1: [10]})}

    rows = ranking_metrics(
        lists, held(spark, [(1, 10, 3.3)]), ks=[1], relevance_threshold=3.3, split="test"
    )

    assert values(rows)["precision@1"] == 1.0


def test_models_are_evaluated_apart_and_one_without_any_list_scores_0(spark: SparkSession) -> None:
    lists = {"good": top(spark, {1: [10]}), "mute": top(spark, {}), "bad": top(spark, {1: [11]})}
    held_out = held(spark, [(1, 10, 5.0)])

    rows = ranking_metrics(lists, held_out, ks=[1], relevance_threshold=4.0, split="validation")

    ndcg = [(row.model, row.value, row.users) for row in rows if row.metric == "ndcg"]
    assert ndcg == [("good", 1.0, 1), ("mute", 0.0, 1), ("bad", 0.0, 1)]


def test_nothing_relevant_gives_no_row(spark: SparkSession) -> None:
    lists = {"sgd": top(spark, {1: [10]})}

    held_out = held(spark, [(1, 10, 2.0)])
    assert ranking_metrics(lists, held_out, ks=[1], relevance_threshold=4.0, split="test") == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1, 10, 1), (1, 10, 2)], "have an item more than once, such as that of user 1"),
        ([(1, 10, 1), (1, 11, 1)], "ranks other than 1, 2"),
        ([(1, 10, 1), (1, 11, 3)], "ranks other than 1, 2"),
        ([(1, 10, 0), (1, 11, 1)], "ranks other than 1, 2"),
        ([(1, 10, 1), (1, 11, None)], "ranks other than 1, 2"),
        # Four places whose ranks add up as 1 to 4 do; the user has nothing relevant.
        ([(7, 10, 1), (7, 11, 1), (7, 12, 4), (7, 13, 4)], "of user 7"),
    ],
)
def test_lists_that_are_none_are_refused(
    spark: SparkSession, rows: list[tuple[int, int, int]], says: str
) -> None:
    lists = {"sgd": spark.createDataFrame(rows, "user int, item int, rank int")}

    with pytest.raises(ContractError, match=f"model sgd: 1 lists on test .*{says}"):
        ranking_metrics(
            lists, held(spark, [(1, 10, 5.0)]), ks=[5], relevance_threshold=4.0, split="test"
        )


@pytest.mark.parametrize("ks", [[0, 5], [], [5, 5]])
def test_lengths_that_are_none_are_refused(spark: SparkSession, ks: list[int]) -> None:
    with pytest.raises(ValueError, match="from 1"):
        ranking_metrics(
            {"sgd": top(spark, {1: [10]})},
            held(spark, []),
            ks=ks,
            relevance_threshold=4.0,
            split="test",
        )


def _own(name: str, values: Callable[[RankedLists, IntArray], FloatArray]) -> RankingMetric:
    return RankingMetric(
        name=name, label=name, definition="", source="", range=(0, 1), values=values
    )


def test_a_metric_that_somebody_brings_is_evaluated_like_ours(spark: SparkSession) -> None:
    def r_precision(lists: RankedLists, ks: IntArray) -> FloatArray:
        """Hits within the first R places / R: the number of relevant items, at most k."""
        within = np.minimum(ks[:, None], lists.relevant)
        return np.take_along_axis(lists.hits_within, within - 1, axis=0) / within

    lists = {"sgd": top(spark, {1: [10, 11, 12], 2: [12, 10, 11]})}
    held_out = held(spark, [(1, 10, 5.0), (1, 12, 5.0), (2, 10, 5.0)])

    rows = ranking_metrics(
        lists,
        held_out,
        ks=[3, 1],
        relevance_threshold=4.0,
        split="test",
        metrics=[_own("r_precision", r_precision)],
    )

    assert [(row.name, row.value) for row in rows] == [
        ("r_precision@3", (1 / 2 + 0) / 2),
        ("r_precision@1", (1 + 0) / 2),
    ]


def test_a_value_outside_of_the_range_of_its_metric_is_a_fault(spark: SparkSession) -> None:
    broken = _own("broken", lambda lists, ks: lists.hits[ks - 1] / 0)
    with (
        np.errstate(all="ignore"),
        pytest.raises(Exception, match=r"metric broken: a value is not in \(0, 1\)"),
    ):
        ranking_metrics(
            {"sgd": top(spark, {1: [10]})},
            held(spark, [(1, 10, 5.0)]),
            ks=[1],
            relevance_threshold=4.0,
            split="test",
            metrics=[broken],
        )


def reference(items: Sequence[int], relevant: set[int], k: int) -> dict[str, float]:
    """The definitions of docs/contracts.md, one user at a time."""
    hits = [rank for rank, item in enumerate(items[:k], start=1) if item in relevant]
    within = min(k, len(relevant))
    return {
        f"precision@{k}": len(hits) / k,
        f"recall@{k}": len(hits) / len(relevant),
        f"ndcg@{k}": sum(1 / log2(r + 1) for r in hits)
        / sum(1 / log2(r + 1) for r in range(1, within + 1)),
        f"map@{k}": sum(n / r for n, r in enumerate(hits, start=1)) / within,
        f"mrr@{k}": 1 / hits[0] if hits else 0.0,
        f"hit_rate@{k}": float(bool(hits)),
    }


_items = st.integers(0, 12)
_lists = st.dictionaries(st.integers(1, 6), st.lists(_items, unique=True, max_size=8))
_held = st.dictionaries(st.tuples(st.integers(1, 6), _items), st.sampled_from([3.5, 4.0, 5.0]))


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_lists, _lists, _held)
def test_any_lists_agree_with_plain_python(
    spark: SparkSession,
    one: dict[int, list[int]],
    two: dict[int, list[int]],
    ratings: dict[tuple[int, int], float],
) -> None:
    ks = [1, 3, 5]
    lists = {"one": top(spark, one), "two": top(spark, two)}
    held_out = held(spark, [(user, item, rating) for (user, item), rating in ratings.items()])

    rows = ranking_metrics(
        lists, held_out, ks=ks, relevance_threshold=4.0, split="test", metrics=CORE
    )

    relevant: dict[int, set[int]] = {}
    for (user, item), rating in ratings.items():
        if rating >= 4.0:
            relevant.setdefault(user, set()).add(item)
    for model, mine in (("one", one), ("two", two)):
        found = values([row for row in rows if row.model == model])
        scores = [
            {name: value for k in ks for name, value in reference(mine.get(u, []), r, k).items()}
            for u, r in relevant.items()
        ]
        names = scores[0] if scores else {}
        assert found == pytest.approx({n: sum(s[n] for s in scores) / len(scores) for n in names})


def test_values_do_not_depend_on_partitions_to_the_bit(spark: SparkSession) -> None:
    def found(shuffled: int, read: int) -> list[MetricRow]:
        lists = {"sgd": top(spark, {u: [10, 11 + u % 3, 15] for u in range(50)}).repartition(read)}
        held_out = held(spark, [(u, 10 + u % 7, 5.0) for u in range(50)])
        before = spark.conf.get("spark.sql.shuffle.partitions")
        assert before is not None
        spark.conf.set("spark.sql.shuffle.partitions", str(shuffled))
        try:
            return ranking_metrics(
                lists, held_out, ks=[2, 3], relevance_threshold=4.0, split="test"
            )
        finally:
            spark.conf.set("spark.sql.shuffle.partitions", before)

    assert found(1, 1) == found(7, 3)


def test_how_often_items_are_shown_is_summed_over_all_lists_of_evaluated_users(
    spark: SparkSession,
) -> None:
    """Of four items of the catalogue three are shown; user 3 has nothing relevant."""
    lists = {"sgd": top(spark, {1: [0, 1], 2: [0, 2], 3: [3, 1]}), "mute": top(spark, {})}
    facts = ItemFacts(np.array([5, 3, 2, 1, 0]), users=5)

    rows = ranking_metrics(
        lists, held(spark, [(1, 0, 5.0), (2, 1, 5.0)]), ks=[1, 2], relevance_threshold=4.0,
        split="test", facts=facts, metrics=EXPOSURE,
    )  # fmt: skip

    found = {row.name: (row.value, row.users, row.rows) for row in rows}
    assert {row.model for row in rows} == {"sgd"}
    assert found["coverage@1"] == (1 / 4, 2, 2)
    assert found["coverage@2"] == (3 / 4, 2, 4)
    assert found["entropy@2"] == (1.5, 2, 4)
    assert all(row.sample is None for row in rows)


def test_what_was_left_out_of_the_lists_is_no_candidate(spark: SparkSession) -> None:
    """Of items 0 to 4 user 1 has seen 3 and 4, so that 0 stands behind 1 of 2 others."""
    seen = spark.createDataFrame([(1, 3), (1, 4), (2, 0), (9, 1)], "user int, item int")
    lists = {"sgd": top(spark, {1: [1, 0, 2]}), "mute": top(spark, {})}

    rows = ranking_metrics(
        lists, held(spark, [(1, 0, 5.0)]), ks=[3], relevance_threshold=4.0, split="test",
        facts=ItemFacts(np.ones(5, np.int64), users=9), seen=packed_pairs(seen),
        metrics=[metric for metric in RANKING if metric.name == "auc"],
    )  # fmt: skip

    assert [(row.model, row.value) for row in rows] == [("sgd", 0.5), ("mute", 0.5)]


def test_counts_of_shown_items_that_spark_adds_up_are_those_that_the_driver_adds_up(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users 0 to 59 in two buckets; two models; items far apart, some not in train."""
    items = [0, 7, 9_000, 20_000, 50_000]
    raters = np.zeros(30_000, np.int64)
    raters[items[:4]] = 1
    lists = {
        "many": top(spark, {user: [items[user % 5], items[(user + 1) % 5]] for user in range(60)}),
        "one": top(spark, {user: [7] for user in range(60)}),
    }
    held_out = held(spark, [(user, 7, 5.0) for user in range(60)])

    def found() -> list[MetricRow]:
        return ranking_metrics(
            lists, held_out, ks=[1, 2], relevance_threshold=4.0, split="test",
            facts=ItemFacts(raters, users=60), metrics=EXPOSURE,
        )  # fmt: skip

    by_driver = found()
    monkeypatch.setattr(exposure, "_DRIVER_BYTES", 0)
    assert found() == by_driver
    assert {row.model for row in by_driver} == {"many", "one"}


def test_the_values_of_each_user_are_handed_on_while_they_are_there(spark: SparkSession) -> None:
    lists = {"a": top(spark, {1: [10], 2: [11]}), "b": top(spark, {})}
    kept: list[tuple[object, ...]] = []

    ranking_metrics(
        lists, held(spark, [(1, 10, 5.0), (2, 10, 4.0), (2, 12, 4.0)]), ks=[1],
        relevance_threshold=4.0, split="test",
        metrics=[metric for metric in RANKING if metric.name in {"recall", "novelty"}],
        facts=ItemFacts(np.full(20, 4), users=8),
        keep=lambda frame: kept.extend(
            tuple(row) for row in frame.select(
                "model", "user", "relevant", "`recall@1`", "`novelty@1`"
            ).collect()
        ),
    )  # fmt: skip

    assert sorted(kept, key=str) == [
        ("a", 1, 1, 1.0, 1.0),
        ("a", 2, 2, 0.0, 1.0),
        # A user without a list scores 0, and has no place to average over.
        ("b", 1, 1, 0.0, None),
        ("b", 2, 2, 0.0, None),
    ]
