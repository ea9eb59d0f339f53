"""One person's history and list, with titles: what `recpipe show` and the report print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType

from recpipe.errors import UsageError
from recpipe.publish.pointer import current, published
from recpipe.storage import Tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, Row

    from recpipe.storage import Folder

_LONG = 1 << 63


@dataclass(frozen=True)
class Rated:
    """An item that a person rated; no title where the source has none."""

    item_id: str
    title: str | None
    rating: float
    rated_at: datetime


@dataclass(frozen=True)
class Recommended:
    """A place of a person's list; no title where the source has none."""

    rank: int
    item_id: str
    title: str | None
    score: float
    source: str


@dataclass(frozen=True)
class Profile:
    """A person's history and list.

    Args:
        user_id: as the source has it.
        ratings: how many there are.
        best: the best rated, of equal ratings the latest first.
        latest: the latest rated.
        recommendations: by rank; empty for a user who came after the table was published.
        run_date: the day that the list is for, if there is one.
    """

    user_id: str
    ratings: int
    best: tuple[Rated, ...]
    latest: tuple[Rated, ...]
    recommendations: tuple[Recommended, ...]
    run_date: date | None


def lookup(
    root: Folder, user_id: str, *, run_id: str | None = None, history: int = 10
) -> tuple[str, Profile]:
    """The run id of a published table, and what it and the ratings say of one person.

    Args:
        root: of the pipeline; without tables under it, history and titles are missing.
        user_id: as the source has it.
        run_id: of a published version; default the current one.
        history: how many of the best and of the latest ratings.

    Raises:
        UsageError: if nothing is published, that run is not, or nobody knows the user.
    """
    version = current(root) if run_id is None else published(root, run_id)
    tables = Tables(root)
    found = profiles(
        version.read(root),
        [user_id],
        ratings=tables.read("ratings") if tables.has("ratings") else None,
        movies=tables.read("movies") if tables.has("movies") else None,
        history=history,
    )
    if not found:
        raise UsageError(
            f"no user {user_id!r} in {version.path} or the ratings",
            hint="ids are those of the source",
        )
    return version.run_id, found[0]


def profiles(
    recommendations: DataFrame,
    user_ids: Sequence[str],
    *,
    ratings: DataFrame | None,
    movies: DataFrame | None,
    history: int = 10,
) -> list[Profile]:
    """What is known of these people, in their order; who is in neither table is left out.

    Three jobs, however many people. At most `history` x 2 ratings of each reach the driver.

    Args:
        recommendations: contracts.RECOMMENDATIONS.
        user_ids: as the source has them.
        ratings: contracts.RATINGS, or None.
        movies: contracts.MOVIES, or None.
        history: how many of the best and of the latest ratings.
    """
    ranked = _of_users(recommendations, user_ids).orderBy("rank").collect()
    rated = [] if ratings is None else _history(_of_users(ratings, user_ids), history)
    titles = _titles(movies, sorted({str(row["item_id"]) for row in (*ranked, *rated)}))
    found = []
    for user_id in dict.fromkeys(user_ids):
        places = [row for row in ranked if str(row["user_id"]) == user_id]
        mine = [row for row in rated if str(row["user_id"]) == user_id]
        if places or mine:
            found.append(_profile(user_id, places, mine, titles, history))
    return found


def typical_users(ratings: DataFrame) -> list[str]:
    """Up to three user ids: of few, middling and many ratings (quartiles of their number).

    Of equally many ratings the lowest id; the same table always gives the same people.

    Args:
        ratings: (user_id, ...), one row a rating.
    """
    counts = ratings.groupBy("user_id").count()
    quartiles = counts.agg(F.percentile_approx("count", [0.25, 0.5, 0.75], 10_000)).collect()[0][0]
    nearest = [
        F.min(F.struct(F.abs(F.col("count") - F.lit(middle)), "user_id"))["user_id"]
        for middle in quartiles or []
    ]
    if not nearest:
        return []
    return list(dict.fromkeys(str(user_id) for user_id in counts.agg(*nearest).collect()[0]))


def _of_users(frame: DataFrame, user_ids: Sequence[str]) -> DataFrame:
    """The rows of these users, by a filter that reaches the Parquet files."""
    if isinstance(frame.schema["user_id"].dataType, LongType):
        numbers = [number for text in user_ids if (number := _long(text)) is not None]
        return frame.where(F.col("user_id").isin(numbers))
    return frame.where(F.col("user_id").isin(list(user_ids)))


def _long(text: str) -> int | None:
    """The id that is written so, and not otherwise: 007 is not 7."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        return None
    number = int(text)
    return number if str(number) == text and -_LONG <= number < _LONG else None


def _history(ratings: DataFrame, history: int) -> list[Row]:
    user = Window.partitionBy("user_id")
    best = user.orderBy(F.desc("rating"), F.desc("rated_at"), "item_id")
    latest = user.orderBy(F.desc("rated_at"), "item_id")
    return (
        ratings.select(
            "user_id",
            "item_id",
            "rating",
            # As a number, since PySpark would turn an instant into this machine's local time.
            F.unix_seconds("rated_at").alias("rated_at"),
            F.count("*").over(user).alias("ratings"),
            F.row_number().over(best).alias("by_rating"),
            F.row_number().over(latest).alias("by_time"),
        )
        .where((F.col("by_rating") <= history) | (F.col("by_time") <= history))
        .collect()
    )


def _titles(movies: DataFrame | None, item_ids: Sequence[str]) -> dict[str, str]:
    if movies is None or not item_ids:
        return {}
    item_id = F.col("item_id").cast("string")
    named = movies.where(item_id.isin(list(item_ids))).select(item_id.alias("item_id"), "title")
    return {row["item_id"]: row["title"] for row in named.collect()}


def _profile(
    user_id: str,
    places: Sequence[Row],
    rated: Sequence[Row],
    titles: Mapping[str, str],
    history: int,
) -> Profile:
    def top(by: str) -> tuple[Rated, ...]:
        rows = sorted((row for row in rated if row[by] <= history), key=lambda row: row[by])
        return tuple(
            Rated(
                item_id=str(row["item_id"]),
                title=titles.get(str(row["item_id"])),
                rating=row["rating"],
                rated_at=datetime.fromtimestamp(row["rated_at"], UTC),
            )
            for row in rows
        )

    return Profile(
        user_id=user_id,
        ratings=rated[0]["ratings"] if rated else 0,
        best=top("by_rating"),
        latest=top("by_time"),
        recommendations=tuple(
            Recommended(
                rank=row["rank"],
                item_id=str(row["item_id"]),
                title=titles.get(str(row["item_id"])),
                score=row["score"],
                source=row["source"],
            )
            for row in places
        ),
        run_date=places[0]["run_date"] if places else None,
    )
