"""Spark MLlib's alternating least squares: explicit, implicit, and with non-negative factors.

MLlib multiplies the penalty of a row by its number of ratings (implicit: of positives), as ALS-WR
does (Zhou et al. 2008). It has no biases: the factors carry them.
"""

from __future__ import annotations

import math
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.feedback import liked_from
from recpipe.models.als.fold_in import AlsObjective, NonNegativeRows
from recpipe.models.factors import FactorModel
from recpipe.spark import failures
from recpipe.spark.checkpoints import set_checkpoint_dir
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of, is_liked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.kernels.normal_equations import Objective
    from recpipe.models.als.settings import AlsExplicitSettings, AlsImplicitSettings, AlsSettings
    from recpipe.models.blocks import Blocks
    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

_WORK_OF_A_BLOCK = 150_000_000
"""Ratings x rank that one block holds under `auto`: 4 blocks for 8 million ratings at rank 64,
which was the fastest measured there, and 2 for anything small."""
_MAX_BLOCKS = 1000


@dataclass(frozen=True)
class ExplicitAls(AlsObjective):
    """Ratings approximated by user factors . item factors; `nmf` if `non_negative`.

    Args:
        shared: what all MLlib models share.
        settings: rank, iterations, regularization.
        non_negative: whether factors are held at or above 0 (NNLS), as in non-negative matrix
            factorisation.
    """

    shared: AlsSettings
    settings: AlsExplicitSettings
    non_negative: bool = False

    @property
    def name(self) -> str:
        return "nmf" if self.non_negative else "als_explicit"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`."""
        ratings = frame_of(data.ratings).select("user", "item", "rating")
        return _fit(
            self,
            ratings,
            {"nonnegative": self.non_negative},
            data=data,
            scratch=scratch,
            seed=seed,
            predicts_ratings=True,
        )

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: all of them, as they are."""
        return data.ratings

    def objective(self) -> Objective:
        """Least squares with MLlib's penalty."""
        from recpipe.kernels.normal_equations import Objective

        return Objective(self.settings.rank, self.settings.regularization)

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn`: as `AlsObjective`, for `nmf` without negative factors."""
        if self.non_negative:
            return NonNegativeRows.of(self.objective(), items)
        return super().row_solver(fitted, items)

    def sections(self) -> Mapping[str, Section]:
        return _sections(self)


@dataclass(frozen=True)
class ImplicitAls(AlsObjective):
    """Which items a user takes up at all, with more confidence where there is more evidence.

    Hu, Koren and Volinsky (2008): preference p is 1 for a liked item, else 0, and its error weighs
    1 + alpha x strength. MLlib reads both from one number x: p = (x > 0), weight 1 + alpha |x|.
    So a low rating fed as it is would count as liked; `preferences` says what is fed instead.

    Args:
        shared: what all MLlib models share.
        settings: rank, iterations, regularization, alpha, and what counts as liked.
    """

    shared: AlsSettings
    settings: AlsImplicitSettings

    name: ClassVar[str] = "als_implicit"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`. A user without a liked rating gets no factors, and so no list."""
        return _fit(
            self,
            preferences(data, settings=self.settings),
            {"implicitPrefs": True, "alpha": self.settings.alpha},
            data=data,
            scratch=scratch,
            seed=seed,
            predicts_ratings=False,
        )

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: see `preferences`."""
        return preferences(data, settings=self.settings)

    def objective(self) -> Objective:
        """Weighted least squares over all items, with MLlib's penalty."""
        from recpipe.kernels.normal_equations import Objective

        own = self.settings
        return Objective(own.rank, own.regularization, implicit=True, alpha=own.alpha)

    def sections(self) -> Mapping[str, Section]:
        return _sections(self)


def preferences(data: TrainingData, *, settings: AlsImplicitSettings) -> DataFrame:
    """(user, item, rating): what MLlib is fed, for `ImplicitAls`.

    Liked ratings, those from `preference_from`, become their strength, which is 1 or, with
    `confidence = "rating"`, their place on the scale: its first step 1/steps, its last 1. The
    strength of implicit feedback is then ln(1 + value). What becomes of the other ratings is
    `below`: `unobserved` leaves them out, so that they weigh as little as an item never rated;
    `disliked` feeds -1, a preference of 0 with the confidence of a liked one. All of it is
    multiplied by the weight of the rating: confidence grows less with one that is old.
    """
    ratings, rating = frame_of(data.ratings), F.col("rating")
    liked = is_liked(liked_from(settings.preference_from, data.scale))
    strength: Column = F.lit(1.0)
    if settings.confidence == "rating":
        scale = data.scale
        if scale is None:
            strength = F.log1p(F.greatest(rating, F.lit(0.0)))
        else:
            step = scale.step or 0.0
            strength = (rating - (scale.min - step)) / (scale.max - scale.min + step)
    if settings.below == "unobserved":
        ratings = ratings.where(liked)
    fed = F.when(liked, strength).otherwise(-1.0) * data.weight
    return ratings.select("user", "item", fed.cast("float").alias("rating"))


