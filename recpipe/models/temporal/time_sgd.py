"""time_sgd: biases that change over time, and factors by SGD on their residuals (timeSVD).

The score of a user and an item at the instant t is

    mean + b_u + a_u dev_u(t) + c_u,day(t) + b_i + d_i,bin(t) + p_u . q_i

that is timeSVD++ of Koren (2009) without its implicit part and with factors that stay as they are.
Biases are fitted first, by alternating ridge regressions (`kernels/time_biases.py`); `sgd`, with
its own settings and early stopping, then learns factors, and corrections of the constant biases,
from the residuals. So a fit is two known fits, one after the other, and no joint optimum.

References:
    Yehuda Koren. Collaborative Filtering with Temporal Dynamics. KDD 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import FitError, nothing_to_fit
from recpipe.kernels import time_biases as kernel
from recpipe.models.linear.gram import check_room
from recpipe.models.sgd.model import Sgd
from recpipe.models.temporal.model import DAYS, TimeSgdModel
from recpipe.models.temporal.scorer import DAY, Calendar
from recpipe.spark.columns import arrow_row, as_array, batch_of, factor_rows, factor_schema
from recpipe.spark.held import cached
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.data import TrainingData
    from recpipe.models.sgd.settings import SgdSettings
    from recpipe.models.temporal.settings import TimeSgdSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

    Batches = Iterator[pa.RecordBatch]
    Doubles = NDArray[np.float64]

_RATINGS_OF_A_PART = 2_000_000
_PACKED = "users binary, items binary, days binary, ratings binary, weights binary"
_SUMS = "sums binary"
_SOLVED = "counts binary, bias binary, bins binary"
_RESIDUALS = "user int, item int, rating float, weight float"

_OF_A_SCALE = {"bounded": False, "open_bounds": False, "round_predictions": False}
"""Settings of `sgd` that have no meaning for residuals. They may be there for `sgd` itself."""


@dataclass(frozen=True)
class TimeSgd:
    """Temporal biases, then SGD.

    Args:
        settings: `time_sgd`.
        sgd: of the factors; what it says of the scale is not for them, since residuals have none.
    """

    settings: TimeSgdSettings
    sgd: SgdSettings

    name: ClassVar[str] = "time_sgd"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> TimeSgdModel:
        """See `Model.fit`. With a validation part the factors are those of their best epoch.

        Where ratings weigh, the squared error of each is multiplied by its weight, in both fits,
        and the penalties stay as they are.

        The driver and each task hold items x bins numbers, and a task a part of the ratings. Time
        grows with the ratings, times the sweeps and the epochs.

        Raises:
            FitError: as `Sgd.fit`, and if a rating has no instant.
            MissingError: as `Sgd.fit`, and if the biases of items are above
                `time_sgd.max_matrix_mb`.
        """
        shape = self._shape(data)
        packed = cached(_pack(data, parts=math.ceil(shape.ratings / _RATINGS_OF_A_PART)))
        try:
            biases = self._biases(packed, shape, scratch)
        finally:
            packed.unpersist()
        validation = None if data.validation is None else _residuals(biases, data.validation)
        rest = replace(
            data,
            ratings=scratch.stored("residuals"),
            validation=validation,
            scale=None,
        )
        weight = None if data.half_life is None else F.col("weight")
        sgd = Sgd(self.sgd.model_copy(update=_OF_A_SCALE)).fit_weighed(
            rest, weight, scratch=scratch / "sgd", seed=seed
        )
        assert sgd.user_factors is not None  # noqa: S101 - sgd has factors of users
        for side, table, factors in (
            ("user", biases.user_rows, sgd.user_factors),
            ("item", biases.item_rows, sgd.item_factors),
        ):
            scratch.write_table(f"{side}-rows", _joined(side, frame_of(factors), frame_of(table)))
        config = sgd.refit_config
        assert isinstance(config, Sgd)  # noqa: S101 - what has fitted it
        return replace(
            biases,
            refit_config=TimeSgd(self.settings, config.settings),
            user_rows=scratch.stored("user-rows", schema=factor_schema("user")),
            item_rows=scratch.stored("item-rows", schema=factor_schema("item")),
            rank=sgd.rank,
            mean=biases.mean + sgd.mean,
            scale=data.bounds,
            details={**sgd.info(), "parts": biases.details["parts"]},
        )

    def _shape(self, data: TrainingData) -> _Shape:
        """What is known of the ratings beforehand; see `fit` for what is refused."""
        found = (
            frame_of(data.ratings)
            .agg(
                F.count(F.lit(1)),
                F.count("rated_at"),
                F.sum(F.col("rating") * data.weight) / F.sum(data.weight),
                F.max("item"),
                F.min(_day()),
                F.max(_day()),
            )
            .collect()[0]
        )
        count, timed, mean, item, first, last = found
        if not count:
            raise nothing_to_fit(self.name)
        if timed < count:
            raise FitError(
                f"time_sgd: {count - timed} of {count} ratings have no instant", hint="use sgd"
            )
        own = self.settings
        check_room(
            item + 1,
            own.bins,
            what=f"the biases of {item + 1} items in {own.bins} periods",
            limit_mb=own.max_matrix_mb,
            model=self.name,
        )
        return _Shape(count, float(mean), item + 1, Calendar(first, last, own.bins, own.power))

    def _biases(self, packed: DataFrame, shape: _Shape, scratch: Folder) -> TimeSgdModel:
        """The biases as a model of rank 0, not clipped; writes the table `residuals` as well."""
        own, spark = self.settings, packed.sparkSession
        penalties = kernel.Penalties(
            own.user_regularization,
            own.drift_regularization,
            own.day_regularization,
            own.item_regularization,
            own.bin_regularization,
        )
        solution = _solved(packed, shape, penalties, sweeps=own.sweeps)
        items = np.flatnonzero(solution.counts.sum(axis=1)).astype(np.int32)
        bins, bias = (each[items].astype(np.float32) for each in (solution.bins, solution.bias))
        # In the float32 of the model: residuals are what its predictions leave over.
        of_items = solution.bias.astype(np.float32)[:, None] + solution.bins.astype(np.float32)
        sent = spark.sparkContext.broadcast(of_items.astype(np.float64))

        def users(batches: Batches) -> Batches:
            for part in _parts(batches, shape):
                found = part.users_beside(sent.value, penalties)
                drift = np.column_stack([found.drift, part.days.centres]).astype(np.float32)
                yield factor_rows("user", part.numbers, drift, found.bias.astype(np.float32))

        def days(batches: Batches) -> Batches:
            for part in _parts(batches, shape):
                found = part.users_beside(sent.value, penalties)
                owners = part.users[part.days.starts]
                numbers = part.days.days.astype(np.int32)
                yield batch_of(DAYS, owners, numbers, found.day.astype(np.float32))

        def residuals(batches: Batches) -> Batches:
            for part in _parts(batches, shape):
                left = part.residuals(sent.value, penalties)
                weights = np.ones(len(left)) if part.weights is None else part.weights
                yield batch_of(
                    _RESIDUALS,
                    part.users,
                    part.items,
                    left.astype(np.float32),
                    weights.astype(np.float32),
                )

        user_schema = factor_schema("user")
        scratch.write_table("user-biases", packed.mapInArrow(users, user_schema))
        scratch.write_table("days", packed.mapInArrow(days, DAYS))
        scratch.write_table("residuals", packed.mapInArrow(residuals, _RESIDUALS))
        sent.destroy()
        import pyarrow as pa

        rows = pa.Table.from_batches([factor_rows("item", items, bins, bias)])
        user_rows = scratch.stored("user-biases", schema=user_schema)
        return TimeSgdModel(
            name=self.name,
            refit_config=self,
            user_rows=user_rows,
            item_rows=spark.createDataFrame(rows),
            days=scratch.stored("days", schema=DAYS),
            rank=0,
            users=user_rows.frame.count(),
            items=len(items),
            mean=shape.mean,
            scale=None,
            calendar=shape.calendar,
            details={"parts": math.ceil(shape.ratings / _RATINGS_OF_A_PART)},
        )

    def sections(self) -> Mapping[str, Section]:
        return {"sgd": self.sgd, "time_sgd": self.settings}


class _Shape(NamedTuple):
    """What is known of the ratings beforehand.

    Args:
        ratings: how many there are.
        mean: of them, weighted.
        width: one more than the highest item number.
        calendar: of their days.
    """

    ratings: int
    mean: float
    width: int
    calendar: Calendar


class _Part(NamedTuple):
    """The ratings of some users, sorted by user, day and item.

    Args:
        users: (ratings,) the user of each.
        items: (ratings,) the item of each.
        cells: (ratings,) item * bins + bin.
        values: (ratings,) less the mean of all.
        days: on which the users have rated.
        weights: (ratings,); None: all weigh the same.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    cells: NDArray[np.int64]
    values: Doubles
    days: kernel.Days
    weights: Doubles | None

    @property
    def numbers(self) -> NDArray[np.int32]:
        """(users,) the number of each."""
        return self.users[self.days.starts[self.days.users]]

    def users_beside(self, of_items: Doubles, penalties: kernel.Penalties) -> kernel.UserBiases:
        """The best parameters of users, beside the biases of items in bins."""
        left = self.values - of_items.ravel()[self.cells]
        return kernel.user_biases(left, self.days, penalties, self.weights)

    def without_users(self, of_items: Doubles, penalties: kernel.Penalties) -> Doubles:
        """(ratings,) ratings less the parameters of users, which are solved beside the items."""
        found = self.users_beside(of_items, penalties)
        return self.values - kernel.of_ratings(found, self.days, ratings=len(self.values))

    def residuals(self, of_items: Doubles, penalties: kernel.Penalties) -> Doubles:
        """(ratings,) ratings less the parameters of users and the biases of items."""
        return self.without_users(of_items, penalties) - of_items.ravel()[self.cells]


