"""Which part each row belongs to, strategy by strategy.

A strategy never moves data: it returns the ratings, where needed with a few more columns, and for
each fold one expression that names the part of a row. Boundaries are places in a total order and
computed with integers. docs/decisions/0003-split-rules.md says why the rules are as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import InputError, UsageError
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of
from recpipe.split.cuts import cuts_of
from recpipe.split.parts import TEST, TRAIN, VALIDATION
from recpipe.split.places import SortedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from recpipe.split.cuts import Places
    from recpipe.split.settings import Split
    from recpipe.storage import Stored

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SENT_USERS = 500_000
"""Users whose cuts each task is sent: 50 MB."""

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
        no_cold_users: the held-out parts all of whose users keep a row in train, since each user
            was cut alone.
        kept: what is persisted until the parts are written.
    """

    frame: DataFrame
    folds: Sequence[Fold]
    no_cold_users: Sequence[str] = ()
    kept: Sequence[DataFrame] = ()


def assign(
    source: DataFrame | Stored, settings: Split, *, seed: int, given: DataFrame | None = None
) -> Assignment:
    """Decide the part of every row by the strategy of the settings; no row is left out.

    Args:
        source: the ratings.
        settings: with any strategy but auto.
        seed: of the strategies that draw.
        given: contracts.GIVEN_PARTS, for the strategy that follows them.

    Raises:
        InputError: if there are no ratings.
        UsageError: if explicit instants are not in order.
    """
    ratings = frame_of(source)
    match settings.strategy:
        case "global_time" if settings.validates_by_user:
            assigned = _latest_before_test(source, settings)
        case "global_time":
            assigned = _global_time(ratings, settings)
        case "user_fraction":
            assigned = _user_fraction(source, _boundaries(settings.fractions))
        case "last_n" | "leave_one_out":
            n = settings.last_n if settings.strategy == "last_n" else 1
            assigned = _last(source, n)
        case "random":
            assigned = _random(ratings, _boundaries(settings.fractions), seed=seed)
        case "k_fold":
            assigned = _k_fold(ratings, settings.folds, seed=seed)
        case "k_fold_users":
            held_out = exact(settings.held_out_fraction)
            assigned = _k_fold_users(source, settings.folds, held_out, seed=seed)
        case "given" if given is not None:
            assigned = _given(ratings, given, exact(settings.fractions[1]), seed=seed)
        case "auto" | "given":
            raise ValueError("`splitter.split` chooses for auto, and refuses given without parts")
    return assigned


def exact(share: float) -> Fraction:
    """The share as it is written: 0.1 is a tenth, not the binary number next to it."""
    return Fraction(repr(share))


def _boundaries(fractions: tuple[float, float, float]) -> tuple[Fraction, Fraction]:
    train, validation, _ = fractions
    return exact(train), exact(train) + exact(validation)


# -- one cut through all rows -----------------------------------------------------------------


def _global_time(ratings: DataFrame, settings: Split) -> Assignment:
    if settings.validation_from and settings.test_from:
        return _at_instants(ratings, settings.validation_from, settings.test_from)
    boundaries = _boundaries(settings.fractions)
    micros = ratings.select(F.unix_micros("rated_at").alias("at"))
    column = SortedColumn.of(micros, "at")
    validation_from, test_from = _distinct_cuts(column, *_cut(column, boundaries))
    return _at_instants(ratings, instant_of(validation_from), instant_of(test_from))


def _latest_before_test(source: DataFrame | Stored, settings: Split) -> Assignment:
    """Test from one instant on; before it the latest share of each user's ratings is validation."""
    test_from = first_of_test(frame_of(source), settings)
    part = F.when(F.col("rated_at") >= _literal(test_from), TEST)
    part = part.when(_held_out(0), VALIDATION).otherwise(F.lit(TRAIN))
    return _cut_by_user(
        source,
        partial(_shares, [1 - exact(settings.fractions[1])]),
        [Fold(part, cutoffs={"test_from": test_from})],
        cuts=1,
        until=test_from,
    )


