"""Ratings into parts, one entry for every strategy."""

from __future__ import annotations

from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.contracts import RATINGS, SPLIT
from recpipe.errors import InputError
from recpipe.spark.interactions import frame_of
from recpipe.split.cold import keep_known
from recpipe.split.parts import PARTS, SplitParts
from recpipe.split.strategies import Fold, assign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recpipe.split.settings import Split
    from recpipe.storage import Stored


@contextmanager
def split(ratings: DataFrame | Stored, settings: Split, *, seed: int) -> Iterator[list[SplitParts]]:
    """The parts of every fold (one without folds), to be written before the block ends.

    The same rows give the same parts, whatever their order and partitions. Within the block
    whatever cost a shuffle is persisted.

    Args:
        ratings: as contracts.RATINGS: one row a (user, item).
        settings: the strategy and its parameters, and what becomes of cold users and items.
        seed: of the strategies that draw (random, k_fold, k_fold_users).

    Yields:
        Folds in order; frames have the columns of contracts.SPLIT. `check_no_leak` and
        `count_parts` then look at what was written.

    Raises:
        ContractError: if the ratings have other columns or types.
        InputError: if a part would be empty; before anything is written.
        UsageError: if the settings contradict each other.
    """
    RATINGS.check_schema(frame_of(ratings))
    assigned = assign(ratings, settings, seed=seed)
    frame = assigned.frame
    keys = [
        key
        for key, policy in (("user", settings.cold_users), ("item", settings.cold_items))
        # Looking for cold users costs a join, and there are none where each user was cut alone.
        if policy == "drop" and not (key == "user" and assigned.by_user)
    ]
    try:
        folds = [_parts(frame, fold, keys=keys) for fold in assigned.folds]
        _refuse_empty(folds, settings)
        yield folds
    finally:
        for kept in assigned.kept:
            kept.unpersist()


def _parts(frame: DataFrame, fold: Fold, *, keys: Sequence[str]) -> SplitParts:
    train, validation, test = (
        frame.where(fold.part == name).select(*SPLIT.columns) for name in PARTS
    )
    return SplitParts(
        train=train,
        validation=keep_known(validation, train, keys=keys),
        test=keep_known(test, train, keys=keys),
        fold=fold.number,
        cutoffs=fold.cutoffs,
    )


def _refuse_empty(folds: Sequence[SplitParts], settings: Split) -> None:
    """Raise InputError unless every part has a row; one job for all folds."""
    one_of_each = [
        frame.limit(1).select(F.lit(i).alias("fold"), F.lit(name).alias("part"))
        for i, parts in enumerate(folds)
        for name, frame in parts.named()
    ]
    found = {(row.fold, row.part) for row in reduce(DataFrame.unionAll, one_of_each).collect()}
    for i, parts in enumerate(folds):
        for name in PARTS:
            if (i, name) not in found:
                cut = ", ".join(f"{key} {at.isoformat()}" for key, at in parts.cutoffs.items())
                raise InputError(
                    f"{parts} by {settings.strategy}: no rows in {name}{cut and f' ({cut})'}",
                    hint="use more ratings, other shares or instants, or another split.strategy",
                )
