"""Mean + user bias + item bias, regularised and solved exactly: the baseline of ratings."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import FitError, nothing_to_fit
from recpipe.kernels import biases as kernel
from recpipe.models.baselines.popularity import mean_rating
from recpipe.models.factors import FactorModel
from recpipe.spark.columns import arrow_row, as_array, batch_of
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.baselines.settings import BiasesSettings
    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.ranking.histories import Histories
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

_RATINGS_OF_A_PART = 2_000_000
_TOLERANCE = 1e-8  # well below what float32 biases can tell apart
_MAX_STEPS = 200


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
            solver = _Solver(packed, self.settings, mean=float(mean), width=width)
            solution = solver.in_one_task() if parts == 1 else solver.solve()
            return FactorModel.fitted(
                scratch,
                name=self.name,
                user_factors=solver.user_factors(solution),
                item_factors=solver.item_factors(solution),
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


class _Solver:
    """The equations of the item biases over packed ratings.

    Args:
        packed: of `_pack`, cached.
        settings: the regularizations.
        mean: of all ratings.
        width: one more than the highest item number.
    """

    def __init__(
        self, packed: DataFrame, settings: BiasesSettings, *, mean: float, width: int
    ) -> None:
        self.packed = packed
        self.settings = settings
        self.mean = mean
        self.width = width
        self.spark = packed.sparkSession
        self._solve = partial(
            kernel.item_biases,
            regularization=settings.item_regularization,
            tolerance=_TOLERANCE,
            max_products=_MAX_STEPS,
        )
        self._sums_of = partial(
            _sums, mean=mean, width=width, regularization=settings.user_regularization
        )

    def solve(self) -> kernel.Solution:
        """The item biases, by one job a step.

        Raises:
            ArithmeticError: if they do not converge.
        """
        return self._solve(self._sums_by_job)

    def in_one_task(self) -> kernel.Solution:
        """`solve`, where there is one part: the steps need no job each.

        Raises:
            ArithmeticError: if they do not converge.
        """
        solve, sums_of = self._solve, self._sums_of

        def solved(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for part in _parts(batches):
                # A task that fails is tried again, and what it raised is text: it returns no row.
                with suppress(ArithmeticError):
                    yield arrow_row(_SOLVED, *solve(partial(sums_of, part)))

        rows = self.packed.mapInArrow(solved, _SOLVED).collect()
        if not rows:
            raise kernel.not_solved(_MAX_STEPS)
        counts, biases, steps = rows[0]
        return kernel.Solution(np.frombuffer(counts), np.frombuffer(biases), steps)

    def _sums_by_job(
        self, x: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`_sums` of all parts together."""
        sums_of = self._sums_of
        sent = self.spark.sparkContext.broadcast(x)

        def sums(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for part in _parts(batches):
                yield arrow_row(_SUMS, *sums_of(part, sent.value))

        rows = self.packed.mapInArrow(sums, _SUMS).toArrow()
        sent.destroy()
        counts, totals = np.zeros(self.width), np.zeros(self.width)
        for row in range(rows.num_rows):  # in the order of parts
            counts += as_array(rows.column("counts")[row], np.float64)
            totals += as_array(rows.column("sums")[row], np.float64)
        return counts, totals

    def item_factors(self, solution: kernel.Solution) -> DataFrame:
        """(item, factors, bias) of the items that have ratings."""
        import pyarrow as pa

        items = np.flatnonzero(solution.counts)
        columns = {
            "item": items.astype(np.int32),
            "bias": solution.biases[items].astype(np.float32),
        }
        return _with_no_factors(self.spark.createDataFrame(pa.table(columns)), "item")

    def user_factors(self, solution: kernel.Solution) -> DataFrame:
        """(user, factors, bias): the best user biases beside these item biases."""
        mean, regularization = self.mean, self.settings.user_regularization
        sent = self.spark.sparkContext.broadcast(solution.biases)

        def biases(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for part in _parts(batches):
                left = part.ratings - mean - sent.value[part.items]
                bias = kernel.user_means(
                    left, part.starts, regularization=regularization, weights=part.weights
                )
                yield batch_of(_BIASES, part.users, bias.astype(np.float32))

        users = self.packed.mapInArrow(biases, _BIASES)
        return _with_no_factors(users, "user")


def _with_no_factors(biases: DataFrame, key: str) -> DataFrame:
    return biases.select(key, F.array().cast("array<float>").alias("factors"), "bias")


class _Part(NamedTuple):
    """The ratings of some users, sorted by user, then item.

    Args:
        users: (users,) ascending.
        starts: (users,) where each user's ratings start.
        items: (ratings,) item numbers.
        ratings: (ratings,) as float64.
        weights: (ratings,) of each; None where all weigh 1.
    """

    users: NDArray[np.int32]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    weights: NDArray[np.float64] | None


_SUMS = "counts binary, sums binary"
_SOLVED = "counts binary, biases binary, steps int"
_BIASES = "user int, bias float"
_PACKED = "users binary, starts binary, items binary, ratings binary, weights binary"


def _sums(
    part: _Part,
    x: NDArray[np.float64] | None,
    *,
    mean: float,
    width: int,
    regularization: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weight of the ratings of each item, and `kernel.eliminated` of x at each rating's item.

    Without x, of the ratings less their mean.
    """
    values = part.ratings - mean if x is None else x[part.items]
    total = kernel.eliminated(
        part.items,
        values,
        part.starts,
        width=width,
        regularization=regularization,
        weights=part.weights,
    )
    return np.bincount(part.items, part.weights, minlength=width).astype(np.float64), total


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


def _parts(batches: Iterator[pa.RecordBatch]) -> Iterator[_Part]:
    types: tuple[type[Any], ...] = (np.int32, np.int64, np.int32, np.float32, np.float64)
    for batch in batches:
        for row in range(batch.num_rows):
            users, starts, items, ratings, weights = (
                as_array(column[row], kind)
                for column, kind in zip(batch.columns, types, strict=True)
            )
            yield _Part(
                users,
                starts,
                items,
                ratings.astype(np.float64),
                weights if len(weights) else None,
            )


__all__ = ["Biases"]