def first_of_test(ratings: DataFrame, settings: Split) -> datetime:
    """The instant at which test would begin under global_time, without anything being split.

    Raises:
        InputError: if there are no ratings.
    """
    if settings.test_until is not None:
        ratings = ratings.where(F.col("rated_at") < F.lit(utc(settings.test_until)))
    _, boundary = _boundaries(settings.fractions)
    return utc(settings.test_from or _test_from(ratings, boundary))


def _test_from(ratings: DataFrame, boundary: Fraction) -> datetime:
    """The instant of the row at the boundary.

    Moved where no instant but the first is before it: train and validation each need one. With
    fewer than three instants a part stays empty.
    """
    column = SortedColumn.of(ratings.select(F.unix_micros("rated_at").alias("at")), "at")
    middle, instant = _cut(column, [boundary / 2, boundary])
    if not column.lowest < middle < instant:
        second = _next_instant(column, column.lowest)
        instant = max(instant, _next_instant(column, second))
    return instant_of(instant)


def _next_instant(column: SortedColumn, instant: int) -> int:
    """The first instant after that one; the same where there is none."""
    later = column.frame.where(F.col(column.name) > instant).agg(F.min(column.name))
    found = later.collect()[0][0]
    return instant if found is None else int(found)


def _distinct_cuts(column: SortedColumn, validation_from: int, test_from: int) -> tuple[int, int]:
    """The cuts, moved where instants are so few that a part would be empty.

    Where both cuts fall on one instant, such as one of three days, validation begins at the instant
    before; where train would be empty, at the second of all. With less than three instants a part
    stays empty.
    """

    def nearest(condition: str, choose: Callable[[str], Column], otherwise: int) -> int:
        found = column.frame.where(condition).agg(choose(column.name)).collect()[0][0]
        return otherwise if found is None else int(found)

    if validation_from == test_from:
        validation_from = nearest(f"{column.name} < {test_from}", F.max, test_from)
    if validation_from == column.lowest:
        validation_from = nearest(f"{column.name} > {column.lowest}", F.min, validation_from)
    if test_from <= validation_from:
        test_from = nearest(f"{column.name} > {validation_from}", F.min, validation_from)
    return validation_from, test_from


def _at_instants(ratings: DataFrame, validation_from: datetime, test_from: datetime) -> Assignment:
    validation_from, test_from = utc(validation_from), utc(test_from)
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


def _user_fraction(ratings: DataFrame | Stored, boundaries: Sequence[Fraction]) -> Assignment:
    part = F.when(_held_out(1), TEST).when(_held_out(0), VALIDATION).otherwise(F.lit(TRAIN))
    return _cut_by_user(ratings, partial(_shares, boundaries), [Fold(part)], cuts=len(boundaries))


def _cut_by_user(
    ratings: DataFrame | Stored,
    places: Places,
    folds: Sequence[Fold],
    *,
    cuts: int,
    until: datetime | None = None,
) -> Assignment:
    """The ratings, each with what `cuts_of` found of its user.

    Args:
        ratings: to be cut.
        places: of `cuts_of`.
        folds: whose expressions read the cuts.
        cuts: of `cuts_of`.
        until: what is from this instant on, which is test, is not cut, and a cut at a user's first
            instant moves to the next; None: all is cut, and such a cut is void.
    """
    if until is None:
        found, users = cuts_of(ratings, places, cuts=cuts)
    else:
        found, users = cuts_of(ratings, places, cuts=cuts, until=_micros(until), moved=True)
    frame, kept = _with_cuts(frame_of(ratings), found, users)
    no_cold_users = (VALIDATION, TEST) if until is None else (VALIDATION,)
    return Assignment(frame, folds, no_cold_users=no_cold_users, kept=kept)


def _with_cuts(rows: DataFrame, found: DataFrame, users: int) -> tuple[DataFrame, list[DataFrame]]:
    """Each row with what `cuts_of` found of its user, and what is persisted for that."""
    if users <= _SENT_USERS:
        return rows.join(F.broadcast(found), "user", "left"), [found]
    # The join is a shuffle, and the parts are read from it one after the other.
    frame = cached(rows.join(found, "user", "left"))
    return frame, [found, frame]


def _shares(boundaries: Sequence[Fraction], rows: int) -> list[int | None]:
    """The places at which shares of `rows` ratings end; none where nothing is left after one."""
    places = [_floor(rows * share) for share in boundaries]
    return [place if place < rows else None for place in places]