def _day() -> Any:
    return F.floor(F.unix_micros("rated_at") / F.lit(DAY)).cast("int")


def _pack(data: TrainingData, *, parts: int) -> DataFrame:
    """_PACKED: one row a part, each user in one part; no weights without a half-life."""
    weighed = data.half_life is not None

    def pack(batches: Batches) -> Batches:
        import pyarrow as pa

        held = list(batches)
        if sum(batch.num_rows for batch in held):
            columns = [column.to_numpy() for column in pa.Table.from_batches(held).columns]
            user, item, day, *_ = columns
            order = np.lexsort((item, day, user))
            packed = [column[order] for column in columns]
            if not weighed:
                packed.append(np.empty(0))
            yield arrow_row(_PACKED, *packed)

    columns = ["user", "item", _day().alias("day"), F.col("rating").cast("float")]
    if weighed:
        columns.append(data.weight.alias("weight"))
    rows = frame_of(data.ratings).select(*columns)
    return rows.repartition(parts, "user").mapInArrow(pack, _PACKED)


def _parts(batches: Batches, shape: _Shape) -> Iterator[_Part]:
    kinds: tuple[type[Any], ...] = (np.int32, np.int32, np.int32, np.float32, np.float64)
    calendar = shape.calendar
    for batch in batches:
        for row in range(batch.num_rows):
            users, items, days, ratings, weights = (
                as_array(column[row], kind)
                for column, kind in zip(batch.columns, kinds, strict=True)
            )
            numbers = days.astype(np.int64)
            yield _Part(
                users,
                items,
                items * np.int64(calendar.bins) + calendar.bin_of(numbers),
                ratings.astype(np.float64) - shape.mean,
                kernel.Days.of(users, numbers - calendar.first, power=calendar.power),
                weights if len(weights) else None,
            )


