"""Spark MLlib's alternating least squares: explicit, implicit, and with non-negative factors.

MLlib multiplies the penalty of a row by its number of ratings (implicit: of positives), as ALS-WR
does (Zhou et al. 2008). It has no biases: the factors carry them.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from py4j.protocol import Py4JError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F

from recpipe.errors import FitError
from recpipe.models.factors import FactorModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

    from recpipe.feedback import Scale
    from recpipe.models.als.settings import Als, AlsExplicit, AlsImplicit
    from recpipe.models.blocks import Blocks
    from recpipe.storage import Folder

_WORK_OF_A_BLOCK = 150_000_000
"""Ratings x rank that one block holds under `auto`: 4 blocks for 8 million ratings at rank 64,
which was the fastest measured there, and 2 for anything small."""
_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class ExplicitAls:
    """Ratings approximated by user factors . item factors; `nmf` if `non_negative`.

    Args:
        shared: what all MLlib models share.
        own: rank, iterations, regularization.
        scale: of the ratings; predictions are clipped to it.
        non_negative: whether factors are held at or above 0 (NNLS), as in non-negative matrix
            factorisation.
    """

    shared: Als
    own: AlsExplicit
    scale: Scale
    non_negative: bool = False

    @property
    def name(self) -> str:
        return "nmf" if self.non_negative else "als_explicit"

    def fit(
        self, train: DataFrame, *, validation: DataFrame | None, scratch: Folder, seed: int
    ) -> FactorModel:
        """See the protocol; `validation` is not looked at."""
        del validation
        return _fit(
            self,
            train.select("user", "item", "rating"),
            {"nonnegative": self.non_negative},
            scratch=scratch,
            seed=seed,
            predicts_ratings=True,
        )

    def sections(self) -> Mapping[str, Any]:
        return _sections(self)


@dataclass(frozen=True)
class ImplicitAls:
    """Which items a user takes up at all, with more confidence where there is more evidence.

    Hu, Koren and Volinsky (2008): preference p is 1 for a liked item, else 0, and its error weighs
    1 + alpha x strength. MLlib reads both from one number x: p = (x > 0), weight 1 + alpha |x|.
    So a low rating fed as it is would count as liked; `preferences` says what is fed instead.

    Args:
        shared: what all MLlib models share.
        own: rank, iterations, regularization, alpha, and what counts as liked.
        scale: of the ratings, for strengths.
    """

    shared: Als
    own: AlsImplicit
    scale: Scale

    name: ClassVar[str] = "als_implicit"

    def fit(
        self, train: DataFrame, *, validation: DataFrame | None, scratch: Folder, seed: int
    ) -> FactorModel:
        """See the protocol; `validation` is not looked at.

        A user without a liked rating gets no factors, and so no list.
        """
        del validation
        return _fit(
            self,
            preferences(train, settings=self.own, scale=self.scale),
            {"implicitPrefs": True, "alpha": self.own.alpha},
            scratch=scratch,
            seed=seed,
            predicts_ratings=False,
        )

    def sections(self) -> Mapping[str, Any]:
        return _sections(self)


def preferences(ratings: DataFrame, *, settings: AlsImplicit, scale: Scale) -> DataFrame:
    """(user, item, rating): what MLlib is fed, for `ImplicitAls`.

    Liked ratings, those from `preference_from`, become their strength, which is 1 or, with
    `confidence = "rating"`, their place on the scale: its first step 1/steps, its last 1. What
    becomes of the others is `below`: `unobserved` leaves them out, so that they weigh as little as
    an item never rated; `disliked` feeds -1, a preference of 0 with the confidence of a liked one.
    """
    liked = F.col("rating") >= settings.preference_from
    strength: Column = F.lit(1.0)
    if settings.confidence == "rating":
        step = scale.step or 0.0
        span = scale.max - scale.min + step
        strength = (F.col("rating") - (scale.min - step)) / span
    if settings.below == "unobserved":
        ratings = ratings.where(liked)
    fed = F.when(liked, strength).otherwise(-1.0).cast("float")
    return ratings.select("user", "item", fed.alias("rating"))


def block_count(blocks: Blocks, *, ratings: int, rank: int, parallelism: int) -> int:
    """How many user blocks, and item blocks, a fit has.

    auto: one for every 150 million of ratings x rank, at least 2 and at most 1000, whatever the
    machine: initial factors depend on the blocks, and so does the model.
    cores: twice `parallelism`, the fastest measured.
    """
    if blocks == "auto":
        return max(2, min(_MOST_BLOCKS, math.ceil(ratings * rank / _WORK_OF_A_BLOCK)))
    return 2 * parallelism if blocks == "cores" else int(blocks)


def _fit(
    model: ExplicitAls | ImplicitAls,
    ratings: DataFrame,
    parameters: Mapping[str, Any],
    *,
    scratch: Folder,
    seed: int,
    predicts_ratings: bool,
) -> FactorModel:
    spark, own, shared = ratings.sparkSession, model.own, model.shared
    ratings = ratings.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        count = ratings.count()
        if not count:
            raise FitError(
                f"{model.name}: no rating to fit", hint="look at train and preference_from"
            )
        blocks = block_count(
            shared.blocks,
            ratings=count,
            rank=own.rank,
            parallelism=spark.sparkContext.defaultParallelism,
        )
        als = ALS(
            rank=own.rank,
            maxIter=own.iterations,
            regParam=own.regularization,
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
        # Without a folder MLlib leaves checkpoints out in silence, and past some thirty iterations
        # the lineage overflows the stack. Never set back: setting one makes a folder in it, and so
        # would bring back the scratch of an earlier fit, for good.
        spark.sparkContext.setCheckpointDir(scratch.path("checkpoints"))
        with _released(spark):
            fitted = als.fit(ratings)
            return FactorModel.fitted(
                scratch,
                name=model.name,
                user_factors=_factors("user", fitted.userFactors),
                item_factors=_factors("item", fitted.itemFactors),
                rank=own.rank,
                again=model,
                scale=(model.scale.min, model.scale.max),
                predicts_ratings=predicts_ratings,
                details={
                    "blocks": blocks,
                    "iterations": own.iterations,
                    "ratings": count,
                    "seed": seed,
                },
            )
    except (Py4JError, PySparkException) as error:
        first = str(error).strip().splitlines()[0]
        raise FitError(
            f"{model.name}: {first}", hint="run with --verbose for Spark's own words"
        ) from error
    finally:
        ratings.unpersist()


def _factors(side: str, factors: DataFrame) -> DataFrame:
    return factors.select(
        F.col("id").alias(side),
        F.col("features").alias("factors"),
        F.lit(0.0).cast("float").alias("bias"),
    )


@contextmanager
def _released(spark: SparkSession) -> Iterator[None]:
    """Release what MLlib cached inside the block: it hands out no handle on those RDDs."""
    java: Any = spark.sparkContext._jsc  # noqa: SLF001
    before = set(java.getPersistentRDDs())
    try:
        yield
    finally:
        for number, rdd in dict(java.getPersistentRDDs()).items():
            if number not in before:
                rdd.unpersist(False)


def _sections(model: ExplicitAls | ImplicitAls) -> Mapping[str, Any]:
    return {
        "als": model.shared.model_dump(mode="json"),
        model.name: model.own.model_dump(mode="json"),
        "ingest": {"rating_scale": model.scale.model_dump(mode="json")},
    }


__all__ = ["ExplicitAls", "ImplicitAls", "block_count", "preferences"]
