"""The aggregations behind a description: what reaches this process are counts, never ratings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import Observation
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
    """What a table of ratings looks like: up to three aggregations, side by side.

    Args:
        ratings: contracts.RATINGS.
        movies: contracts.MOVIES; None where the source has none.
        tags: contracts.TAGS, or None.
        cutoff: the instant from which on a user or an item that begins is cold; None: no such.
        refused: what became of the rows of the source, as the manifest has it.
    """
    work: list[Callable[[], Any]] = [partial(_counted, ratings, cutoff)]
    if movies is not None:
        work.append(partial(_by_genre, ratings, movies))
    if tags is not None:
        work.append(partial(_tags, tags))
    counted, *more = run_all(work)
    genres = _genres(more.pop(0)) if movies is not None else None
    of_users, of_items, of_days, of_values = (
        [row for row in counted if row.kind == kind] for kind in _KINDS.values()
    )
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
        genres=genres,
        tags=more[0] if more else None,
        cold=_cold(cutoff, of_users, of_items) if cutoff is not None and days else None,
        refused=dict(refused or {}),
    )


_KINDS = {"user": 0b0111, "item": 0b1011, "day": 0b1101, "value": 0b1110}
"""`grouping_id` of the rows by one of these columns: a bit is set where a column is not one."""


def _counted(ratings: DataFrame, cutoff: datetime | None) -> list[Row]:
    """How many ratings each user, item, day and value has, from one pass over the ratings.

    (kind, ratings, having, cold, late, day, value, total, first, last), where `kind` is of
    `_KINDS`. Of users and items a row says how many have so many ratings, how many of these have
    all of them at the cutoff or later (`cold`), and how many ratings that late all of them have. Of
    days and values a row is a day, null without an instant, or a value with three digits; `total`
    is the sum of its ratings, and the first and the last instant are in microseconds since 1970.
    """
    late = F.lit(False)
    if cutoff is not None:
        late = F.coalesce(F.col("rated_at") >= F.lit(cutoff), late)
    rows = ratings.select(
        "user",
        "item",
        F.to_date("rated_at").alias("day"),
        _short(F.col("rating").cast("double")).alias("value"),
        F.col("rating").cast("double").alias("rating"),
        F.unix_micros("rated_at").alias("micros"),
        late.alias("is_late"),
    )
    each = rows.groupingSets([[F.col(name)] for name in _KINDS], *map(F.col, _KINDS)).agg(
        F.grouping_id().alias("kind"),
        F.count("*").alias("ratings"),
        F.count_if("is_late").alias("late"),
        F.sum("rating").alias("total"),
        F.min("micros").alias("first"),
        F.max("micros").alias("last"),
    )
    return (
        each.groupBy("kind", "day", "value", "ratings")
        .agg(
            F.count("*").alias("having"),
            F.count_if(F.col("late") == F.col("ratings")).alias("cold"),
            F.sum("late").alias("late"),
            F.sum("total").alias("total"),
            F.min("first").alias("first"),
            F.max("last").alias("last"),
        )
        .collect()
    )


def _short(value: Column) -> Column:
    """The value with three digits."""
    unit = F.pow(F.lit(10.0), F.floor(F.log10(F.abs(value))) - (_DIGITS - 1))
    return F.when(value == 0, F.lit(0.0)).otherwise(F.round(value / unit) * unit)


def _by_genre(ratings: DataFrame, movies: DataFrame) -> list[Row]:
    """(genre, year, level, ratings, items); rows whose level is `_TOTAL` are of all years."""
    of_items = (
        ratings.select("item_id", F.year("rated_at").alias("year"))
        .rollup("item_id", "year")
        .agg(F.grouping_id().alias("level"), F.count("*").alias("ratings"))
        .where(F.col("level") <= _TOTAL)
    )
    genres = movies.select("item_id", F.explode(F.array_distinct("genres")).alias("genre"))
    return (
        of_items.join(genres, "item_id")
        .groupBy("genre", "year", "level")
        .agg(F.sum("ratings").alias("ratings"), F.count("*").alias("items"))
        .collect()
    )


def _tags(tags: DataFrame) -> Tags:
    """How many tags there are, and the most used, whatever their case."""
    tag = F.lower(F.trim("tag")).alias("tag")
    seen = Observation()
    counted = tags.groupBy(tag).agg(F.count("*").alias("taggings"))
    observed = counted.observe(
        seen, F.count(F.lit(1)).alias("distinct"), F.sum("taggings").alias("taggings")
    )
    most = observed.orderBy(F.desc("taggings"), "tag").limit(_MOST_USED).collect()
    found = seen.get
    return Tags(
        taggings=int(found["taggings"] or 0),
        distinct=int(found["distinct"] or 0),
        most_used=[(row.tag, row.taggings) for row in most],
    )


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
