"""Kinds of users and items, and what evaluation tells of a model on each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from recpipe.evaluation import (
    SubgroupRow,
    Subgroups,
    groups_of_items,
    groups_of_users,
    ranking_metrics,
    rating_metrics,
)
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import ItemFacts, RankingMetric
from recpipe.evaluation.subgroups import USER_GROUPS, Groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

NOW = datetime(2020, 6, 1, tzinfo=UTC)
FEW, MANY = (USER_GROUPS.index(("activity", name)) for name in ("fewer than 10", "300 and more"))

Rated = tuple[int, int, float]


@pytest.fixture(scope="module")
def users(spark: SparkSession) -> DataFrame:
    """User 1 came yesterday; 2 is of a year ago and rates a lot."""
    rows = [(1, NOW - timedelta(days=1))] * 9
    rows += [(2, NOW - timedelta(days=400 - n)) for n in range(120)]
    return spark.createDataFrame(rows, "user int, rated_at timestamp").cache()


def named(groups: DataFrame) -> list[tuple[int, str, str]]:
    return sorted((row.user, *USER_GROUPS[row.item]) for row in groups.collect())


def test_users_are_told_apart_by_activity_and_age(users: DataFrame) -> None:
    assert named(groups_of_users(users, asked_at=NOW)) == [
        (1, "activity", "fewer than 10"),
        (1, "age", "under a week"),
        (2, "activity", "100 to 299"),
        (2, "age", "a year and more"),
    ]


def test_without_times_users_have_no_age(spark: SparkSession) -> None:
    train = spark.createDataFrame([(1, None)] * 300, "user int, rated_at timestamp")
    expected = [(1, "activity", "300 and more")]
    assert named(groups_of_users(train, asked_at=None)) == expected
    assert named(groups_of_users(train, asked_at=NOW)) == expected


def test_items_are_told_apart_by_their_share_of_ratings_and_by_genre() -> None:
    # 100 ratings: 40 and 15 make the first half, 15 + 12 the next 30 %.
    genres = np.zeros((7, 2), bool)
    genres[0] = True
    facts = ItemFacts(
        np.array([15, 40, 12, 15, 10, 8, 0]), 50, genres, genre_names=("Drama", "War")
    )

    groups = groups_of_items(facts, k=10)

    found = {
        f"{by}: {group}": set(np.flatnonzero(items).tolist())
        for (by, group), items in zip(groups.names, groups.items, strict=True)
    }
    assert found == {
        "popularity: half of all ratings": {1, 0},
        "popularity: the next 30 %": {3, 2},
        "popularity: the last 20 %": {4, 5},
        "popularity: not in train": {6},
        "genre: Drama": {0},
        "genre: War": {0},
    }


class Told:
    """What is told of models `a`, ... by groups of users and genres of items.

    Args:
        spark: the session.
        of_users: users and the places of their groups.
        genres: by name, the items; there are items 0 to 9.
        k: the places that count.
    """

    def __init__(
        self,
        spark: SparkSession,
        of_users: Iterable[tuple[int, int]],
        genres: Mapping[str, Sequence[int]],
        *,
        k: int,
    ) -> None:
        self._spark = spark
        self._users = spark.createDataFrame(list(of_users), "user int, item int")
        items = np.array([[item in of for item in range(10)] for of in genres.values()])
        self._groups = Groups(k, [("genre", name) for name in genres], items.reshape(-1, 10))

    def of_lists(
        self, lists: Mapping[str, Iterable[tuple[int, int, int]]], relevant: Iterable[Rated],
        *metrics: str,
    ) -> dict[tuple[str, str, str], SubgroupRow]:  # fmt: skip
        """Lists as (user, item, rank)."""
        rows: list[SubgroupRow] = []
        listed = {
            name: self._spark.createDataFrame(list(places), "user int, item int, rank int")
            for name, places in lists.items()
        }
        ranking_metrics(
            listed, self._held(relevant), ks=[1, self._groups.k], relevance_threshold=None,
            split="test", subgroups=Subgroups(self._users, self._groups, rows.extend),
            metrics=[m for m in METRICS.values()
                     if isinstance(m, RankingMetric) and m.name in metrics],
        )  # fmt: skip
        return {(row.model, row.group, row.metric): row for row in rows}

    def of_errors(
        self, predictions: Mapping[str, Iterable[Rated]], held_out: Iterable[Rated]
    ) -> dict[tuple[str, str, str], SubgroupRow]:
        """Ratings as (user, item, rating)."""
        rows: list[SubgroupRow] = []
        predicted = {
            name: self._spark.createDataFrame(list(pairs), "user int, item int, prediction float")
            for name, pairs in predictions.items()
        }
        asked = Subgroups(self._users, self._groups, rows.extend)
        rating_metrics(predicted, self._held(held_out), split="test", subgroups=asked)
        return {(row.model, row.group, row.metric): row for row in rows}

    def _held(self, rows: Iterable[Rated]) -> DataFrame:
        return self._spark.createDataFrame(list(rows), "user int, item int, rating float")


def test_what_lists_come_to_on_each_group(spark: SparkSession) -> None:
    """User 5 is not in train, user 6 has nothing relevant, and (2, 9) stands too low."""
    told = Told(spark, [(1, FEW), (2, FEW), (3, FEW), (4, MANY), (6, MANY)],
                {"Drama": [7], "War": [8, 9], "Western": [1]}, k=2)  # fmt: skip
    lists = [(1, 7, 1), (1, 9, 2), (2, 8, 1), (2, 0, 2), (2, 9, 3), (6, 8, 1)]
    relevant = [(u, i, 5.0) for u, i in [(1, 7), (1, 8), (2, 8), (2, 9), (3, 7), (4, 7), (5, 7)]]

    found = told.of_lists({"a": lists, "mute": []}, relevant, "recall")

    few = found["a", "fewer than 10", "recall@2"]
    assert (few.by, few.count, few.of, few.small) == ("activity", 3, "users", True)
    assert few.value == pytest.approx((0.5 + 0.5 + 0) / 3)
    many = found["a", "300 and more", "recall@2"]
    assert (many.value, many.ci_low, many.count) == (0.0, None, 1)
    war = found["a", "War", "pair_recall@2"]
    assert (war.by, war.count, war.of) == ("genre", 3, "pairs")
    assert war.value == pytest.approx(1 / 3)
    low, high = proportion_confint(1, 3, method="wilson")
    assert [war.ci_low, war.ci_high] == pytest.approx([low, high])
    assert found["a", "Drama", "pair_recall@2"].value == 1 / 4
    assert found["mute", "Drama", "pair_recall@2"].value == 0.0
    assert {group for _, group, _ in found} == {"fewer than 10", "300 and more", "Drama", "War"}
    assert {metric for _, _, metric in found} == {"recall@2", "pair_recall@2"}


def test_how_far_off_predictions_are_on_each_group(spark: SparkSession) -> None:
    """Model `silent` predicts nothing, and `b` not all that `a` does."""
    told = Told(spark, [(1, FEW), (4, MANY)], {"Drama": [7], "War": [8, 9]}, k=2)
    held_out = [(1, 7, 3.0), (1, 8, 3.0), (4, 8, 3.0), (5, 9, 3.0), (1, 9, 1.0)]
    predicted = [(1, 7, 3.5), (1, 8, 2.0), (4, 8, 5.0), (5, 9, 3.0)]

    found = told.of_errors({"a": predicted, "b": predicted[:1], "silent": []}, held_out)

    war = found["a", "War", "rmse"]
    assert (war.count, war.of) == (3, "pairs")
    assert war.value == pytest.approx(sqrt((1 + 4) / 3))
    assert found["a", "fewer than 10", "mae"].value == 0.75
    assert found["a", "300 and more", "rmse"].value == 2.0
    assert {group for model, group, _ in found if model == "b"} == {"fewer than 10", "Drama"}
    assert {model for model, _, _ in found} == {"a", "b"}


def test_pairs_of_one_user_are_no_independent_witnesses(spark: SparkSession) -> None:
    """100 users of five pairs each, all within the list of every other user and none else."""
    pairs = [(user, item) for user in range(100) for item in range(5)]
    told = Told(spark, [(0, FEW)], {"Drama": range(5)}, k=5)
    held_out = [(user, item, 1.0) for user, item in pairs]
    lists = [(user, item, item + 1) for user, item in pairs if user % 2]
    predicted = [(user, item, 2.0 + user % 2) for user, item in pairs]

    share = told.of_lists({"a": lists}, held_out)["a", "Drama", "pair_recall@5"]
    error = told.of_errors({"a": predicted}, held_out)["a", "Drama", "mae"]

    assert (share.value, share.count) == (0.5, 500)
    # By the sample's own spread they say as much as 99 independent pairs.
    low, high = proportion_confint(49.5, 99, method="wilson")
    assert [share.ci_low, share.ci_high] == pytest.approx([low, high])
    low, high = DescrStatsW([1.0, 2.0] * 50).tconfint_mean()
    assert [error.ci_low, error.ci_high] == pytest.approx([low, high])


def test_an_interval_stays_within_the_range_of_its_metric(spark: SparkSession) -> None:
    told = Told(spark, [(1, FEW), (2, FEW)], {}, k=2)
    found = told.of_lists({"a": [(2, 7, 1)]}, [(1, 7, 5.0), (2, 7, 5.0)], "recall")
    (row,) = found.values()
    assert (row.value, row.ci_low, row.ci_high) == (0.5, 0.0, 1.0)


def test_equal_values_have_an_interval_of_no_width(spark: SparkSession) -> None:
    """A third of the relevant items each, which no computer has to the last digit."""
    told = Told(spark, [(user, FEW) for user in range(40)], {}, k=2)
    relevant = [(user, item, 5.0) for user in range(40) for item in (1, 2, 3)]
    found = told.of_lists({"a": [(user, 1, 1) for user in range(40)]}, relevant, "recall")
    (row,) = found.values()
    assert row.value == pytest.approx(1 / 3)
    assert row.ci_low == row.ci_high == row.value


@pytest.mark.parametrize("partitions", [1, 7])
def test_pandas_comes_to_the_same_in_any_number_of_partitions(
    spark: SparkSession, partitions: int
) -> None:
    random = np.random.default_rng(5)
    users = 2_000
    pairs = pd.DataFrame({"user": np.repeat(np.arange(users), 4),
                          "item": np.argsort(random.random((users, 10)))[:, :4].ravel(),
                          "rank": np.tile([1, 2, 3, 4], users)})  # fmt: skip
    held_out = pairs.assign(item=random.permutation(pairs["item"]))
    held_out = held_out.drop_duplicates(["user", "item"])[["user", "item"]]
    held_out["rating"] = random.integers(1, 6, len(held_out)).astype(float)
    predicted = held_out[random.random(len(held_out)) < 0.7].assign(prediction=3.25)
    genres = {"Drama": [1, 2, 3], "War": [3, 4], "Western": []}
    told = Told(spark, [(user, FEW) for user in range(0, users, 3)], genres, k=2)
    before = spark.conf.get("spark.sql.shuffle.partitions")
    assert before is not None
    spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
    try:
        of_lists = told.of_lists(
            {"a": pairs.itertuples(index=False, name=None)},
            held_out.itertuples(index=False, name=None),
            "recall",
        )
        of_errors = told.of_errors(
            {"a": predicted[["user", "item", "prediction"]].itertuples(index=False, name=None)},
            held_out.itertuples(index=False, name=None),
        )
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)

    hits = held_out.merge(pairs[pairs["rank"] <= 2], "left").assign(hit=lambda x: x["rank"].notna())
    recall = hits[hits["user"] % 3 == 0].groupby("user")["hit"].mean()
    few = of_lists["a", "fewer than 10", "recall@2"]
    assert few.count == len(recall)
    assert few.value == pytest.approx(recall.mean(), abs=1e-11)
    assert [few.ci_low, few.ci_high] == pytest.approx(DescrStatsW(recall).tconfint_mean())
    errors = (predicted["prediction"] - predicted["rating"]).abs()
    for genre, items in list(genres.items())[:2]:
        share = of_lists["a", genre, "pair_recall@2"]
        mine = hits[hits["item"].isin(items)]["hit"]
        assert (share.count, share.value) == pytest.approx((len(mine), mine.mean()), abs=1e-11)
        mine = errors[predicted["item"].isin(items)]
        mae, rmse = (of_errors["a", genre, name] for name in ("mae", "rmse"))
        assert (mae.count, mae.value) == pytest.approx((len(mine), mine.mean()), abs=1e-11)
        assert rmse.value == pytest.approx(sqrt((mine**2).mean()), abs=1e-11)
    mine = errors[predicted["user"] % 3 == 0]
    assert of_errors["a", "fewer than 10", "mae"].value == pytest.approx(mine.mean(), abs=1e-11)
    assert {group for _, group, _ in of_lists} == {"fewer than 10", "Drama", "War"}


def test_of_users_alone_no_kind_of_item_is_told(users: DataFrame) -> None:
    groups = groups_of_items(ItemFacts(np.ones(3, np.int64), 2), k=1)
    asked = Subgroups(users, groups, print).without_items().groups
    assert {by for by, _, _ in asked.cells_of_lists([("recall", 1)])} == {"activity", "age"}
