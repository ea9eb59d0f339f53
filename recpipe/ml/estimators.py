"""`ALS` and `SGD` with the parameters and columns of `pyspark.ml.recommendation.ALS`."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.ml.base import Estimator
from pyspark.ml.param.shared import HasStepSize
from pyspark.ml.recommendation import _ALSParams
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ByteType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
)

from recpipe.errors import UsageError
from recpipe.ml.model import ALSModel
from recpipe.models.als.block.model import BlockAls, BlockAlsImplicit, factorised
from recpipe.models.als.settings import BlockAlsImplicitSettings, BlockAlsSettings
from recpipe.models.data import TrainingData
from recpipe.models.sgd.model import Sgd
from recpipe.models.sgd.settings import SgdSettings
from recpipe.spark.interactions import frame_of
from recpipe.spark.workers import use_this_python
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import Column, DataFrame, SparkSession

_INTEGERS = (ByteType, ShortType, IntegerType)
_NUMBERS = (LongType, FloatType, DoubleType, DecimalType)


class _Factorisation(
    Estimator[ALSModel], _ALSParams, DefaultParamsReadable[Any], DefaultParamsWritable
):
    """What both estimators share: parameters, columns, and the way to a model."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        # Spark's own is a hash of the class's name, which Python draws anew for every process.
        self._setDefault(seed=42)
        self.setParams(**given)

    def setParams(self, **given: Any) -> Any:  # noqa: N802 - as Spark has it
        """Set parameters by name."""
        unknown = [name for name in given if not self.hasParam(name)]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no parameter {unknown[0]!r}")
        return self._set(**given)

    def __getattr__(self, name: str) -> Any:
        # setRank, setMaxIter and so on, which Spark writes out one by one.
        parameter = name[3:4].lower() + name[4:]
        if name.startswith("set") and self.hasParam(parameter):
            return lambda value: self._set(**{parameter: value})
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _ratings(self, dataset: DataFrame) -> DataFrame:
        use_this_python(dataset.sparkSession)
        name = self.getRatingCol()
        rating = F.col(name).cast("float") if name else F.lit(1.0).cast("float")
        return dataset.select(
            _ids(dataset, self.getUserCol()).alias("user"),
            _ids(dataset, self.getItemCol()).alias("item"),
            rating.alias("rating"),
        )

    def _model(self, users: DataFrame, items: DataFrame, rank: int) -> ALSModel:
        model: ALSModel = ALSModel.over(users, items, rank=rank, uid=self.uid)
        for name in ("userCol", "itemCol", "predictionCol", "coldStartStrategy", "blockSize"):
            model._set(**{name: self.getOrDefault(name)})  # noqa: SLF001
        model._transfer_params_to_java()  # noqa: SLF001
        return model


class ALS(_Factorisation):
    """Our block ALS with the parameters of `pyspark.ml.recommendation.ALS`.

    `nonnegative=True` is refused. numUserBlocks, numItemBlocks, the storage levels and
    checkpointInterval are taken and change nothing: blocks come from the number of ratings, there
    is no lineage to cut, and the model depends on none of them. Ratings are taken as they are;
    with implicitPrefs a rating above 0 is a preference of confidence 1 + alpha * rating, and one
    below 0 none, as in Spark.
    """

    def _fit(self, dataset: DataFrame) -> ALSModel:
        if self.getNonnegative():
            raise UsageError(
                "recpipe.ml.ALS: nonnegative=True is not supported",
                hint="use pyspark.ml.recommendation.ALS for non-negative factors",
            )
        shared: dict[str, Any] = {
            "rank": self.getRank(),
            "iterations": max(1, self.getMaxIter()),
            "regularization": self.getRegParam(),
        }
        model = (
            BlockAlsImplicit(BlockAlsImplicitSettings(**shared, alpha=self.getAlpha()))
            if self.getImplicitPrefs()
            else BlockAls(BlockAlsSettings(**shared))
        )
        spark = dataset.sparkSession
        place = spark.sparkContext.getCheckpointDir()
        scratch = Folder(spark, place) / f"recpipe-{uuid.uuid4()}" if place else None
        try:
            with factorised(
                model, self._ratings(dataset), scratch=scratch, seed=self.getSeed()
            ) as found:
                users, items = (
                    _kept(frame, side)
                    for frame, side in ((found.users, "user"), (found.items, "item"))
                )
        finally:
            if scratch is not None:
                scratch.delete()
        return self._model(users, items, self.getRank())


