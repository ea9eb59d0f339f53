"""The section `rules` applied: which items no list may hold, and which only some lists.

What the rules come to is written beside the lists, since the files that they read may change before
the lists are checked: `items`, and `pairs` where a rule speaks of single users.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import InputError, UsageError, did_you_mean
from recpipe.ranking.rules import NO_ITEM, ListRules
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pyspark.sql import Column, DataFrame

    from recpipe.feedback import Times
    from recpipe.recommend.settings import Rules
    from recpipe.storage import Folder

_ITEMS, _PAIRS = "items", "pairs"
_AGE, _GENRES, _YEARS = "age", "genres", "years"
_ALLOW, _BLOCK = "allow", "block"


@dataclass(frozen=True)
class Catalogue:
    """What rules look at.

    Args:
        users: contracts.USERS.
        items: contracts.ITEMS.
        ratings: (user int, item int, rated_at timestamp, ...): all that the run knows.
        movies: contracts.MOVIES; None where the source says nothing of items.
        instant: that lists are made for.
    """

    users: DataFrame
    items: DataFrame
    ratings: DataFrame
    movies: DataFrame | None
    instant: datetime


@dataclass(frozen=True)
class AppliedRules:
    """What rules came to, as it was written.

    Args:
        folder: of `items` (item_id, item int, rule string), which no list may hold, and `pairs`
            (user_id, user int, item_id, item int, rule string), of the rules `allow` and `block`
            for single users. An allowed item that the run does not know is null and `NO_ITEM`.
    """

    folder: Folder

    @property
    def never(self) -> DataFrame:
        """(item_id, item int, rule string): what no list may hold, and the first rule against."""
        return self.folder.read_table(_ITEMS)

    @cached_property
    def allowed(self) -> DataFrame | None:
        """(user_id, user, item_id, item): users whose lists may hold these items alone, or None."""
        return self._pairs(_ALLOW)

    @cached_property
    def blocked(self) -> DataFrame | None:
        """(user_id, user, item_id, item): what lists of single users must not hold, or None."""
        return self._pairs(_BLOCK)

    def for_lists(self) -> ListRules:
        """The rules as the engine takes them."""
        never = self.never.select("item").toArrow()["item"].to_numpy().astype(np.int32)
        pairs = [
            None if frame is None else frame.select("user", "item")
            for frame in (self.allowed, self.blocked)
        ]
        return ListRules(np.sort(never), *pairs)

    def _pairs(self, rule: str) -> DataFrame | None:
        if not self.folder.has_table(_PAIRS):
            return None
        pairs = self.folder.read_table(_PAIRS).where(F.col("rule") == rule).drop("rule")
        return None if pairs.isEmpty() else pairs


def refuse_impossible(settings: Rules, movies: DataFrame | None, *, times: Times) -> None:
    """Raise where rules ask for what a source does not say.

    Args:
        settings: the rules.
        movies: contracts.MOVIES; None where the source says nothing of items.
        times: what instants its ratings have.

    Raises:
        UsageError: for genres or years without a table of items, and for an age without instants.
        InputError: for a genre that no item has.
    """
    if settings.by_metadata and movies is None:
        raise UsageError(
            "rules by genre and year ask for a table of items, and the source has none",
            hint="leave genres and years out of [rules], or allow items by rules.allow",
        )
    if settings.by_age and times != "some":
        raise UsageError(
            "rules by age ask for the instants of ratings, and the source has none that differ",
            hint="leave min_age_days and max_age_days out of [rules]",
        )
    if movies is not None:
        _refuse_unknown_genres(settings, movies)


def apply_rules(
    settings: Rules,
    catalogue: Catalogue,
    folder: Folder,
    *,
    allow: DataFrame | None = None,
    block: DataFrame | None = None,
) -> dict[str, Any]:
    """Find out what the rules come to and write it; returns what the manifest says of it.

    Args:
        settings: of which a rule is set.
        catalogue: what they look at.
        folder: where it is written.
        allow: (user_id, item_id: string), what `rules.allow` names; None for nothing.
        block: the same of `rules.block`.

    Returns:
        `items`, how many there are; `left_out`, by rule how many it takes out of all lists; for
        each table its rows, those of unknown users and of unknown items, and whose lists it names.

    Raises:
        InputError: if no item is left, or a row of a table names no item.
    """
    tables = {_ALLOW: allow, _BLOCK: block}
    known = {
        rule: cached(_numbered(rows, catalogue))
        for rule, rows in tables.items()
        if rows is not None
    }
    try:
        told = {rule: _counted(rows, rule) for rule, rows in known.items()}
        total, left_out = _write_items(settings, catalogue, known, folder)
        _write_pairs(known, folder)
    finally:
        for rows in known.values():
            rows.unpersist()
    return {"items": total, "left_out": left_out, **told}


def _refuse_unknown_genres(settings: Rules, movies: DataFrame) -> None:
    asked = (*settings.genres, *settings.without_genres)
    if not asked:
        return
    there = {row[0] for row in movies.select(F.explode("genres")).distinct().collect()}
    for genre in asked:
        if genre not in there:
            near = did_you_mean(genre, there) or f"the genres are {', '.join(sorted(there)[:40])}"
            raise InputError(f"rules: no item has the genre {genre!r}", hint=near)


def _numbered(rows: DataFrame, catalogue: Catalogue) -> DataFrame:
    """The rows of a table, with what the run knows of their users and items.

    (own boolean, named boolean, user_id, user, item_id, item): `own` where a row is for a single
    user, `named` where it names an item; ids and numbers are null where the run does not know them.
    """
    rows = rows.select(
        F.col("user_id").alias("given_user"),
        F.col("item_id").alias("given_item"),
        F.isnotnull("user_id").alias("own"),
        F.isnotnull("item_id").alias("named"),
    )
    users = catalogue.users.withColumn("given_user", F.col("user_id").cast("string"))
    items = catalogue.items.withColumn("given_item", F.col("item_id").cast("string"))
    rows = rows.join(users, "given_user", "left").join(items, "given_item", "left")
    return rows.select("own", "named", "user_id", "user", "item_id", "item")


def _counted(rows: DataFrame, rule: str) -> dict[str, int]:
    """What the manifest says of a table.

    Raises:
        InputError: if a row names no item.
    """
    found = (
        rows.agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(~F.col("named")).alias("without"),
            F.count_if(F.isnull("item")).alias("unknown_items"),
            F.count_if(F.col("own") & F.isnull("user")).alias("unknown_users"),
            F.count_distinct("user").alias("users"),
        )
        .collect()[0]
        .asDict()
    )
    if found.pop("without"):
        raise InputError(f"rules.{rule}: a row names no item", hint="mend it, or leave it out")
    if not found["rows"]:
        raise InputError(f"rules.{rule}: the table has no row", hint="leave the rule out")
    return found


def _write_items(
    settings: Rules, catalogue: Catalogue, known: Mapping[str, DataFrame], folder: Folder
) -> tuple[int, dict[str, int]]:
    """Write what no list may hold; returns how many items there are, and how many each rule takes.

    Raises:
        InputError: if no item is left.
    """
    items = (
        catalogue.ratings.groupBy("item")
        .agg(F.min("rated_at").alias("first"))
        .join(catalogue.items, "item")
    )
    if settings.by_metadata and catalogue.movies is not None:
        items = items.join(catalogue.movies.select("item_id", "year", "genres"), "item_id", "left")
    for rule, rows in known.items():
        everyone = rows.where("NOT own AND item IS NOT NULL").select("item").distinct()
        items = items.join(everyone.withColumn(rule, F.lit(True)), "item", "left")
    broken = dict(_broken(settings, catalogue.instant, known))
    names = [F.when(breaks, F.lit(rule)) for rule, breaks in broken.items()]
    first_broken = F.coalesce(*names, F.lit(None).cast("string"))
    checked = cached(items.select("item_id", "item", first_broken.alias("rule")))
    try:
        counts = {row["rule"]: row["count"] for row in checked.groupBy("rule").count().collect()}
        folder.write_table(_ITEMS, checked.where("rule IS NOT NULL"))
    finally:
        checked.unpersist()
    left_out = {rule: counts.get(rule, 0) for rule in broken}
    if None not in counts:
        told = ", ".join(f"{rule} takes {count}" for rule, count in left_out.items())
        raise InputError(
            f"rules: none of {sum(counts.values())} items is left: {told}",
            hint="set rules that leave more",
        )
    return sum(counts.values()), left_out


def _broken(
    settings: Rules, instant: datetime, known: Mapping[str, DataFrame]
) -> Iterator[tuple[str, Column]]:
    """The name of each rule that is set, and whether an item breaks it."""
    if settings.genres or settings.without_genres:
        yield _GENRES, _breaks_genres(settings)
    if settings.by_year:
        yield _YEARS, _outside("year", settings.year_from, settings.year_to)
    if settings.by_age:
        days = (F.unix_micros(F.lit(instant)) - F.unix_micros("first")) / F.lit(86_400e6)
        yield _AGE, _outside(days, settings.min_age_days, settings.max_age_days)
    if _ALLOW in known and not known[_ALLOW].where("NOT own").isEmpty():
        yield _ALLOW, F.isnull(_ALLOW)
    if _BLOCK in known:
        yield _BLOCK, F.isnotnull(_BLOCK)


def _breaks_genres(settings: Rules) -> Column:
    def has_one(genres: tuple[str, ...]) -> Column:
        some = F.array(*map(F.lit, genres))
        return F.coalesce(F.arrays_overlap("genres", some), F.lit(False))

    broken = []
    if settings.genres:
        broken.append(~has_one(settings.genres))
    if settings.without_genres:
        broken.append(has_one(settings.without_genres))
    return reduce(or_, broken)


def _outside(value: Column | str, least: float | None, most: float | None) -> Column:
    """Whether a value is unknown, below `least` or above `most`."""
    value = F.col(value) if isinstance(value, str) else value
    within = F.lit(True)
    if least is not None:
        within &= value >= F.lit(least)
    if most is not None:
        within &= value <= F.lit(most)
    return ~F.coalesce(within, F.lit(False))


def _write_pairs(known: Mapping[str, DataFrame], folder: Folder) -> None:
    """Write what rules say of single users whom the run knows; no table without such a rule."""
    parts = []
    for rule, rows in known.items():
        own = rows.where("user IS NOT NULL")
        if rule == _ALLOW:
            # A user whose allowed items are all unknown gets no item; without a row, any item.
            own = own.withColumn("item", F.coalesce("item", F.lit(NO_ITEM)))
        else:
            own = own.where("item IS NOT NULL")
        parts.append(own.withColumn("rule", F.lit(rule)))
    if not parts:
        return
    pairs = reduce(lambda one, other: one.unionByName(other), parts)
    pairs = pairs.select("user_id", "user", "item_id", "item", "rule").distinct()
    folder.write_table(_PAIRS, pairs)


__all__ = ["AppliedRules", "Catalogue", "apply_rules", "refuse_impossible"]
