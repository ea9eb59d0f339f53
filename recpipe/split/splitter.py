"""Ratings into parts, one entry for every strategy."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.contracts import RATINGS, SPLIT
from recpipe.errors import InputError, UsageError
from recpipe.spark.interactions import frame_of
from recpipe.split.cold import keep_known
from recpipe.split.parts import PARTS, TEST, TRAIN, VALIDATION, SplitParts
from recpipe.split.strategies import Fold, assign, utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.feedback import Times
    from recpipe.split.settings import Split
    from recpipe.storage import Stored


BY_TIME = frozenset({"global_time", "user_fraction", "last_n", "leave_one_out", "k_fold_users"})
"""Strategies that hold out what is later: of all ratings, or of each user's."""


@dataclass(frozen=True)
class Outcome:
    """The parts that a split has made, and by which strategy.

    Args:
        folds: in order, one without folds; frames have the columns of contracts.SPLIT.
        ratings: what was split: without those from `split.test_until` on.
        settings: with the strategy that was followed.
        reason: why that one, where it was not given.
    """

    folds: list[SplitParts]
    ratings: DataFrame
    settings: Split
    reason: str = ""


@contextmanager
def split(
    ratings: DataFrame | Stored,
    settings: Split,
    *,
    seed: int,
    times: Times = "some",
    given: DataFrame | None = None,
) -> Iterator[Outcome]:
    """The parts of every fold, to be written before the `with` statement ends.

    The same rows give the same parts, whatever their order and partitions. What cost a shuffle is
    persisted until then. `check_no_leak` and `count_parts` look at what was written.

    Args:
        ratings: as contracts.RATINGS: one row a (user, item).
        settings: the strategy and its parameters, and what becomes of cold users and items.
        seed: of the strategies that draw (random, k_fold, k_fold_users, given).
        times: what instants the ratings have.
        given: contracts.GIVEN_PARTS of the ratings, where they came in parts.

    Raises:
        ContractError: if the ratings have other columns or types.
        InputError: if a part would be empty; before anything is written. Under `auto` only train
            must have rows: of a handful of ratings nothing can be held out.
        UsageError: if the settings contradict each other, or the strategy needs instants or given
            parts that the ratings do not have.
    """
    RATINGS.check_schema(frame_of(ratings))
    if settings.test_until is not None:
        ratings = frame_of(ratings).where(F.col("rated_at") < F.lit(utc(settings.test_until)))
    rows = frame_of(ratings)
    chosen, why = settings, ""
    if settings.strategy == "auto" and follows_parts(settings, in_parts=given is not None):
        chosen = settings.model_copy(update={"strategy": "given"})
        why = "the ratings came in parts"
    elif settings.strategy == "auto" and (settings.test_from or settings.test_until):
        # Whoever names instants does not want a split at random.
        chosen = settings.model_copy(update={"strategy": "global_time"})
    if chosen.strategy != "auto":
        _refuse_impossible(chosen, times=times, in_parts=given is not None)
        with _split(ratings, chosen, seed=seed, may_be_empty=False, given=given) as folds:
            yield Outcome(folds, rows, chosen, why)
        return
    reason = {"none": "the ratings have no instants", "one_instant": "all have one instant"}
    random = settings.model_copy(update={"strategy": "random"})
    if times == "some":
        by_time = settings.model_copy(update={"strategy": "global_time"})
        with ExitStack() as stack:
            try:
                attempt = _split(ratings, by_time, seed=seed, may_be_empty=False)
                folds = stack.enter_context(attempt)
            except InputError as error:
                reason["some"] = f"the instants allow no cut ({error.message})"
            else:
                yield Outcome(folds, rows, by_time, "the ratings have instants")
                return
    with _split(ratings, random, seed=seed, may_be_empty=True) as folds:
        yield Outcome(folds, rows, random, reason[times])


