from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import DataType, LongType, StringType

from recpipe.contracts import MOVIES, RATINGS, RECOMMENDATIONS
from recpipe.errors import UsageError
from recpipe.publish import (
    Profile,
    Rated,
    Recommended,
    export,
    lookup,
    point_to,
    profiles,
    typical_users,
)
from recpipe.storage import Folder, Tables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

DAY = date(2026, 11, 21)


def at(hour: int) -> datetime:
    return datetime(2020, 1, 1, hour, tzinfo=UTC)


def recommendations(
    spark: SparkSession, rows: list[tuple[object, int, object, float, str]], ids: DataType
) -> DataFrame:
    return spark.createDataFrame([(*row, DAY) for row in rows], RECOMMENDATIONS.schema(ids=ids))


def ratings(
    spark: SparkSession, rows: list[tuple[object, object, float, int]], ids: DataType
) -> DataFrame:
    return spark.createDataFrame(
        [(user, item, 0, 0, rating, at(hour)) for user, item, rating, hour in rows],
        RATINGS.schema(ids=ids),
    )


@pytest.fixture
def root(spark: SparkSession, tmp_path: Path) -> Folder:
    """Version r1 without, then r2 with a fallback; user 8 came after both."""
    folder = Folder(spark, tmp_path)
    rated = ratings(
        spark,
        [(7, 10, 3.0, 1), (7, 11, 5.0, 2), (7, 12, 5.0, 3), (7, 13, 1.0, 4), (8, 10, 2.0, 5)],
        LongType(),
    )
    movies: list[tuple[int, str, int | None, list[str]]] = [
        (10, "Ten", 1990, []),
        (12, "Twelve", None, []),
        (14, "Fourteen", 1999, []),
    ]
    with Tables(folder).replace(source={}) as tables:
        tables.write(RATINGS, rated)
        tables.write(MOVIES, spark.createDataFrame(movies, MOVIES.schema(ids=LongType())))
    for run_id, rows in {
        "r1": [(7, 1, 15, 2.0, "als_implicit")],
        "r2": [(7, 2, 15, 90.0, "popularity"), (7, 1, 14, 1.5, "sgd")],
    }.items():
        frame = recommendations(spark, list(rows), LongType())
        point_to(export(frame, root=folder, run_id=run_id), root=folder, keep=2)
    return folder


def test_history_and_list_come_with_titles_from_the_current_version(root: Folder) -> None:
    run_id, found = lookup(root, "7", history=2)

    assert run_id == "r2"
    assert found == Profile(
        user_id="7",
        ratings=4,
        # Of equal ratings the latest first; no title where the source has none.
        best=(Rated("12", "Twelve", 5.0, at(3)), Rated("11", None, 5.0, at(2))),
        latest=(Rated("13", None, 1.0, at(4)), Rated("12", "Twelve", 5.0, at(3))),
        recommendations=(
            Recommended(1, "14", "Fourteen", 1.5, "sgd"),
            Recommended(2, "15", None, 90.0, "popularity"),
        ),
        run_date=DAY,
    )


def test_an_earlier_version_is_shown_by_its_run_id(root: Folder) -> None:
    run_id, found = lookup(root, "7", run_id="r1")

    assert (run_id, [place.item_id for place in found.recommendations]) == ("r1", ["15"])


def test_a_user_who_came_after_the_publish_has_a_history_and_no_list(root: Folder) -> None:
    _, found = lookup(root, "8")

    assert (found.ratings, found.recommendations, found.run_date) == (1, (), None)


@pytest.mark.parametrize("user_id", ["9", "nobody", "07", "", "7.0", "9" * 30, "9" * 19, "\u0667"])
def test_an_unknown_user_is_a_usage_error(root: Folder, user_id: str) -> None:
    with pytest.raises(UsageError, match="no user"):
        lookup(root, user_id)


def test_a_published_table_without_ratings_and_titles_still_shows(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = Folder(spark, tmp_path)
    frame = recommendations(spark, [("o'neil", 1, "b0", 2.0, "sgd")], StringType())
    point_to(export(frame, root=folder, run_id="r1"), root=folder, keep=2)

    _, found = lookup(folder, "o'neil")

    assert found.recommendations == (Recommended(1, "b0", None, 2.0, "sgd"),)
    assert (found.ratings, found.best, found.latest) == (0, (), ())


def test_several_people_come_in_the_order_asked_for_and_unknown_ones_are_left_out(
    spark: SparkSession,
) -> None:
    frame = recommendations(
        spark, [(user, 1, "x", 1.0, "sgd") for user in ("a", "b", "c")], StringType()
    )

    found = profiles(frame, ["c", "nobody", "a", "c"], ratings=None, movies=None)

    assert [profile.user_id for profile in found] == ["c", "a"]


def test_typical_users_have_few_middling_and_many_ratings(spark: SparkSession) -> None:
    rated = {"a": 1, "b": 2, "c": 2, "d": 5, "e": 5, "f": 9, "g": 30}
    rows: list[tuple[object, object, float, int]] = [
        (user, str(item), 3.0, 0) for user, count in rated.items() for item in range(count)
    ]

    assert typical_users(ratings(spark, rows, StringType())) == ["b", "d", "f"]
    assert typical_users(ratings(spark, [("a", "x", 3.0, 0)], StringType())) == ["a"]
    assert typical_users(ratings(spark, [], StringType())) == []
