"""Which part each row belongs to, strategy by strategy.

A strategy never moves data: it returns the ratings, where needed with a few more columns, and for
each fold one expression that names the part of a row. Boundaries are places in a total order and
computed with integers. docs/decisions/0003-split-rules.md says why the rules are as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from recpipe.errors import InputError, UsageError
from recpipe.split.parts import TEST, TRAIN, VALIDATION
from recpipe.split.places import SortedColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from recpipe.settings import Split

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Without shares of its own, a fold's validation part is this share of what is not test.
_VALIDATION_OF_REST = 8


@dataclass(frozen=True)
class Fold:
    """The part of every row: the value of `part` is train, validation or test, never null."""

    part: Column
    number: int | None = None
    cutoffs: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """What a strategy decided.

    Args:
        frame: the ratings, with what the expressions of the folds need.
        folds: one, or one a fold.
        by_user: whether each user was cut alone: every user keeps a row in train, and `frame` costs
            a shuffle, so that it should be cached where it is read often.
    """

    frame: DataFrame
    folds: Sequence[Fold]
    by_user: bool = False


def assign(ratings: DataFrame, settings: Split, *, seed: int) -> Assignment:
    """Decide the part of every row by the strategy of the settings; no row is left out.

    Raises:
        InputError: if there are no ratings.
        UsageError: if explicit instants are not in order.
    """
    match settings.strategy:
        case "global_time" if settings.validation_from and settings.test_from:
            assigned = _at_instants(ratings, settings.validation_from, settings.test_from)
        case "global_time":
            assigned = _global_time(ratings, _boundaries(settings.fractions))
        case "user_fraction":
            assigned = _user_fraction(ratings, _boundaries(settings.fractions))
        case "last_n":
            assigned = _last(ratings, settings.last_n)
        case "leave_one_out":
            assigned = _last(ratings, 1)
        case "random":
            assigned = _random(ratings, _boundaries(settings.fractions), seed=seed)
        case "k_fold":
            assigned = _k_fold(ratings, settings.folds, seed=seed)
        case "k_fold_users":
            held_out = exact(settings.held_out_fraction)
            assigned = _k_fold_users(ratings, settings.folds, held_out, seed=seed)
    return assigned


def exact(share: float) -> Fraction:
    """The share as it is written: 0.1 is a tenth, not the binary number next to it."""
    return Fraction(repr(share))


def _boundaries(fractions: tuple[float, float, float]) -> tuple[Fraction, Fraction]:
    train, validation, _ = fractions
    return exact(train), exact(train) + exact(validation)


# -- one cut through all rows -----------------------------------------------------------------


def _global_time(ratings: DataFrame, boundaries: Sequence[Fraction]) -> Assignment:
    micros = ratings.select(F.unix_micros("rated_at").alias("at"))
    validation_from, test_from = _cut(SortedColumn.of(micros, "at"), boundaries)
    return _at_instants(ratings, _instant(validation_from), _instant(test_from))


def _at_instants(ratings: DataFrame, validation_from: datetime, test_from: datetime) -> Assignment:
    validation_from, test_from = _utc(validation_from), _utc(test_from)
    if validation_from > test_from:
        raise UsageError(
            f"split: validation_from {validation_from} is after test_from {test_from}",
            hint="validation comes before test",
        )
    part = _by_cuts(F.col("rated_at"), _literal(validation_from), _literal(test_from))
    return Assignment(
        ratings, [Fold(part, cutoffs={"validation_from": validation_from, "test_from": test_from})]
    )


def _random(ratings: DataFrame, boundaries: Sequence[Fraction], *, seed: int) -> Assignment:
    key = _row_hash(seed)
    ordered = SortedColumn.of(ratings.select(key.alias("key")), "key")
    validation_from, test_from = _cut(ordered, boundaries)
    return Assignment(ratings, [Fold(_by_cuts(key, F.lit(validation_from), F.lit(test_from)))])


def _cut(column: SortedColumn, boundaries: Sequence[Fraction]) -> list[int]:
    if not column.rows:
        raise InputError("split: no ratings", hint="ingest a release that has some")
    places = [_floor(column.rows * share) for share in boundaries]
    value_at = column.at(places)
    return [value_at[place] for place in places]


def _by_cuts(value: Column, validation_from: Column, test_from: Column) -> Column:
    return (
        F.when(value >= test_from, TEST)
        .when(value >= validation_from, VALIDATION)
        .otherwise(F.lit(TRAIN))
    )


# -- the latest of each user ------------------------------------------------------------------


def _user_fraction(ratings: DataFrame, boundaries: Sequence[Fraction]) -> Assignment:
    frame = _with_user_cuts(ratings, boundaries)
    part = F.when(_held_out(1), TEST).when(_held_out(0), VALIDATION).otherwise(F.lit(TRAIN))
    return Assignment(frame, [Fold(part)], by_user=True)


def _with_user_cuts(ratings: DataFrame, boundaries: Sequence[Fraction]) -> DataFrame:
    """The ratings + `_first`, the user's first instant, and `_cut<i>`, that of each boundary."""
    of_user = Window.partitionBy("user")
    numbered = ratings.withColumn(
        "_place", F.row_number().over(of_user.orderBy("rated_at", "item")) - 1
    ).withColumn("_rows", F.count("*").over(of_user))
    cuts = {
        f"_cut{i}": F.max(F.when(F.col("_place") == _place_of("_rows", share), F.col("rated_at")))
        for i, share in enumerate(boundaries)
    }
    return numbered.withColumns(
        {name: cut.over(of_user) for name, cut in cuts.items()}
        | {"_first": F.min("rated_at").over(of_user)}
    )