def follows_parts(settings: Split, *, in_parts: bool) -> bool:
    """Whether the parts of a split are those that ratings came in.

    Args:
        settings: that name the strategy, or leave it open.
        in_parts: whether the ratings came in parts.
    """
    if settings.strategy == "auto":
        return in_parts and not (settings.test_from or settings.test_until)
    return settings.strategy == "given"


def _refuse_impossible(settings: Split, *, times: Times, in_parts: bool) -> None:
    """Raise UsageError if the ratings lack what the strategy needs."""
    if settings.strategy == "given" and not in_parts:
        raise UsageError(
            "split.strategy given needs ratings that came in parts",
            hint="give --train and --test in place of --input",
        )
    if settings.strategy in BY_TIME:
        need_instants(
            f"split.strategy {settings.strategy}",
            times,
            hint="use split.strategy auto, random or k_fold",
        )


def need_instants(what: str, times: Times, *, hint: str) -> None:
    """Raise UsageError unless the ratings have instants that tell what came first.

    Args:
        what: needs them.
        times: what instants the ratings have.
        hint: what to do without.
    """
    if times != "some":
        lack = "no instants" if times == "none" else "one instant for all"
        raise UsageError(f"{what} needs instants, and the ratings have {lack}", hint=hint)


@contextmanager
def _split(
    ratings: DataFrame | Stored,
    settings: Split,
    *,
    seed: int,
    may_be_empty: bool,
    given: DataFrame | None = None,
) -> Iterator[list[SplitParts]]:
    """The parts by one strategy.

    Args:
        ratings: as of `split`, like the rest.
        settings: with any strategy but auto.
        seed: of the strategies that draw.
        may_be_empty: whether validation and test may be without a row.
        given: as of `split`.
    """
    assigned = assign(ratings, settings, seed=seed, given=given)
    frame = assigned.frame
    dropped = [
        key
        for key, policy in (("user", settings.cold_users), ("item", settings.cold_items))
        if policy == "drop"
    ]
    keys = {
        # Looking for cold users costs a join.
        name: [key for key in dropped if not (key == "user" and name in assigned.no_cold_users)]
        for name in PARTS
    }
    try:
        folds = [_parts(frame, fold, keys=keys) for fold in assigned.folds]
        _refuse_empty(folds, settings, names=[TRAIN] if may_be_empty else PARTS)
        yield folds
    finally:
        for kept in assigned.kept:
            kept.unpersist()


def _parts(frame: DataFrame, fold: Fold, *, keys: Mapping[str, Sequence[str]]) -> SplitParts:
    """One fold; of a held-out part the rows whose `keys` train knows."""
    train, validation, test = (
        frame.where(fold.part == name).select(*SPLIT.columns) for name in PARTS
    )
    return SplitParts(
        train=train,
        validation=keep_known(validation, train, keys=keys[VALIDATION]),
        test=keep_known(test, train, keys=keys[TEST]),
        fold=fold.number,
        cutoffs=fold.cutoffs,
    )


def _refuse_empty(folds: Sequence[SplitParts], settings: Split, *, names: Sequence[str]) -> None:
    """Raise InputError unless the parts of these names have a row; one job for all folds."""
    one_of_each = [
        frame.limit(1).select(F.lit(i).alias("fold"), F.lit(name).alias("part"))
        for i, parts in enumerate(folds)
        for name, frame in parts.named()
        if name in names
    ]
    found = {(row.fold, row.part) for row in reduce(DataFrame.unionAll, one_of_each).collect()}
    for i, parts in enumerate(folds):
        for name in names:
            if (i, name) not in found:
                cut = ", ".join(f"{key} {at.isoformat()}" for key, at in parts.cutoffs.items())
                hint = "use more ratings, other shares or instants, or another split.strategy"
                if settings.strategy == "given":
                    hint = "give --validation as well, or set split.cold_users=keep"
                raise InputError(
                    f"{parts} by {settings.strategy}: no rows in {name}{cut and f' ({cut})'}",
                    hint=hint,
                )
