"""The aggregations behind a description: what reaches this process are counts, never ratings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from recpipe.describe.calendar import periods
from recpipe.describe.description import Cold, Description, Genre, Tags
from recpipe.describe.distributions import popularity, spread_of, value_bins
from recpipe.runtime.parallel import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame, Row

_DIGITS = 3
"""Of a rating, as far as bars go: so that there are few values, however many decimals they have."""

_MOST_USED = 20
_TOTAL = 1
"""`grouping_id` of the rows of a genre over all years."""


def describe(
    ratings: DataFrame,
    *,
    movies: DataFrame | None = None,
    tags: DataFrame | None = None,
    cutoff: datetime | None = None,
    refused: Mapping[str, Any] | None = None,
) -> Description:
    """What a table of ratings looks like: a handful of aggregations, side by side.

    Args:
        ratings: contracts.RATINGS.
        movies: contracts.MOVIES; None where the source has none.
        tags: contracts.TAGS, or None.
        cutoff: the instant from which on a user or an item that begins is cold; None: no such.
        refused: what became of the rows of the source, as the manifest has it.
    """
    work: list[Callable[[], list[Row]]] = [
        partial(_by_key, ratings, "user", cutoff),
        partial(_by_key, ratings, "item", cutoff),
        partial(_by_day, ratings),
        partial(_by_value, ratings),
    ]
    if movies is not None:
        work.append(partial(_by_genre, ratings, movies))
    if tags is not None:
        work += [partial(_tagged, tags), partial(_most_used, tags)]
    of_users, of_items, of_days, of_values, *more = run_all(work)
    of_genres = more.pop(0) if movies is not None else None
    users, items = _counts(of_users), _counts(of_items)
    rows = sum(n * having for n, having in users.items())
    days = {row.day: row.ratings for row in of_days if row.day is not None}
    by_year: dict[int, int] = {}
    for day, count in days.items():
        by_year[day.year] = by_year.get(day.year, 0) + count
    unit, over_time = periods(days) if days else (None, [])
    pairs = sum(users.values()) * sum(items.values())
    return Description(
        ratings=rows,
        users=sum(users.values()),
        items=sum(items.values()),
        density=rows / pairs if pairs else 0.0,
        mean=sum(row.total for row in of_days) / rows if rows else None,
        first=_instant(min((row.first for row in of_days if row.day is not None), default=None)),
        last=_instant(max((row.last for row in of_days if row.day is not None), default=None)),
        by_value=value_bins(_values(of_values)) if of_values else [],
        per_user=spread_of(users),
        per_item=spread_of(items),
        popularity=popularity(items),
        unit=unit,
        over_time=over_time,
        ratings_by_year=dict(sorted(by_year.items())),
        genres=None if of_genres is None else _genres(of_genres),
        tags=_tags(*more) if more else None,
        cold=_cold(cutoff, of_users, of_items) if cutoff is not None and days else None,
        refused=dict(refused or {}),
    )


def _by_key(ratings: DataFrame, key: str, cutoff: datetime | None) -> list[Row]:
    """(ratings, having, cold, late): how many users or items have so many ratings.

    `cold` of them have all at the cutoff or later; `late` are their ratings from then on.
    """
    late = F.lit(False)
    if cutoff is not None:
        late = F.coalesce(F.col("rated_at") >= F.lit(cutoff), late)
    each = ratings.groupBy(key).agg(F.count("*").alias("ratings"), F.count_if(late).alias("late"))
    cold = F.col("late") == F.col("ratings")
    found = each.groupBy("ratings").agg(
        F.count("*").alias("having"), F.count_if(cold).alias("cold"), F.sum("late").alias("late")
    )
    return found.collect()


def _by_day(ratings: DataFrame) -> list[Row]:
    """(day, ratings, total, first, last); the day null for ratings without an instant.

    The first and the last instant are in microseconds since 1970.
    """
    return (
        ratings.groupBy(F.to_date("rated_at").alias("day"))
        .agg(
            F.count("*").alias("ratings"),
            F.sum(F.col("rating").cast("double")).alias("total"),
            F.unix_micros(F.min("rated_at")).alias("first"),
            F.unix_micros(F.max("rated_at")).alias("last"),
        )
        .collect()
    )


def _by_value(ratings: DataFrame) -> list[Row]:
    """(value, ratings), values with three digits."""
    value = F.col("rating").cast("double")
    unit = F.pow(F.lit(10.0), F.floor(F.log10(F.abs(value))) - (_DIGITS - 1))
    short = F.when(value == 0, F.lit(0.0)).otherwise(F.round(value / unit) * unit)
    return ratings.groupBy(short.alias("value")).agg(F.count("*").alias("ratings")).collect()


def _by_genre(ratings: DataFrame, movies: DataFrame) -> list[Row]:
    """(genre, year, level, ratings, items); rows whose level is `_TOTAL` are of all years."""
    of_items = ratings.groupBy("item_id", F.year("rated_at").alias("year")).agg(
        F.count("*").alias("ratings")
    )
    genres = movies.select("item_id", F.explode(F.array_distinct("genres")).alias("genre"))
    return (
        of_items.join(genres, "item_id")
        .rollup("genre", "year")
        .agg(
            F.grouping_id().alias("level"),
            F.sum("ratings").alias("ratings"),
            F.count_distinct("item_id").alias("items"),
        )
        .where(F.col("level") <= _TOTAL)
        .collect()
    )


def _tag() -> Column:
    return F.lower(F.trim("tag"))


def _tagged(tags: DataFrame) -> list[Row]:
    """One row: taggings, distinct tags, users, items."""
    return tags.agg(
        F.count("*").alias("taggings"),
        F.count_distinct(_tag()).alias("distinct"),
        F.count_distinct("user_id").alias("users"),
        F.count_distinct("item_id").alias("items"),
    ).collect()


def _most_used(tags: DataFrame) -> list[Row]:
    """(tag, taggings) of the most used."""
    counted = tags.groupBy(_tag().alias("tag")).agg(F.count("*").alias("taggings"))
    return counted.orderBy(F.desc("taggings"), "tag").limit(_MOST_USED).collect()


def _instant(micros: int | None) -> datetime | None:
    return (
        None if micros is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
    )


def _counts(rows: Sequence[Row]) -> dict[int, int]:
    return {row.ratings: row.having for row in rows}


def _values(rows: Sequence[Row]) -> dict[float, int]:
    found: dict[float, int] = {}
    for row in rows:
        # What binary fractions leave behind the third digit.
        value = float(f"{row.value:.{_DIGITS}g}")
        found[value] = found.get(value, 0) + row.ratings
    return found


def _genres(rows: Sequence[Row]) -> list[Genre]:
    by_year: dict[str, dict[int, int]] = {}
    for row in rows:
        if row.level != _TOTAL and row.year is not None:
            by_year.setdefault(row.genre, {})[row.year] = row.ratings
    totals = [row for row in rows if row.level == _TOTAL and row.genre is not None]
    return [
        Genre(row.genre, row["items"], row.ratings, dict(sorted(years.items())))
        for row in sorted(totals, key=lambda row: (-row.ratings, row.genre))
        for years in [by_year.get(row.genre, {})]
    ]


def _tags(totals: Sequence[Row], most_used: Sequence[Row]) -> Tags:
    (total,) = totals
    return Tags(
        taggings=total.taggings,
        distinct=total.distinct,
        users=total.users,
        items=total["items"],
        most_used=[(row.tag, row.taggings) for row in most_used],
    )


def _cold(cutoff: datetime, users: Sequence[Row], items: Sequence[Row]) -> Cold:
    return Cold(
        cutoff=cutoff,
        users=sum(row.cold for row in users),
        items=sum(row.cold for row in items),
        ratings=sum(row.late for row in users),
        # All ratings of whom is cold are made at the cutoff or later.
        ratings_of_cold_users=sum(row.cold * row.ratings for row in users),
        ratings_of_cold_items=sum(row.cold * row.ratings for row in items),
    )