def _held_out(cut: int) -> Column:
    """Whether a row is at or after a user's cut; a cut at the user's first instant is void."""
    at = F.col(f"_cut{cut}")
    return (F.col("rated_at") >= at) & (at > F.col("_first"))


def _place_of(rows: str, share: Fraction) -> Column:
    # Decimals, since rows x numerator can pass the end of a long (0.3333333333333333).
    share = share.limit_denominator(10**18)
    numerator, denominator = (
        f"CAST('{n}' AS DECIMAL(20, 0))" for n in (share.numerator, share.denominator)
    )
    return F.expr(f"(CAST({rows} AS DECIMAL(18, 0)) * {numerator}) div {denominator}")


def _last(ratings: DataFrame, n: int) -> Assignment:
    latest_first = Window.partitionBy("user").orderBy(F.desc("rated_at"), F.desc("item"))
    frame = ratings.withColumn("_from_end", F.row_number().over(latest_first)).withColumn(
        "_rows", F.count("*").over(Window.partitionBy("user"))
    )
    from_end, rows = F.col("_from_end"), F.col("_rows")
    part = (
        F.when((from_end <= n) & (rows > n), TEST)
        .when((from_end > n) & (from_end <= 2 * n) & (rows > 2 * n), VALIDATION)
        .otherwise(F.lit(TRAIN))
    )
    return Assignment(frame, [Fold(part)], by_user=True)


# -- folds ------------------------------------------------------------------------------------


def _k_fold(ratings: DataFrame, folds: int, *, seed: int) -> Assignment:
    key = _row_hash(seed)
    ring = _ring(SortedColumn.of(ratings.select(key.alias("key")), "key"), folds)
    parts = [
        F.when(_within(key, test), TEST)
        .when(_within(key, validation), VALIDATION)
        .otherwise(F.lit(TRAIN))
        for test, validation in ring
    ]
    return Assignment(ratings, [Fold(part, number=i) for i, part in enumerate(parts)])


def _k_fold_users(ratings: DataFrame, folds: int, held_out: Fraction, *, seed: int) -> Assignment:
    key = _user_hash(seed)
    users = ratings.select("user_id").distinct().select(key.alias("key")).persist()
    try:
        ring = _ring(SortedColumn.of(users, "key"), folds)
    finally:
        users.unpersist()
    frame = _with_user_cuts(ratings, [1 - held_out])
    parts = [
        F.when(_held_out(0) & _within(key, test), TEST)
        .when(_held_out(0) & _within(key, validation), VALIDATION)
        .otherwise(F.lit(TRAIN))
        for test, validation in ring
    ]
    numbered = [Fold(part, number=i) for i, part in enumerate(parts)]
    return Assignment(frame, numbered, by_user=True)


@dataclass(frozen=True)
class _Arc:
    """Keys from `start` up to, without, `stop`, or to the highest where that is None.

    One that `wraps` goes on through the highest and the lowest key.
    """

    start: int
    stop: int | None
    wraps: bool
    empty: bool


def _ring(column: SortedColumn, folds: int) -> list[tuple[_Arc, _Arc]]:
    """For each fold the keys of test and of validation.

    Test is one of `folds` neighbouring stretches of the sorted keys, equal within one; validation
    is the eighth of the rest that follows it, where the end of the keys joins the beginning.
    """
    n = column.rows
    if not n:
        raise InputError("split: no ratings", hint="ingest a release that has some")
    stretches = []
    for i in range(folds):
        start, stop = n * i // folds, n * (i + 1) // folds
        held = (n - (stop - start)) // _VALIDATION_OF_REST
        stretches.append(((start, stop - start), (stop % n, held)))
    ends = {
        end for pair in stretches for start, length in pair for end in (start, (start + length) % n)
    }
    key_at = column.at(ends)

    def arc(start: int, length: int) -> _Arc:
        stop = start + length
        return _Arc(
            key_at[start],
            None if stop == n else key_at[stop % n],
            wraps=stop > n,
            empty=length == 0,
        )

    return [(arc(*test), arc(*validation)) for test, validation in stretches]


def _within(key: Column, arc: _Arc) -> Column:
    if arc.empty:
        return F.lit(False)
    if arc.stop is None:
        return key >= arc.start
    from_start, to_stop = key >= arc.start, key < arc.stop
    return (from_start | to_stop) if arc.wraps else (from_start & to_stop)


# -- keys and instants ------------------------------------------------------------------------


def _row_hash(seed: int) -> Column:
    """A number for each row that depends on its ids and the seed, not on where the row lies.

    The ids are those of the source, so a root with another numbering splits the same.
    """
    return _hash(seed, ["user_id", "item_id"])


def _user_hash(seed: int) -> Column:
    return _hash(seed, ["user_id"])


def _hash(seed: int, columns: Iterable[str]) -> Column:
    # Without its sign, differences of two hashes cannot overflow.
    hashed = F.xxhash64(F.lit(seed).cast("long"), *columns)
    return F.shiftrightunsigned(hashed, 1)


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _literal(instant: datetime) -> Column:
    return F.timestamp_micros(F.lit((instant - _EPOCH) // timedelta(microseconds=1)))
