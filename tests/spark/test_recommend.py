from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from recpipe.contracts import RECOMMENDATIONS
from recpipe.models.baselines.popularity import Popularity
from recpipe.models.factors import FactorModel
from recpipe.recommend import recommend_all, to_output
from recpipe.spark.columns import factor_schema
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.spark.interactions import Mapped

POPULARITY = {10: 9.0, 11: 8.0, 12: 7.0, 13: 6.0, 14: 5.0, 15: 4.0}
INSTANT = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores(FactorModel):
    """The same scores for every user that it knows; it notes who is asked for, and when."""

    asked: list[int] = field(default_factory=list)
    instants: list[datetime | None] = field(default_factory=list)

    def recommend(self, users: DataFrame, **rest: Any) -> Mapped:
        self.asked.extend(row["user"] for row in users.collect())
        self.instants.append(rest["instant"])
        return super().recommend(users, **rest)


def model_of(
    spark: SparkSession, name: str, scores: Mapping[int, float], *, knows: Iterable[int] = ()
) -> Scores:
    """Knows everybody, or those that are named."""
    none: list[float] = []
    by_user = [(user, none, 0.0) for user in knows]
    by_item = [(item, none, score) for item, score in scores.items()]
    return Scores(
        name=name,
        refit_config=Popularity(),
        user_factors=spark.createDataFrame(by_user, factor_schema("user")) if by_user else None,
        item_factors=spark.createDataFrame(by_item, factor_schema("item")),
        rank=0,
        mean=0.0,
        users=len(by_user),
        items=len(by_item),
        predicts_ratings=False,
        unknown="skip" if by_user else "zero",
    )


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path)


def lists_of(
    spark: SparkSession,
    scratch: Folder,
    model: Scores,
    rated: list[tuple[int, int]],
    *,
    n: int,
    max_users: int | None = None,
) -> tuple[dict[int, list[tuple[int, int, str]]], Scores]:
    ratings = spark.createDataFrame(rated, "user int, item int")
    filler = model_of(spark, "popularity", POPULARITY)
    frame = recommend_all(
        model,
        lambda: filler,
        ratings=ratings,
        n=n,
        scratch=scratch,
        max_users=max_users,
        instant=INSTANT,
    )
    found: dict[int, list[tuple[int, int, str]]] = {}
    for row in frame.orderBy("user", "rank").collect():
        found.setdefault(row["user"], []).append((row["rank"], row["item"], row["source"]))
    return found, filler


def test_full_lists_are_the_models_own_and_the_filler_is_not_asked(
    spark: SparkSession, scratch: Folder
) -> None:
    model = model_of(spark, "sgd", {12: 3.0, 13: 2.0, 14: 1.0})

    found, filler = lists_of(spark, scratch, model, [(1, 12), (2, 10)], n=2)

    assert found == {
        1: [(1, 13, "sgd"), (2, 14, "sgd")],
        2: [(1, 12, "sgd"), (2, 13, "sgd")],
    }
    assert filler.asked == []


@pytest.mark.parametrize("max_users", [3, 4])
def test_full_lists_for_fewer_users_than_there_are_hide_no_short_one(
    spark: SparkSession, scratch: Folder, max_users: int
) -> None:
    # Two of three users have a full list; a fourth is known from an older source.
    model = model_of(spark, "sgd", {14: 3.0, 15: 2.0}, knows={1, 2})

    found, filler = lists_of(
        spark, scratch, model, [(1, 11), (2, 13), (3, 10)], n=2, max_users=max_users
    )

    assert {user: len(places) for user, places in found.items()} == {1: 2, 2: 2, 3: 2}
    assert filler.asked == [3]
    assert model.instants == filler.instants == [INSTANT]


def test_lists_for_every_user_there_can_be_are_not_looked_at_again(
    spark: SparkSession, scratch: Folder
) -> None:
    model = model_of(spark, "sgd", {14: 3.0, 15: 2.0})

    found, filler = lists_of(spark, scratch, model, [(1, 11), (2, 13)], n=2, max_users=2)

    assert {user: len(places) for user, places in found.items()} == {1: 2, 2: 2}
    assert filler.asked == []
    assert not scratch.has_table("short")


def test_cold_users_and_short_lists_are_filled_up_with_unseen_items_that_are_not_there_yet(
    spark: SparkSession, scratch: Folder
) -> None:
    # User 1 has a full list, user 2 one place short of three, user 3 is unknown to the model.
    model = model_of(spark, "sgd", {14: 3.0, 10: 2.0, 13: 1.0}, knows={1, 2})

    found, filler = lists_of(spark, scratch, model, [(1, 11), (2, 13), (2, 11), (3, 10)], n=3)

    assert found == {
        1: [(1, 14, "sgd"), (2, 10, "sgd"), (3, 13, "sgd")],
        # 10 is the most popular but already there, 11 is rated, so 12 it is.
        2: [(1, 14, "sgd"), (2, 10, "sgd"), (3, 12, "popularity")],
        3: [(1, 11, "popularity"), (2, 12, "popularity"), (3, 13, "popularity")],
    }
    assert sorted(filler.asked) == [2, 3]


def test_a_user_who_rated_nearly_everything_gets_what_is_left(
    spark: SparkSession, scratch: Folder
) -> None:
    model = model_of(spark, "sgd", {10: 3.0})

    found, _ = lists_of(spark, scratch, model, [(1, 11), (1, 12), (1, 13)], n=4)

    assert found == {1: [(1, 10, "sgd"), (2, 14, "popularity"), (3, 15, "popularity")]}


@pytest.mark.parametrize("ids", ["string", "bigint"])
def test_output_has_the_ids_of_the_source_and_the_columns_of_the_contract(
    spark: SparkSession, ids: str
) -> None:
    lists = spark.createDataFrame(
        [(0, 1, 5, 2.5, "sgd"), (0, 2, 6, 1.5, "popularity")],
        "user int, rank int, item int, score double, source string",
    )
    users = spark.createDataFrame([(900, 0)], "user_id int, user int")
    items = spark.createDataFrame([(50, 5), (60, 6)], "item_id int, item int")

    frame = to_output(
        lists,
        users=users.withColumn("user_id", F.col("user_id").cast(ids)),
        items=items.withColumn("item_id", F.col("item_id").cast(ids)),
        run_date=date(2026, 11, 21),
    )

    kind = str if ids == "string" else int
    schema = RECOMMENDATIONS.schema(ids=frame.schema["user_id"].dataType)
    expected = spark.createDataFrame(
        [
            (kind(900), 1, kind(50), 2.5, "sgd", date(2026, 11, 21)),
            (kind(900), 2, kind(60), 1.5, "popularity", date(2026, 11, 21)),
        ],
        schema,
    )
    assert_df_equality(
        RECOMMENDATIONS.check(frame), expected, ignore_nullable=True, ignore_row_order=True
    )
