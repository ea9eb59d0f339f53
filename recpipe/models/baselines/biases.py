"""Mean + user bias + item bias, regularised and solved exactly: the baseline of ratings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import FitError, nothing_to_fit
from recpipe.kernels import biases as kernel
from recpipe.models.baselines.equations import Equations, RatingsPart
from recpipe.models.baselines.popularity import mean_rating
from recpipe.models.factors import FactorModel
from recpipe.spark.columns import arrow_row, as_array, batch_of
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.baselines.settings import BiasesSettings
    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.ranking.histories import Histories
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

_RATINGS_OF_A_PART = 2_000_000


@dataclass(frozen=True)
class Biases:
    """Rating = mean + user bias + item bias, all biases solved together.

    Unknown users and items have bias 0, so every pair is predicted. Under a half-life the squared
    error of each rating is multiplied by its weight; the mean is a weighted one.

    Args:
        settings: the two regularizations, in pseudo-ratings.
    """

    settings: BiasesSettings
    name: ClassVar[str] = "biases"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`; nothing is random.

        Item biases pass through the driver, users never do. Ratings are packed once by user; each
        step of conjugate gradients is then a small job. Where one task holds all ratings, all steps
        together are one job.
        """
        del seed
        train = frame_of(data.ratings)
        first = train.agg(F.count(F.lit(1)), mean_rating(data), F.max("item")).collect()[0]
        count, mean, width = int(first[0]), first[1], int(first[2] or 0) + 1
        if not count:
            raise nothing_to_fit(self.name)
        # From the data alone, so that sums are taken in the same order on every machine.
        parts = math.ceil(count / _RATINGS_OF_A_PART)
        packed = cached(_pack(data, parts=parts))
        try:
            own = self.settings
            equations = Equations(
                packed,
                _parts,
                parts=parts,
                ratings=count,
                mean=float(mean),
                width=width,
                user_regularization=own.user_regularization,
                item_regularization=own.item_regularization,
            )
            solution = equations.solve()
            return FactorModel.fitted(
                scratch,
                name=self.name,
                user_factors=_user_factors(equations, solution),
                item_factors=_item_factors(packed.sparkSession, solution),
                rank=0,
                mean=float(mean),
                refit_config=self,
                scale=data.bounds,
                unknown="zero",
                details={"ratings": count, "parts": parts, "steps": solution.steps},
            )
        except ArithmeticError as error:
            raise FitError(
                f"{self.name}: {error}", hint="raise the regularization of section biases"
            ) from error
        finally:
            packed.unpersist()

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: all of them, as they are."""
        return data.ratings

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn`: the best user bias beside the biases of the items, of equal weights."""
        expected = fitted.mean + items.biases.astype(np.float64)
        return _BiasRows(expected, self.settings.user_regularization)

    def sections(self) -> Mapping[str, Section]:
        return {"biases": self.settings}


@dataclass(frozen=True, eq=False)
class _BiasRows:
    """The biases of users, each a regularised mean of what the items leave over.

    Args:
        expected: (n,) mean + bias of each item.
        regularization: of the users.
    """

    expected: NDArray[np.float64]
    regularization: float

    def __call__(self, rows: Histories) -> NDArray[np.float32]:
        left = rows.values - self.expected[rows.items]
        found = kernel.user_means(left, rows.offsets[:-1], regularization=self.regularization)
        return found.astype(np.float32)[:, None]


def _item_factors(spark: SparkSession, solution: kernel.Solution) -> DataFrame:
    """(item, factors, bias) of the items that have ratings."""
    import pyarrow as pa

    items = np.flatnonzero(solution.counts)
    columns = {
        "item": items.astype(np.int32),
        "bias": solution.biases[items].astype(np.float32),
    }
    return _with_no_factors(spark.createDataFrame(pa.table(columns)), "item")


def _user_factors(equations: Equations, solution: kernel.Solution) -> DataFrame:
    """(user, factors, bias): the best user biases beside these item biases."""
    mean, regularization = equations.mean, equations.user_regularization
    packed = equations.packed
    sent = packed.sparkSession.sparkContext.broadcast(solution.biases)

    def biases(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in _parts(batches):
            left = part.ratings - mean - sent.value[part.items]
            bias = kernel.user_means(
                left, part.starts, regularization=regularization, weights=part.weights
            )
            yield batch_of(_BIASES, part.users, bias.astype(np.float32))

    return _with_no_factors(packed.mapInArrow(biases, _BIASES), "user")


def _with_no_factors(biases: DataFrame, key: str) -> DataFrame:
    return biases.select(key, F.array().cast("array<float>").alias("factors"), "bias")


_BIASES = "user int, bias float"
_PACKED = "users binary, starts binary, items binary, ratings binary, weights binary"


def _pack(data: TrainingData, *, parts: int) -> DataFrame:
    """The ratings as one row a part, each user in one part: later passes convert no row."""

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        held = list(batches)
        if sum(batch.num_rows for batch in held):
            table = pa.Table.from_batches(held)
            user, item, rating, *more = (column.to_numpy() for column in table.columns)
            order = np.lexsort((item, user))
            users, starts = np.unique(user[order], return_index=True)
            weights = more[0][order] if more else np.empty(0)
            yield arrow_row(
                _PACKED, users, starts.astype(np.int64), item[order], rating[order], weights
            )

    columns = [F.col("user"), F.col("item"), F.col("rating").cast("float")]
    if data.half_life is not None:
        columns.append(data.weight.alias("weight"))
    rows = frame_of(data.ratings).select(columns)
    return rows.repartition(parts, "user").mapInArrow(pack, _PACKED)


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[RatingsPart]:
    types: tuple[type[Any], ...] = (np.int32, np.int64, np.int32, np.float32, np.float64)
    for batch in batches:
        for row in range(batch.num_rows):
            users, starts, items, ratings, weights = (
                as_array(column[row], kind)
                for column, kind in zip(batch.columns, types, strict=True)
            )
            yield RatingsPart(
                users,
                starts,
                items,
                ratings.astype(np.float64),
                weights if len(weights) else None,
            )


__all__ = ["Biases"]
