"""Spark's own `ALSModel` over our factors, with lists by our top-N."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.ml import recommendation as spark_ml
from pyspark.ml.util import MLReader
from pyspark.sql import functions as F

from recpipe.ranking.engine import Scoring, top_n
from recpipe.ranking.factor_scorer import FactorScorer
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.user_batch import UserInputs
from recpipe.recommend.settings import Recommend
from recpipe.spark.workers import use_this_python

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.ranking.item_blocks import ItemBlocks


class ALSModel(spark_ml.ALSModel):
    """A fitted model: `transform`, `userFactors`, `itemFactors` and persistence are Spark's own.

    The JVM holds Spark's model itself, so what is saved is in Spark's format: any Spark reads it,
    and this class reads what any Spark saved. Only the lists are made by `recpipe.ranking`,
    which takes one more parameter: the pairs to leave out. Their order is total: score descending,
    then id ascending. A saved Pipeline of such models is read back with Spark's own class.
    """

    @classmethod
    def over(cls, user_factors: DataFrame, item_factors: DataFrame, *, rank: int, uid: str) -> Any:
        """A model of factors.

        Args:
            user_factors: (id int, features array<float>), cheap to read again.
            item_factors: likewise.
            rank: length of the features.
            uid: of the model.
        """
        context: Any = user_factors.sparkSession.sparkContext
        java = context._jvm.org.apache.spark.ml.recommendation.ALSModel  # noqa: SLF001
        # As a py4j call takes them: the constructor is public to the JVM alone.
        return cls(java(uid, rank, user_factors._jdf, item_factors._jdf))  # noqa: SLF001

    @classmethod
    def read(cls) -> Any:
        """The reader of what `save` wrote, or Spark's own ALSModel."""
        return _Reader(cls)

    def recommendForAllUsers(self, numItems: int, exclude: DataFrame | None = None) -> DataFrame:  # noqa: N802, N803 - as Spark has them
        """(user, recommendations array<struct<item, rating>>): the best items of every user.

        Args:
            numItems: most items a user.
            exclude: pairs to leave out, such as what users have rated: the columns `userCol` and
                `itemCol` are read. None: nothing.
        """
        return self._lists("user", None, numItems, exclude)

    def recommendForAllItems(self, numUsers: int, exclude: DataFrame | None = None) -> DataFrame:  # noqa: N802, N803
        """(item, recommendations array<struct<user, rating>>): see `recommendForAllUsers`."""
        return self._lists("item", None, numUsers, exclude)

    def recommendForUserSubset(  # noqa: N802
        self,
        dataset: DataFrame,
        numItems: int,  # noqa: N803
        exclude: DataFrame | None = None,
    ) -> DataFrame:
        """The same for the users of `dataset` that the model knows; its `userCol` is read."""
        return self._lists("user", dataset, numItems, exclude)

    def recommendForItemSubset(  # noqa: N802
        self,
        dataset: DataFrame,
        numUsers: int,  # noqa: N803
        exclude: DataFrame | None = None,
    ) -> DataFrame:
        """The same for the items of `dataset` that the model knows; its `itemCol` is read."""
        return self._lists("item", dataset, numUsers, exclude)

    def _lists(
        self, side: str, subset: DataFrame | None, n: int, exclude: DataFrame | None
    ) -> DataFrame:
        use_this_python(self.userFactors.sparkSession)
        names = {"user": self.getUserCol(), "item": self.getItemCol()}
        factors = {"user": self.userFactors, "item": self.itemFactors}
        other = "item" if side == "user" else "user"
        # To the top-N whoever gets a list is the user.
        asking = factors[side].select(F.col("id").alias("user"), "features")
        if subset is not None:
            wanted = subset.select(F.col(names[side]).cast("int").alias("user")).distinct()
            asking = asking.join(wanted, "user", "left_semi")
        no_bias = F.lit(0.0).cast("float").alias("bias")
        # Ids may be any integers; the top-N keeps a table by number.
        ids = np.sort(factors[other].select("id").toArrow().column("id").to_numpy())
        spark = asking.sparkSession
        numbers = pa.array(np.arange(len(ids), dtype=np.int32))
        numbered = F.broadcast(spark.createDataFrame(pa.table({"id": ids, "item": numbers})))

        def items() -> ItemBlocks:
            rows = factors[other].join(numbered, "id")
            return send_items(
                rows.select("item", F.col("features").alias("factors"), no_bias),
                lambda some: FactorScorer.of(some, rank=self.rank),
                count=len(ids),
                item_bytes=FactorScorer.item_bytes(rank=self.rank),
                limit_mb=Recommend().max_broadcast_mb,
                what=f"{other} factors",
            )

        if exclude is None:
            seen = asking.select("user", F.lit(0).alias("item")).limit(0)
        else:
            pairs = exclude.select(
                F.col(names[side]).cast("int").alias("user"),
                F.col(names[other]).cast("int").alias("id"),
            )
            seen = pairs.join(numbered, "id").select("user", "item")
        users = asking.select("user", F.col("features").alias("factors"), no_bias)
        scoring = Scoring(items, UserInputs(vectors=users, width=self.rank + 1))
        place = F.struct("rank", "id", F.col("score").alias("rating"))
        return (
            top_n(scoring, None, seen=seen, n=n)
            .frame.join(numbered, "item")
            .groupBy(F.col("user").alias(names[side]))
            .agg(F.sort_array(F.collect_list(place)).alias("places"))
            .select(
                names[side],
                F.transform(
                    "places", lambda p: F.struct(p["id"].alias(names[other]), p["rating"])
                ).alias("recommendations"),
            )
        )


class _Reader(MLReader["ALSModel"]):
    """Spark's reader, whose model becomes one of ours."""

    def __init__(self, cls: type[ALSModel]) -> None:
        self.cls, self.reader = cls, spark_ml.ALSModel.read()

    def session(self, session: Any) -> _Reader:
        self.reader.session(session)
        return self

    def load(self, path: str) -> ALSModel:
        model: Any = self.reader.load(path)
        ours = self.cls(model._java_obj)  # noqa: SLF001
        ours._transfer_params_from_java()  # noqa: SLF001
        return ours


__all__ = ["ALSModel"]
