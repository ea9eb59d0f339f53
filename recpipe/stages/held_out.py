"""A held-out part as models are evaluated on it: whose lists are asked for, and what is left out.

`evaluate` asks about validation and test, `tune` about validation; both ask for the same.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe import evaluation
from recpipe import split as splits
from recpipe.feedback import liked_from
from recpipe.ranking.pairs import packed_pairs
from recpipe.spark.held import cached
from recpipe.stages.context import Context, scale, unrated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from recpipe.feedback import LikedFrom
    from recpipe.models.base import FittedModel
    from recpipe.ranking.pairs import PackedPairs
    from recpipe.spark.interactions import Mapped
    from recpipe.storage import Run, Stored

# Strategies by which every held-out item is relevant, whatever its rating (docs/contracts.md).
_EVERY_HELD_OUT_ITEM_IS_RELEVANT = frozenset({"leave_one_out", "last_n"})


@dataclass(frozen=True)
class HeldOut:
    """A held-out part of one fold; what of it goes to Python is packed once for all models.

    Args:
        part: its name.
        fold: of k-fold, else None.
        rows: the part itself.
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
        users: (user), those with a relevant item.
        count: how many they are.
        seen: what is no candidate of their lists.
        asked: the pairs of the part, for predictions.
        instant: for which lists are made.
    """

    part: str
    fold: int | None
    rows: Stored
    relevance_threshold: float | None
    users: DataFrame
    count: int
    seen: PackedPairs
    asked: PackedPairs
    instant: datetime

    def lists(self, model: FittedModel, *, n: int) -> Mapped:
        """See `FittedModel.recommend`, of the users who are evaluated."""
        return model.recommend(self.users, n=n, seen=self.seen, instant=self.instant)

    def predictions(self, model: FittedModel) -> Mapped:
        """See `FittedModel.predict`, of the held-out pairs."""
        return model.predict(self.asked)


@contextmanager
def held_out(
    context: Context,
    run: Run,
    parts: splits.SplitParts,
    part: str,
    before: Sequence[DataFrame],
) -> Iterator[HeldOut]:
    """A part as `HeldOut`, as long as the `with` statement lasts.

    Args:
        context: of the stage.
        run: that is evaluated.
        parts: of the fold.
        part: the one that models are evaluated on.
        before: the parts whose items are no candidates.
    """
    threshold = relevance_threshold(context, run)
    rows = parts.stored[part]
    with ExitStack() as stack:

        def held(frame: DataFrame) -> DataFrame:
            frame = cached(frame)
            stack.callback(frame.unpersist)
            return frame

        users = held(evaluation.evaluated_users(rows.frame, relevance_threshold=threshold))
        count = users.count()
        # Sent to Python once for all models, and only for the users who are evaluated.
        seen = _seen(context, run, parts, part, before).join(users, "user", "left_semi")
        packed_seen = packed_pairs(seen, users=count)
        asked = packed_pairs(rows)
        yield HeldOut(
            part=part,
            fold=parts.fold,
            rows=rows,
            relevance_threshold=threshold,
            users=users,
            count=count,
            seen=packed_seen._replace(rows=held(packed_seen.rows)),
            asked=asked._replace(rows=held(asked.rows)),
            instant=parts.asked_at(part) or context.end,
        )


def relevance_threshold(context: Context, run: Run) -> float | None:
    """The lowest rating of a relevant item; None where every held-out item is relevant."""
    return relevant_from(run, context.settings.evaluate.relevance_threshold)


def relevant_from(run: Run, setting: LikedFrom) -> float | None:
    """`relevance_threshold`, where the setting is `setting`."""
    if run.manifest["split"]["strategy"] in _EVERY_HELD_OUT_ITEM_IS_RELEVANT:
        return None
    return liked_from(setting, scale(run))


def _seen(
    context: Context,
    run: Run,
    parts: splits.SplitParts,
    part: str,
    rated: Sequence[DataFrame],
) -> DataFrame:
    """(user, item) that are no candidates: those of other parts, or seen without a rating.

    Where the split holds out what is later, what was seen from the cutoff on does not count. Where
    the part has no cutoff for all, a user's is the first instant that is held out.

    Args:
        context: of the stage.
        run: whose source it is.
        parts: of the fold.
        part: the one that models are evaluated on.
        rated: the parts whose pairs are left out.
    """
    frames = [before.select("user", "item") for before in rated]
    more = unrated(context, run)
    if more is None:
        return reduce(DataFrame.unionByName, frames)
    if run.manifest["split"]["strategy"] in splits.BY_TIME:
        cutoff = parts.cutoffs.get(f"{part}_from")
        if cutoff is None:
            firsts = parts.stored[part].frame.groupBy("user").agg(F.min("rated_at").alias("until"))
            more = more.join(firsts, "user", "left")
        else:
            more = more.withColumn("until", F.lit(cutoff))
        more = more.where(~F.coalesce(F.col("rated_at") >= F.col("until"), F.lit(False)))
    frames.append(more.select("user", "item"))
    return reduce(DataFrame.unionByName, frames)


__all__ = ["HeldOut", "held_out", "relevance_threshold", "relevant_from"]
