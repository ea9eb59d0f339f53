"""Popularity and mean: the same for everybody, and what every other model must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.factors import FactorModel
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.sections import Section
    from recpipe.storage import Folder


@dataclass(frozen=True)
class Popularity:
    """An item's number of ratings is its score, the same for everybody, cold users included.

    Under a half-life each rating counts as much as it weighs. Counts are exact up to 2^24; above,
    float32 rounds them.
    """

    name: ClassVar[str] = "popularity"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`; nothing is random."""
        del seed
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=None,
            item_factors=_by_item(frame_of(data.ratings), bias=F.sum(data.weight)),
            rank=0,
            refit_config=self,
            predicts_ratings=False,
            unknown="zero",
        )

    def sections(self) -> Mapping[str, Section]:
        return {}


@dataclass(frozen=True)
class Mean:
    """The (weighted) mean of all ratings, for every pair, of unknown users and items too.

    All scores are equal, so its lists are the lowest item numbers.
    """

    name: ClassVar[str] = "mean"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`; nothing is random."""
        del seed
        ratings = frame_of(data.ratings)
        mean = ratings.agg(mean_rating(data)).collect()[0][0]
        if mean is None:
            raise nothing_to_fit(self.name)
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=None,
            item_factors=_by_item(ratings, bias=F.lit(0)),
            rank=0,
            mean=float(mean),
            refit_config=self,
            scale=data.bounds,
            unknown="zero",
        )

    def sections(self) -> Mapping[str, Section]:
        return {}


def mean_rating(data: TrainingData) -> Column:
    """The mean of ratings by their weights; null of none."""
    return F.try_divide(F.sum(data.weight * F.col("rating")), F.sum(data.weight))


def _by_item(ratings: DataFrame, *, bias: Column) -> DataFrame:
    """Item factors of rank 0: one row an item of `ratings`."""
    return (
        ratings.groupBy("item")
        .agg(bias.cast("float").alias("bias"))
        .select("item", F.array().cast("array<float>").alias("factors"), "bias")
    )


__all__ = ["Mean", "Popularity", "mean_rating"]
