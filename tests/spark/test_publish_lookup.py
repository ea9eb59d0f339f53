from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql.types import DataType, LongType, StringType

from recpipe.contracts import EXPLANATIONS, MOVIES, RATINGS, RECOMMENDATIONS
from recpipe.errors import InputError, UsageError
from recpipe.publish import (
    ArrowFolder,
    Profile,
    Rated,
    Recommended,
    arrow_root,
    export,
    lookup,
    point_to,
    profiles,
    typical_users,
)
from recpipe.publish.profile import profiles as profiles_of
from recpipe.storage import Folder, Runs, Tables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.publish import Export

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


@pytest.fixture(params=["spark", "arrow"])
def root(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path
) -> Folder | ArrowFolder:
    """Version r1 without, then r2 with a fallback; user 8 came after both. Read in either way."""
    folder = Folder(spark, tmp_path)
    write(folder)
    if request.param == "spark":
        return folder
    found = arrow_root(str(tmp_path))
    assert found is not None
    return found


def write(folder: Folder) -> None:
    spark = folder.spark
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
        lists = export(frame, root=folder, run_id=run_id)
        beside = {"explanations": reasons(folder, run_id)} if run_id == "r2" else {}
        point_to(lists, root=folder, keep=2, beside=beside)
    # A run that has made lists, and one that has not come so far.
    run = Runs(folder).start("r3", {"recommended": "sgd"})
    frame = recommendations(spark, [(7, 1, 16, 0.5, "sgd")], LongType())
    (run.folder / "recommendations").write_table("sgd", frame)
    Runs(folder).start("r4", {})


def reasons(folder: Folder, run_id: str) -> Export:
    rows = [(7, 1, 2, 11, 0.5), (7, 1, 1, 12, 0.75), (8, 1, 1, 10, 2.0)]
    frame = folder.spark.createDataFrame(rows, EXPLANATIONS.schema(ids=LongType()))
    return export(frame, root=folder, run_id=run_id, contract=EXPLANATIONS)


def test_history_and_list_come_with_titles_from_the_current_version(
    root: Folder | ArrowFolder,
) -> None:
    run_id, found = lookup(root, "7", history=2)

    assert run_id == "r2"
    assert found == Profile(
        user_id="7",
        ratings=4,
        # Of equal ratings the latest first; no title where the source has none.
        best=(Rated("12", "Twelve", 5.0, at(3)), Rated("11", None, 5.0, at(2))),
        latest=(Rated("13", None, 1.0, at(4)), Rated("12", "Twelve", 5.0, at(3))),
        recommendations=(
            Recommended(1, "14", "Fourteen", 1.5, "sgd", ("Twelve", "11")),
            Recommended(2, "15", None, 90.0, "popularity"),
        ),
        run_date=DAY,
    )


def test_an_earlier_version_is_shown_by_its_run_id(root: Folder | ArrowFolder) -> None:
    run_id, found = lookup(root, "7", run_id="r1")

    assert (run_id, [place.item_id for place in found.recommendations]) == ("r1", ["15"])


def test_lists_of_a_run_that_was_not_published_are_shown_by_its_id(
    root: Folder | ArrowFolder,
) -> None:
    run_id, found = lookup(root, "7", run_id="r3")

    assert (run_id, [place.item_id for place in found.recommendations]) == ("r3", ["16"])
    with pytest.raises(UsageError, match="run r4 has no lists yet"):
        lookup(root, "7", run_id="r4")
    for unknown in ("r9", "../r1", ""):
        with pytest.raises(UsageError, match="no run"):
            lookup(root, "7", run_id=unknown)


def test_a_user_who_came_after_the_publish_has_a_history_and_no_list(
    root: Folder | ArrowFolder,
) -> None:
    _, found = lookup(root, "8")

    assert (found.ratings, found.recommendations, found.run_date) == (1, (), None)


@pytest.mark.parametrize("user_id", ["9", "nobody", "07", "", "7.0", "9" * 30, "9" * 19, "\u0667"])
def test_an_unknown_user_is_a_usage_error(root: Folder | ArrowFolder, user_id: str) -> None:
    with pytest.raises(UsageError, match="no user"):
        lookup(root, user_id)


@pytest.mark.parametrize("arrow", [False, True])
def test_a_published_table_without_ratings_and_titles_still_shows(
    spark: SparkSession, tmp_path: Path, arrow: bool
) -> None:
    folder = Folder(spark, tmp_path)
    frame = recommendations(spark, [("o'neil", 1, "b0", 2.0, "sgd")], StringType())
    point_to(export(frame, root=folder, run_id="r1"), root=folder, keep=2)

    _, found = lookup((arrow_root(folder.uri) if arrow else None) or folder, "o'neil")

    assert found.recommendations == (Recommended(1, "b0", None, 2.0, "sgd"),)
    assert (found.ratings, found.best, found.latest) == (0, (), ())


def test_what_is_damaged_or_missing_is_said_without_spark(
    spark: SparkSession, tmp_path: Path
) -> None:
    def look() -> object:
        root = arrow_root(str(tmp_path))
        assert root is not None
        return lookup(root, "7")

    with pytest.raises(UsageError, match="nothing is published"):
        look()
    write(Folder(spark, tmp_path))
    current = tmp_path / "published" / "CURRENT.json"
    whole = current.read_text()
    for text, said in (
        ("{", "is not JSON"),
        ("[]", "schema_version is None"),
        ('{"schema_version": 1}', "is not a pointer"),
        (whole.replace("recommendations/r2", "recommendations/gone"), "gone"),
    ):
        current.write_text(text)
        with pytest.raises(InputError, match=said):
            look()
    current.write_text(whole)
    for part in (tmp_path / "published" / "recommendations" / "r2").glob("part-*"):
        part.write_bytes(b"PAR1 no longer")
    with pytest.raises(InputError, match="published/recommendations/r2"):
        look()


def test_a_root_that_only_spark_can_read_is_left_to_spark(tmp_path: Path) -> None:
    assert arrow_root("hdfs://nowhere/x") is None
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "CURRENT.json").write_text('{"format": "delta"}')
    assert arrow_root(str(tmp_path)) is None


def test_seen_items_without_a_rating_or_a_time_are_shown_as_such() -> None:
    columns = {"user_id": [7, 7, 7], "item_id": [1, 2, 3], "rating": [None, 2.0, 3.0]}
    rated = pa.table({**columns, "rated_at": pa.array([at(1), None, None])})
    listed = pa.table({name: pa.array([], "string") for name in ("user_id", "rank")})

    (found,) = profiles_of(["7"], listed=listed, rated=rated, titles={"3": "Three"}, history=2)

    assert found.ratings == 3
    assert found.best == (Rated("3", "Three", 3.0, None), Rated("2", None, 2.0, None))
    assert found.latest == (Rated("1", None, None, at(1)),)


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