def block_count(blocks: Blocks, *, ratings: int, rank: int, parallelism: int) -> int:
    """How many user blocks, and item blocks, a fit has.

    auto: one for every 150 million of ratings x rank, at least 2 and at most 1000, whatever the
    machine: initial factors depend on the blocks, and so does the model.
    cores: twice `parallelism`, the fastest measured.
    """
    if blocks == "auto":
        return max(2, min(_MAX_BLOCKS, math.ceil(ratings * rank / _WORK_OF_A_BLOCK)))
    return 2 * parallelism if blocks == "cores" else int(blocks)


def _fit(
    model: ExplicitAls | ImplicitAls,
    ratings: DataFrame,
    parameters: Mapping[str, Any],
    *,
    data: TrainingData,
    scratch: Folder,
    seed: int,
    predicts_ratings: bool,
) -> FactorModel:
    spark, settings, shared = ratings.sparkSession, model.settings, model.shared
    ratings = cached(ratings)
    try:
        with failures.as_fit_errors(model.name):
            count = ratings.count()
            if not count:
                raise nothing_to_fit(model.name)
            blocks = block_count(
                shared.blocks,
                ratings=count,
                rank=settings.rank,
                parallelism=spark.sparkContext.defaultParallelism,
            )
            als = ALS(
                rank=settings.rank,
                maxIter=settings.iterations,
                regParam=settings.regularization,
                numUserBlocks=blocks,
                numItemBlocks=blocks,
                seed=seed,
                checkpointInterval=shared.checkpoint_interval,
                intermediateStorageLevel=shared.intermediate_storage_level,
                finalStorageLevel=shared.final_storage_level,
                blockSize=shared.block_size,
                coldStartStrategy="drop",
                **parameters,
            )
            with _only_fit(spark, scratch, name=model.name):
                fitted = als.fit(ratings)
                return FactorModel.fitted(
                    scratch,
                    name=model.name,
                    user_factors=_factors("user", fitted.userFactors),
                    item_factors=_factors("item", fitted.itemFactors),
                    rank=settings.rank,
                    refit_config=model,
                    scale=data.bounds,
                    predicts_ratings=predicts_ratings,
                    details={
                        "blocks": blocks,
                        "iterations": settings.iterations,
                        "ratings": count,
                        "seed": seed,
                    },
                )
    finally:
        ratings.unpersist()


def _factors(side: str, factors: DataFrame) -> DataFrame:
    return factors.select(
        F.col("id").alias(side),
        F.col("features").alias("factors"),
        F.lit(0.0).cast("float").alias("bias"),
    )


_FITS = Lock()
"""The checkpoint directory is the context's: one fit of MLlib at a time."""


@contextmanager
def _only_fit(spark: SparkSession, scratch: Folder, *, name: str) -> Iterator[None]:
    """While the `with` lasts no other fit of MLlib runs; then what this one cached is released.

    MLlib hands out no handle on the RDDs that it caches, of which some stay after a fit, and all
    after one that fails. Where an RDD was made is in its description, and Spark lets a thread say
    what stands there.
    """
    context = spark.sparkContext
    java: Any = context._jsc  # noqa: SLF001 - nothing public sets a call site or lists what is cached
    site = f"{name} {uuid.uuid4().hex}"
    with _FITS:
        # Without a folder MLlib leaves checkpoints out in silence, and past some thirty iterations
        # the lineage overflows the stack. Never set back: setting one makes a folder in it, and so
        # would bring back the scratch of an earlier fit, for good.
        set_checkpoint_dir(spark, scratch.path("checkpoints"))
        java.setCallSite(site)
        try:
            yield
        finally:
            java.clearCallSite()
            for rdd in dict(java.getPersistentRDDs()).values():
                if rdd.toString().endswith(f" at {site}"):
                    rdd.unpersist(False)


def _sections(model: ExplicitAls | ImplicitAls) -> Mapping[str, Section]:
    return {"als": model.shared, model.name: model.settings}


__all__ = ["ExplicitAls", "ImplicitAls", "block_count", "preferences"]