def _sums(
    part: _Part, of_items: Doubles | None, *, shape: _Shape, penalties: kernel.Penalties
) -> Doubles:
    """`kernel.Sums` of a part."""
    left = part.weights
    if of_items is not None:
        left = part.without_users(of_items, penalties)
        left = left if part.weights is None else left * part.weights
    bins = shape.calendar.bins
    found = np.bincount(part.cells, weights=left, minlength=shape.width * bins)
    return found.astype(np.float64).reshape(shape.width, bins)


def _solved(
    packed: DataFrame, shape: _Shape, penalties: kernel.Penalties, *, sweeps: int
) -> kernel.Solution:
    """The biases of the items: by a job a sweep, or by one where there is one part."""
    sums_of = partial(_sums, shape=shape, penalties=penalties)
    context, square = packed.sparkSession.sparkContext, (shape.width, shape.calendar.bins)

    def in_one_task(batches: Batches) -> Batches:
        for part in _parts(batches, shape):
            yield arrow_row(
                _SOLVED, *kernel.solve(partial(sums_of, part), penalties, sweeps=sweeps)
            )

    if shape.ratings <= _RATINGS_OF_A_PART:
        counts, bias, bins = packed.mapInArrow(in_one_task, _SOLVED).collect()[0]
        return kernel.Solution(
            np.frombuffer(counts).reshape(square),
            np.frombuffer(bias),
            np.frombuffer(bins).reshape(square),
        )

    def by_job(of_items: Doubles | None) -> Doubles:
        sent = context.broadcast(of_items)

        def summed(batches: Batches) -> Batches:
            for part in _parts(batches, shape):
                yield arrow_row(_SUMS, sums_of(part, sent.value))

        rows = packed.mapInArrow(summed, _SUMS).toArrow()
        sent.destroy()
        total = np.zeros(square)
        for row in range(rows.num_rows):  # in the order of parts
            total += as_array(rows.column("sums")[row], np.float64).reshape(square)
        return total

    return kernel.solve(by_job, penalties, sweeps=sweeps)


def _residuals(biases: TimeSgdModel, rows: Any) -> DataFrame:
    """The residuals of other ratings by these biases, of users and items that they know."""
    predicted = biases.predict(rows).frame
    left = (F.col("rating") - F.col("prediction")).cast("float").alias("rating")
    return frame_of(rows).join(predicted, ["user", "item"]).select("user", "item", left)


def _joined(side: str, factors: DataFrame, biases: DataFrame) -> DataFrame:
    """The factors of one followed by those of the other, for ids in both; biases are added up."""
    other = biases.select(side, F.col("factors").alias("more"), F.col("bias").alias("own"))
    return factors.join(other, side).select(
        side,
        F.concat("factors", "more").alias("factors"),
        (F.col("bias") + F.col("own")).cast("float").alias("bias"),
    )


__all__ = ["TimeSgd"]
