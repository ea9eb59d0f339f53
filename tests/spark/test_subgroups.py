"""Kinds of users and items, and what a model comes to on each, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from recpipe.evaluation import item_groups, subgroup_rows, user_groups
from recpipe.evaluation.metrics.base import ItemFacts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NOW = datetime(2020, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def users(spark: SparkSession) -> DataFrame:
    """User 1 came yesterday; 2 is of a year ago and rates a lot."""
    rows = [(1, NOW - timedelta(days=1))] * 9
    rows += [(2, NOW - timedelta(days=400 - n)) for n in range(120)]
    train = spark.createDataFrame(rows, "user int, rated_at timestamp")
    return user_groups(train, asked_at=NOW).cache()


def test_users_are_told_apart_by_activity_and_age(users: DataFrame) -> None:
    assert {tuple(row) for row in users.collect()} == {
        (1, "activity", "fewer than 10"),
        (1, "age", "under a week"),
        (2, "activity", "100 to 299"),
        (2, "age", "a year and more"),
    }


def test_without_times_users_have_no_age(spark: SparkSession) -> None:
    train = spark.createDataFrame([(1, None)] * 300, "user int, rated_at timestamp")
    assert [tuple(row) for row in user_groups(train, asked_at=None).collect()] == [
        (1, "activity", "300 and more")
    ]


def test_items_are_told_apart_by_their_share_of_ratings_and_by_genre(spark: SparkSession) -> None:
    # 100 ratings: 40 and 15 make the first half, 15 + 12 the next 30 %.
    facts = ItemFacts(np.array([15, 40, 12, 15, 10, 8, 0]), users=50)
    genres = spark.createDataFrame([(0, "Drama"), (0, "War")], "item int, genre string")

    rows = item_groups(spark, facts, genres).collect()

    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(f"{row.by}: {row.group}", set()).add(row.item)
    assert found == {
        "popularity: half of all ratings": {1, 0},
        "popularity: the next 30 %": {3, 2},
        "popularity: the last 20 %": {4, 5},
        "popularity: not in train": {6},
        "genre: Drama": {0},
        "genre: War": {0},
    }


def test_what_a_model_comes_to_on_each_group(spark: SparkSession) -> None:
    values = [(u, 0.1 * u) for u in range(1, 5)]
    user_metrics = spark.createDataFrame(
        [("a", user, 1, value) for user, value in values],
        "model string, user int, relevant int, `ndcg@2` double",
    )
    users = spark.createDataFrame(
        [(user, "activity", "few" if user < 4 else "many") for user, _ in values],
        "user int, by string, group string",
    )
    items = spark.createDataFrame(
        [(7, "genre", "Drama"), (8, "genre", "War"), (9, "genre", "War")],
        "item int, by string, group string",
    )
    lists = {
        "a": spark.createDataFrame(
            [(1, 7, 1), (1, 9, 2), (2, 8, 1), (2, 9, 3)], "user int, item int, rank int"
        )
    }
    relevant = spark.createDataFrame(
        [(1, 7), (1, 8), (2, 8), (2, 9)], "user int, item int"
    )  # (2, 9) stands too low
    errors = spark.createDataFrame(
        [("a", 1, 7, 0.5), ("a", 1, 8, -1.0), ("a", 4, 8, 2.0)],
        "model string, user int, item int, error double",
    )

    rows = subgroup_rows(
        user_metrics, lists, relevant, errors, users=users, items=items, k=2, split="test"
    )

    found = {(row.by, row.group, row.metric): row for row in rows}
    few = found["activity", "few", "ndcg@2"]
    assert (few.count, few.of, few.small) == (3, "users", True)
    assert few.value == pytest.approx(0.2)
    _, high = DescrStatsW([0.1, 0.2, 0.3]).tconfint_mean()
    assert [few.ci_low, few.ci_high] == pytest.approx([0, high])
    many = found["activity", "many", "ndcg@2"]
    assert (many.ci_low, many.count) == (None, 1)
    war = found["genre", "War", "pair_recall@2"]
    assert (war.count, war.of) == (3, "pairs")
    assert war.value == pytest.approx(1 / 3)
    low, high = proportion_confint(1, 3, method="wilson")
    assert [war.ci_low, war.ci_high] == pytest.approx([low, high])
    assert found["genre", "Drama", "pair_recall@2"].value == 1.0
    assert found["genre", "War", "rmse"].value == pytest.approx(sqrt((1 + 4) / 2))
    assert found["activity", "few", "mae"].value == 0.75
    assert found["activity", "many", "rmse"].value == 2.0


def test_pairs_of_one_user_are_no_independent_witnesses(spark: SparkSession) -> None:
    """100 users of five pairs each, all within the list of every other user and none else."""
    pairs = [(user, item) for user in range(100) for item in range(5)]
    relevant = spark.createDataFrame(pairs, "user int, item int")
    lists = spark.createDataFrame(
        [(user, item, item + 1) for user, item in pairs if user % 2], "user int, item int, rank int"
    )
    items = spark.createDataFrame(
        [(item, "genre", "Drama") for item in range(5)], "item int, by string, group string"
    )
    errors = spark.createDataFrame(
        [("a", user, item, 1.0 + user % 2) for user, item in pairs],
        "model string, user int, item int, error double",
    )
    nobody = spark.createDataFrame([], "user int, by string, group string")
    nothing = spark.createDataFrame([], "model string, user int, relevant int, `ndcg@5` double")

    rows = subgroup_rows(
        nothing, {"a": lists}, relevant, errors, users=nobody, items=items, k=5, split="test"
    )

    found = {row.metric: row for row in rows}
    share = found["pair_recall@5"]
    assert (share.value, share.count) == (0.5, 500)
    # By the sample's own spread they say as much as 99 independent pairs.
    low, high = proportion_confint(49.5, 99, method="wilson")
    assert [share.ci_low, share.ci_high] == pytest.approx([low, high])
    low, high = DescrStatsW([1.0, 2.0] * 50).tconfint_mean()
    assert [found["mae"].ci_low, found["mae"].ci_high] == pytest.approx([low, high])


def test_an_interval_stays_within_the_range_of_its_metric(spark: SparkSession) -> None:
    values = spark.createDataFrame(
        [("a", 1, 1, 0.0), ("a", 2, 1, 0.9)],
        "model string, user int, relevant int, `ndcg@5` double",
    )
    users = spark.createDataFrame(
        [(user, "activity", "few") for user in (1, 2)], "user int, by string, group string"
    )
    none = spark.createDataFrame([], "user int, item int")
    (row,) = subgroup_rows(values, {}, none, None, users=users, items=none, k=5, split="test")
    assert (row.ci_low, row.ci_high) == (0.0, 1.0)