def _held_out(cut: int) -> Column:
    """Whether a row is at or after a user's cut; a cut at the user's first instant is void."""
    at = F.col(f"_cut{cut}")
    return (F.col("rated_at") >= at) & (at > F.col("_first"))


def _last(ratings: DataFrame | Stored, n: int) -> Assignment:
    part = F.when(_from_place(0), TEST).when(_from_place(1), VALIDATION).otherwise(F.lit(TRAIN))
    return _cut_by_user(ratings, partial(_from_end, n), [Fold(part)], cuts=2)


def _from_end(n: int, rows: int) -> list[int | None]:
    """The places of the last n of `rows` ratings and of the n before; none without one before."""
    return [rows - held if rows > held else None for held in (n, 2 * n)]


def _from_place(cut: int) -> Column:
    """Whether a row is a user's row at that place, or after it."""
    at, item = F.col(f"_cut{cut}"), F.col(f"_item{cut}")
    return (F.col("rated_at") > at) | ((F.col("rated_at") == at) & (F.col("item") >= item))


# -- as given ---------------------------------------------------------------------------------


def _given(ratings: DataFrame, given: DataFrame, share: Fraction, *, seed: int) -> Assignment:
    """The parts as they were given; where validation was not, a share of train takes its place.

    That is the latest share of each user where train has more than one instant, else one drawn by
    row.
    """
    part = F.col("part")
    # The join is a shuffle, and the parts are read from it one after the other.
    rows = cached(ratings.join(given, ["user", "item"]))
    try:
        if rows.where(part == VALIDATION).limit(1).collect():
            return Assignment(rows, [Fold(part)], kept=[rows])
        train = rows.where(part == TRAIN)
        first, last = train.agg(F.min("rated_at"), F.max("rated_at")).collect()[0]
        if first == last:
            key = _row_hash(seed)
            keys = SortedColumn.of(train.select(key.alias("key")), "key")
            (validation_from,) = _cut(keys, [1 - share])
            taken = _taken_from_train(key >= validation_from)
            return Assignment(rows, [Fold(taken)], kept=[rows])
        found, users = cuts_of(train, partial(_shares, [1 - share]), cuts=1, moved=True)
    except BaseException:
        rows.unpersist()
        raise
    frame, kept = _with_cuts(rows, found, users)
    fold = Fold(_taken_from_train(_held_out(0)))
    return Assignment(frame, [fold], no_cold_users=[VALIDATION], kept=[*kept, rows])


def _taken_from_train(held_out: Column) -> Column:
    """The part that a row was given in, or validation for what is held out of train."""
    part = F.col("part")
    return F.when((part == TRAIN) & held_out, VALIDATION).otherwise(part)


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


def _k_fold_users(
    ratings: DataFrame | Stored, folds: int, held_out: Fraction, *, seed: int
) -> Assignment:
    key = user_hash(seed)
    users = cached(frame_of(ratings).select("user_id").distinct().select(key.alias("key")))
    try:
        ring = _ring(SortedColumn.of(users, "key"), folds)
    finally:
        users.unpersist()
    parts = [
        F.when(_held_out(0) & _within(key, test), TEST)
        .when(_held_out(0) & _within(key, validation), VALIDATION)
        .otherwise(F.lit(TRAIN))
        for test, validation in ring
    ]
    numbered = [Fold(part, number=i) for i, part in enumerate(parts)]
    return _cut_by_user(ratings, partial(_shares, [1 - held_out]), numbered, cuts=1)


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


def user_hash(seed: int) -> Column:
    """A number for each user that depends on the id in the source and the seed alone."""
    return _hash(seed, ["user_id"])


def _hash(seed: int, columns: Iterable[str]) -> Column:
    # Without its sign, differences of two hashes cannot overflow.
    hashed = F.xxhash64(F.lit(seed).cast("long"), *columns)
    return F.shiftrightunsigned(hashed, 1)


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


def instant_of(micros: int) -> datetime:
    """The instant of so many microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def utc(instant: datetime) -> datetime:
    """An instant of the settings, which is in UTC where it names no zone."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _literal(instant: datetime) -> Column:
    return F.timestamp_micros(F.lit(_micros(instant)))