class SGD(_Factorisation, HasStepSize):
    """Our biased SGD with the same columns and a model of the same kind.

    maxIter is the number of epochs, stepSize the learning rate of the first. The model has two more
    factors than `rank`, which carry the mean and the biases, so it is an `ALSModel` like any other.
    A pair that occurs twice is refused, as are implicitPrefs and nonnegative.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__()
        own = SgdSettings()
        self._setDefault(
            rank=own.rank,
            maxIter=own.epochs,
            regParam=own.regularization,
            stepSize=own.learning_rate,
        )
        self.setParams(**given)

    def _fit(self, dataset: DataFrame) -> ALSModel:
        for name in ("implicitPrefs", "nonnegative"):
            if self.getOrDefault(name):
                raise UsageError(f"recpipe.ml.SGD: {name}=True is not supported", hint="use ALS")
        settings = SgdSettings(
            rank=self.getRank(),
            epochs=max(1, self.getMaxIter()),
            regularization=self.getRegParam(),
            learning_rate=self.getStepSize(),
        )
        with _scratch(dataset.sparkSession) as scratch:
            data = TrainingData(ratings=self._ratings(dataset))
            fitted = Sgd(settings).fit(data, scratch=scratch, seed=self.getSeed())
            assert fitted.user_factors is not None  # noqa: S101 - sgd has factors of users
            user_factors, item_factors = map(frame_of, (fitted.user_factors, fitted.item_factors))
            one = F.array(F.lit(1.0).cast("float"))
            bias, mean = F.array("bias"), F.lit(fitted.mean)
            whole = F.array((F.col("bias") + mean).cast("float"))
            users = _kept(
                user_factors.select("user", F.concat("factors", whole, one).alias("factors")),
                "user",
            )
            items = _kept(
                item_factors.select("item", F.concat("factors", one, bias).alias("factors")),
                "item",
            )
        return self._model(users, items, self.getRank() + 2)


def _ids(dataset: DataFrame, name: str) -> Column:
    """A column as int32, refused where it holds anything else, as Spark refuses it."""
    kind = dataset.schema[name].dataType
    if not isinstance(kind, _INTEGERS + _NUMBERS):
        raise UsageError(f"column {name} is of type {kind.simpleString()}", hint="give numbers")
    said = F.lit(f"{name}: ALS takes ids that are whole numbers of 32 bits, and found ")
    whole = F.col(name).try_cast("int")
    good = whole.isNotNull() & (whole == F.col(name))
    return F.when(good, whole).otherwise(
        F.raise_error(F.concat(said, F.coalesce(F.col(name).cast("string"), F.lit("null")))).cast(
            "int"
        )
    )


def _kept(factors: DataFrame, side: str) -> DataFrame:
    """(id, features), through the driver: Spark's own model keeps its factors without a folder."""
    table = factors.toArrow().combine_chunks().sort_by(side)
    parts = {"id": table.column(side), "features": table.column("factors")}
    return factors.sparkSession.createDataFrame(pa.table(parts))


@contextmanager
def _scratch(spark: SparkSession) -> Iterator[Folder]:
    """A folder that all of Spark can write to: the checkpoint directory, or a local one."""
    place = spark.sparkContext.getCheckpointDir()
    if place is None and not str(spark.sparkContext.master).startswith("local"):
        raise UsageError(
            "recpipe.ml.SGD keeps checkpoints, and there is no checkpoint directory",
            hint="call SparkContext.setCheckpointDir with a folder that all executors reach",
        )
    with tempfile.TemporaryDirectory(prefix="recpipe-ml-") as local:
        scratch = Folder(spark, place or Path(local)) / f"recpipe-{uuid.uuid4()}"
        try:
            yield scratch
        finally:
            scratch.delete()


__all__ = ["ALS", "SGD"]
