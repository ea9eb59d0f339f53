"""The ratings that a run knows: what the section `filter` leaves of those that were ingested.

The rules apply one after the other, in the order of the settings: `window`, `values`, `users`, then
`min_ratings_of_user` and `min_ratings_of_item`, or `core`. The same rows give the same ratings,
whatever their order and partitions. docs/decisions/0021-filters.md says why they are as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import InputError, UsageError
from recpipe.spark.held import cached
from recpipe.split.places import SortedColumn
from recpipe.split.splitter import need_instants
from recpipe.split.strategies import exact, user_hash, utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame

    from recpipe.feedback import Times
    from recpipe.split.settings import Filter
    from recpipe.storage import Folder

_MAX_ROUNDS = 200
"""Of a core: real ratings need tens, and a chain of pairs made for it as many as it is long."""


@dataclass(frozen=True)
class Filtered:
    """What a filter leaves.

    Args:
        ratings: as they came, without those that were left out.
        rows_in: how many came.
        left_out: by rule that was set, in their order, how many of them it left out.
    """

    ratings: DataFrame
    rows_in: int
    left_out: Mapping[str, int]

    @property
    def rows(self) -> int:
        """How many are left."""
        return self.rows_in - sum(self.left_out.values())


def filtered(
    ratings: DataFrame,
    settings: Filter,
    *,
    seed: int,
    scratch: Folder,
    times: Times = "some",
    explicit: bool = True,
) -> Filtered:
    """The ratings that the filter leaves, and how many each of its rules leaves out.

    Each rule costs a count of rows. The sample costs a few scans of one hash a user; a minimum a
    shuffle of pairs of numbers by user or item; a core two such shuffles a round, until a round
    leaves nothing out. Pairs that are left are written to `scratch` between two of these, so that
    no plan grows with the rounds and nothing has to fit into memory.

    Args:
        ratings: contracts.RATINGS; scanned several times, so cheap to read.
        settings: of which a rule is set.
        seed: of the sample of users.
        scratch: for pairs; the frame that is returned reads from it.
        times: what instants the ratings have.
        explicit: whether the ratings are on a scale.

    Raises:
        UsageError: for a window of ratings without instants, or that ends before it begins, and for
            values of implicit feedback.
        InputError: if no ratings are left, or a core is not found in 200 rounds; it names the
            rules and how many ratings each has left out.
    """
    _refuse_impossible(settings, times=times, explicit=explicit)
    rows_in = before = ratings.count()
    left_out: dict[str, int] = {}
    for rule, left in _steps(ratings, settings, seed=seed, scratch=scratch):
        ratings, rows = left, left.count()
        left_out[rule] = before - rows
        before = rows
        if not rows:
            told = ", ".join(f"{name} left out {n}" for name, n in left_out.items())
            raise InputError(
                f"filter: none of {rows_in} ratings are left: {told}",
                hint="set a rule of [filter] that leaves more",
            )
    return Filtered(ratings, rows_in, left_out)


def _refuse_impossible(settings: Filter, *, times: Times, explicit: bool) -> None:
    begin, end = settings.rated_from, settings.rated_until
    if settings.by_instant:
        need_instants("a window of filter", times, hint="leave rated_from and rated_until out")
    if begin is not None and end is not None and utc(begin) >= utc(end):
        raise UsageError(
            f"filter: rated_from {utc(begin)} is not before rated_until {utc(end)}",
            hint="a window begins before it ends",
        )
    if settings.by_value and not explicit:
        raise UsageError(
            "filter.rating_from and rating_to are for ratings, and the feedback is implicit",
            hint="leave them out, or set ingest.feedback=explicit",
        )


def _steps(
    ratings: DataFrame, settings: Filter, *, seed: int, scratch: Folder
) -> Iterator[tuple[str, DataFrame]]:
    """The name of each rule that is set, and what is left after it."""
    rows = ratings
    if settings.by_instant:
        rows = _in_window(rows, settings)
        yield "window", rows
    if settings.by_value:
        rows = _in_range(rows, settings)
        yield "values", rows
    if settings.users is not None or settings.share_of_users is not None:
        rows = _of_sample(rows, settings, seed=seed)
        yield "users", rows
    minimums = {"user": settings.min_ratings_of_user, "item": settings.min_ratings_of_item}
    for key, least in minimums.items():
        if least > 1:
            enough = scratch.write_table(f"enough-{key}", _having(rows, key, least))
            rows = _of_these(rows, key, enough)
            yield f"min_ratings_of_{key}", rows
    if settings.core is not None:
        pairs = _core(rows.select("user", "item"), settings.core, scratch)
        for key in ("user", "item"):
            rows = _of_these(rows, key, pairs.select(key).distinct())
        yield "core", rows


def _in_window(rows: DataFrame, settings: Filter) -> DataFrame:
    if settings.rated_from is not None:
        rows = rows.where(F.col("rated_at") >= F.lit(utc(settings.rated_from)))
    if settings.rated_until is not None:
        rows = rows.where(F.col("rated_at") < F.lit(utc(settings.rated_until)))
    return rows


def _in_range(rows: DataFrame, settings: Filter) -> DataFrame:
    # As ratings are stored: 3.7 of the settings is the same number as a rating of 3.7.
    if settings.rating_from is not None:
        rows = rows.where(F.col("rating") >= F.lit(settings.rating_from).cast("float"))
    if settings.rating_to is not None:
        rows = rows.where(F.col("rating") <= F.lit(settings.rating_to).cast("float"))
    return rows


def _of_sample(rows: DataFrame, settings: Filter, *, seed: int) -> DataFrame:
    """The rows of the users with the lowest hashes: a smaller sample is a part of a larger one."""
    key = user_hash(seed)
    # Once a user: rows would weigh users by their ratings.
    users = cached(rows.select("user_id").distinct().select(key.alias("key")))
    try:
        column = SortedColumn.of(users, "key")
        if settings.users is not None:
            wanted = settings.users
        else:
            share = exact(settings.share_of_users or 0) * column.rows
            wanted = share.numerator // share.denominator
        if wanted >= column.rows:
            return rows
        return rows.where(key < column.at([wanted])[wanted])
    finally:
        users.unpersist()


def _having(rows: DataFrame, key: str, least: int) -> DataFrame:
    """(user) or (item), as `key` says: those with at least so many of the rows."""
    return rows.groupBy(key).count().where(F.col("count") >= least).select(key)


def _of_these(rows: DataFrame, key: str, known: DataFrame) -> DataFrame:
    """The rows whose user, or item, is one of `known`."""
    # A join on a name moves that column to the front.
    return rows.join(known, key, "left_semi").select(*rows.columns)


def _core(pairs: DataFrame, k: int, scratch: Folder) -> DataFrame:
    """The largest set of pairs in which every user and every item has k of them (Seidman 1983).

    Who has too few is left out, users first, until nobody is: the order does not change the end.
    """
    pairs = scratch.write_table("core-0", pairs)
    before = pairs.count()
    for number in range(1, _MAX_ROUNDS + 1):
        for key in ("user", "item"):
            pairs = _of_these(pairs, key, _having(pairs, key, k))
        pairs = scratch.write_table(f"core-{number}", pairs)
        scratch.delete(f"core-{number - 1}")
        rows = pairs.count()
        if rows in {0, before}:
            return pairs
        before = rows
    raise InputError(
        f"filter: the core of {k} is not found in {_MAX_ROUNDS} rounds; {before} ratings are left",
        hint="set filter.min_ratings_of_user and filter.min_ratings_of_item, or another core",
    )


__all__ = ["Filtered", "filtered"]
