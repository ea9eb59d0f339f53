"""Whether the parts of a split, as they were written, know of each other what they must not.

These checks share no code with the strategies, and look at nothing but the rows: a mistake there
is seen here. Each is one or two aggregations over the parts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.errors import LeakError
from recpipe.runtime.parallel import run_all
from recpipe.split.parts import PARTS, TEST, TRAIN, VALIDATION, SplitParts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from recpipe.split.settings import Split

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_no_leak(parts: SplitParts, settings: Split) -> None:
    """Raise LeakError if the parts of one fold break the rule of their strategy.

    global_time: max(train) < min(validation) <= max(validation) < min(test), and the recorded
    cutoffs lie between; where validation is the latest of each user, train and validation are
    before test, and within each user train is before validation.
    user_fraction: the same within each user.
    last_n, leave_one_out: the same within each user for (time, item), and a user has n rows in a
    held-out part or none.
    random, k_fold, given: no (user, item) in two parts. k_fold_users: no held-out row in another
    part, each user held out in one part only, all that is held out later than the user's train
    rows.

    An empty part leaks nothing.

    Args:
        parts: the fold, as read back from storage.
        settings: what it was split by.
    """
    rule = settings.strategy
    match rule:
        case "global_time" if settings.validates_by_user:
            early, late = [TRAIN, VALIDATION], [TEST]
            run_all(
                [
                    partial(_in_order_of_time, parts, rule, earlier=early, later=late),
                    partial(_in_order_within_users, parts, rule, F.col("rated_at")),
                ]
            )
        case "global_time":
            _in_order_of_time(parts, rule, earlier=PARTS[:2], later=PARTS[1:])
        case "user_fraction":
            _in_order_within_users(parts, rule, F.col("rated_at"))
        case "last_n" | "leave_one_out":
            n = settings.last_n if rule == "last_n" else 1
            _exactly_held_out(parts, rule, n, items_kept=settings.cold_items == "keep")
            _in_order_within_users(parts, rule, F.struct("rated_at", "item"))
        case "random" | "k_fold" | "given":
            _no_pair_twice(parts, rule)
        case "k_fold_users":
            _no_pair_twice(parts, rule)
            _held_out_once(parts, rule)
            _in_order_within_users(parts, rule, F.col("rated_at"))


def _in_order_of_time(
    parts: SplitParts, rule: str, *, earlier: Sequence[str], later: Sequence[str]
) -> None:
    """No row of `earlier` is at or after one of a part of `later` that comes after it."""
    at = F.unix_micros("rated_at")
    rows = parts.tagged("rated_at").groupBy("part").agg(F.min(at), F.max(at)).collect()
    ends = {part: (low, high) for part, low, high in rows}
    for before, after in combinations([name for name in PARTS if name in ends], 2):
        last, first = ends[before][1], ends[after][0]
        if before in earlier and after in later and last >= first:
            raise _leak(
                parts, rule, f"{before} goes on to {_text(last)}, {after} starts {_text(first)}"
            )
    for cutoff, at_or_after in (("validation_from", PARTS[1:]), ("test_from", PARTS[2:])):
        if cutoff not in parts.cutoffs:
            continue
        instant = (parts.cutoffs[cutoff] - _EPOCH) // timedelta(microseconds=1)
        for name, (first, last) in ends.items():
            if first < instant if name in at_or_after else last >= instant:
                raise _leak(parts, rule, f"{name} crosses {cutoff} {_text(instant)}")


def _in_order_within_users(parts: SplitParts, rule: str, order: Column) -> None:
    per_user = (
        parts.tagged("user", "item", "rated_at")
        .withColumn("order", order)
        .groupBy("user")
        .agg(
            *(F.max(_if_in(name, "order")).alias(f"last_{name}") for name in PARTS),
            *(F.min(_if_in(name, "order")).alias(f"first_{name}") for name in PARTS),
        )
    )
    says = "{{n}} users have rows in {} that are not before all of theirs in {}"
    broken = {
        # Null, where the user has no row in one of the two, is no leak.
        says.format(earlier, later): F.col(f"last_{earlier}") >= F.col(f"first_{later}")
        for earlier, later in combinations(PARTS, 2)
    }
    _none_of(per_user, broken, parts, rule)


def _exactly_held_out(parts: SplitParts, rule: str, n: int, *, items_kept: bool) -> None:
    held_out = parts.tagged("user").where(F.col("part") != TRAIN).groupBy("user", "part").count()
    broken = {f"{{n}} users have more than {n} rows in a held-out part": F.col("count") > n}
    if items_kept:
        broken[f"{{n}} users have fewer than {n} rows in a held-out part"] = F.col("count") < n
    _none_of(held_out, broken, parts, rule)


def _no_pair_twice(parts: SplitParts, rule: str) -> None:
    pairs = parts.tagged("user", "item").groupBy("user", "item").agg(F.count("*").alias("rows"))
    _none_of(pairs, {"{n} (user, item) pairs are there twice": F.col("rows") > 1}, parts, rule)


def _held_out_once(parts: SplitParts, rule: str) -> None:
    held_out = (
        parts.tagged("user")
        .where(F.col("part") != TRAIN)
        .groupBy("user")
        .agg(F.count_distinct("part").alias("parts"))
    )
    says = "{n} users are held out in validation and in test"
    _none_of(held_out, {says: F.col("parts") > 1}, parts, rule)


def _none_of(frame: DataFrame, broken: Mapping[str, Column], parts: SplitParts, rule: str) -> None:
    """Raise LeakError for the first condition that holds in a row of `frame`; one job for all."""
    found = frame.agg(
        *(F.count_if(condition) for condition in broken.values()),
        *(F.min(F.when(condition, F.col("user"))) for condition in broken.values()),
    ).collect()[0]
    for i, says in enumerate(broken):
        if found[i]:
            example = f"for example user {found[i + len(broken)]}"
            raise _leak(parts, rule, f"{says.format(n=found[i])}, {example}")


def _if_in(part: str, column: str) -> Column:
    return F.when(F.col("part") == part, F.col(column))


def _leak(parts: SplitParts, rule: str, what: str) -> LeakError:
    return LeakError(
        f"{parts} by {rule} leaks: {what}", hint="nothing was fitted on it; report this"
    )


def _text(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat()
