"""What `time_sgd` is once it is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from recpipe.models.base import FittedModel, Vectors
from recpipe.models.temporal.scorer import Calendar, TimeScorer
from recpipe.ranking.engine import Scoring
from recpipe.ranking.factor_scorer import FactorScorer
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import factor_schema
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.spec import LoadOptions
    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

DAYS = "user int, item int, value float"
"""In the place of items the days on which a user has rated, from the first of the fit, and the bias
that is added on each."""

_USERS, _ITEMS, _DAYS = "users", "items", "days"


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeSgdModel(FittedModel):
    """Factors, and biases that change over time: see `scorer.TimeScorer`.

    Args:
        user_rows: (user int, factors array<float>, bias float): as `factors` rank factors, the
            drift and the mean day.
        item_rows: (item int, factors array<float>, bias float): as `factors` rank factors, and what
            is added to the bias in each period.
        days: `DAYS`.
        rank: number of factors.
        users: rows of `user_rows`.
        items: rows of `item_rows`.
        mean: added to every score.
        scale: (lowest, highest) valid rating, to which predictions are clipped.
        calendar: of the fit.
        details: what the fit wants in manifest and report (JSON).
    """

    user_rows: Interactions
    item_rows: Interactions
    days: Interactions
    rank: int
    users: int
    items: int
    mean: float
    scale: tuple[float, float] | None
    calendar: Calendar
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spark(self) -> SparkSession:
        return frame_of(self.item_rows).sparkSession

    @property
    def predicts_ratings(self) -> bool:
        return True

    def item_vectors(self) -> Vectors:
        """The factors of items, without their biases."""
        factors = F.slice("factors", 1, self.rank).alias("factors")
        return Vectors(frame_of(self.item_rows).select("item", factors), self.rank)

    def _scoring(self) -> Scoring:
        inputs = UserInputs(
            vectors=self.user_rows, width=self.rank + 3, histories=self.days, instants=True
        )
        return Scoring(self._send, inputs, users=self.users)

    def _send(self) -> ItemBlocks:
        width = self.rank + self.calendar.bins

        def collect(items: DataFrame) -> TimeScorer:
            inner = FactorScorer.of(items, rank=width, mean=self.mean, scale=self.scale)
            return TimeScorer(inner, self.calendar)

        return send_items(
            frame_of(self.item_rows),
            collect,
            count=self.items,
            item_bytes=FactorScorer.item_bytes(rank=width),
            limit_mb=self.max_broadcast_mb,
            what=f"{self.name}: item factors ({self.items} items, rank and periods {width})",
        )

    def info(self) -> Mapping[str, Any]:
        """Rank, users, items and mean, and what the fit had to tell."""
        sizes = {"rank": self.rank, "users": self.users, "items": self.items, "mean": self.mean}
        return {**self.details, **sizes}

    def _tables(self) -> Mapping[str, Interactions]:
        return {_USERS: self.user_rows, _ITEMS: self.item_rows, _DAYS: self.days}

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "rank": self.rank,
            "users": self.users,
            "items": self.items,
            "mean": self.mean,
            "scale": self.scale,
            "calendar": self.calendar._asdict(),
            "details": dict(self.details),
        }

    @classmethod
    def load(cls, folder: Folder, options: LoadOptions) -> TimeSgdModel:
        """The model that `save` wrote; called by `registry.load`."""
        manifest = options.manifest
        scale = manifest["scale"]
        return cls(
            **options.common,
            user_rows=folder.stored(_USERS, schema=factor_schema("user")),
            item_rows=folder.stored(_ITEMS, schema=factor_schema("item")),
            days=folder.stored(_DAYS, schema=DAYS),
            rank=int(manifest["rank"]),
            users=int(manifest["users"]),
            items=int(manifest["items"]),
            mean=float(manifest["mean"]),
            scale=None if scale is None else (float(scale[0]), float(scale[1])),
            calendar=Calendar(**manifest["calendar"]),
            details=manifest["details"],
        )


__all__ = ["DAYS", "TimeSgdModel"]
