"""Hybrid factors: users and items are sums of the embeddings of their features (Kula 2015).

With f the features of user u and g those of item i, among them one that all of a side have,

    p_u = P_u + sum of E_f,   q_i = Q_i + sum of E_g,   score(u, i) = p_u . q_i

as LightFM has it. What is minimised is the objective of implicit ALS (Hu, Koren and Volinsky 2008),
with the penalty on the own embeddings, P and Q, and on those of features:

    sum over u, i of c_ui (x_ui - p_u . q_i)^2
        + lambda (sum of n_u |P_u|^2 + sum of n_i |Q_i|^2) + lambda kappa (sum of |E|^2)

where n counts likings and kappa is `feature_regularization`. It is lowered in turns, each exact:

- With users and embeddings held still, each q_i is a row of implicit ALS that is drawn to the sum
  of its features' embeddings in place of 0; then each p_u likewise.
- With p or q held still, embeddings are a ridge regression on them: `embeddings.ridge`.

That is the alternation of regression-based latent factors (Agarwal and Chen 2009). A user or item
without a liking has the sum of its features' embeddings, and so a score from features alone.

References:
    Maciej Kula. Metadata Embeddings for User and Item Cold-start Recommendations. CBRecSys 2015.
    Deepak Agarwal, Bee-Chung Chen. Regression-based Latent Factor Models. KDD 2009.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from recpipe.errors import MissingError
from recpipe.kernels import ids
from recpipe.kernels.als import initial_factors, solve_exactly
from recpipe.kernels.normal_equations import Objective
from recpipe.models.als.block.blocks import number_of_blocks
from recpipe.models.als.block.packing import ITEM, USER, counted
from recpipe.models.als.block.solving import Solve
from recpipe.models.als.block.whole import Whole
from recpipe.models.als.fold_in import AlsObjective
from recpipe.models.als.mllib import preferences
from recpipe.models.factors import FactorModel
from recpipe.models.hybrid.embeddings import ridge
from recpipe.models.hybrid.features import features_of, item_features, kinds_of, user_features
from recpipe.spark import failures
from recpipe.spark.columns import factor_rows
from recpipe.spark.held import plain_plans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.als.block.packing import Packed, Rows
    from recpipe.models.data import TrainingData
    from recpipe.models.hybrid.features import Features
    from recpipe.models.hybrid.settings import HybridSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

_TASKS_A_CORE = 4


@dataclass(frozen=True)
class Hybrid(AlsObjective):
    """Hybrid factors with their settings.

    Args:
        settings: `hybrid`.
    """

    settings: HybridSettings

    name: ClassVar[str] = "hybrid"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`. One seed and one number of blocks make one model, to the bit.

        The driver holds the features of users and items, 8 bytes for each that each has, and the
        factors of both sides. Time is that of implicit ALS, and some hundred passes over the
        features on the driver in each iteration. A user without a liking and without features gets
        no list.

        Raises:
            FitError: if there is no liking.
            MissingError: if the factors of one side are above `max_broadcast_mb`.
        """
        own, scored = self.settings, self.fed(data)
        plan = DrawnSolve(self.name, self.objective(), "cholesky", 0, 0, seed)
        spark = scored.sparkSession
        with ExitStack() as undo:
            undo.enter_context(failures.as_fit_errors(self.name))
            found = undo.enter_context(counted(scored, name=self.name))
            terms = user_features(data.users, own), item_features(data.items, own)
            sides = [
                features_of(of_side, numbers, kinds_of(own), min_count=own.min_count)
                for of_side, (numbers, _) in zip(terms, found.counts, strict=True)
            ]
            self._check_room(sides, plan)
            cores = spark.sparkContext.defaultParallelism
            blocks = number_of_blocks(own.blocks, ratings=found.ratings, rank=own.rank, cores=cores)
            packed = found.pack(
                blocks=blocks, tasks=min(blocks, _TASKS_A_CORE * cores), rank=own.rank
            )
            undo.callback(packed.release)
            turns = Turns(packed, plan, own, sides, [n for _, n in _ascending(found.counts)])
            undo.callback(turns.close)
            turns.run()
            users, items = (turns.factors_of(side) for side in (USER, ITEM))
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=_frame(spark, "user", users),
            item_factors=_frame(spark, "item", items),
            rank=own.rank,
            refit_config=self,
            predicts_ratings=False,
            details={
                "blocks": blocks,
                "iterations": own.iterations,
                "ratings": packed.ratings,
                "seed": seed,
                "user_features": len(sides[USER].names),
                "item_features": len(sides[ITEM].names),
                "cold_items": len(sides[ITEM].ids) - len(packed.sides[ITEM].ids),
            },
        )

    def objective(self) -> Objective:
        """That of implicit ALS: by it a new user, who has no features, is drawn to 0."""
        own = self.settings
        return Objective(
            own.rank,
            own.regularization,
            own.regularization_exponent,
            implicit=True,
            alpha=own.alpha,
        )

    def fed(self, data: TrainingData) -> DataFrame:
        """What is fitted of ratings: see `mllib.preferences`."""
        return preferences(data, settings=self.settings)

    def _check_room(self, sides: Sequence[Features], plan: Solve) -> None:
        need = max(len(side.ids) for side in sides) * plan.width * 4 / 2**20
        if need > self.settings.max_broadcast_mb:
            raise MissingError(
                f"hybrid: the factors of one side take {need:.0f} MiB, above"
                f" hybrid.max_broadcast_mb = {self.settings.max_broadcast_mb}",
                hint="raise hybrid.max_broadcast_mb if driver and workers have the memory, or"
                " lower the rank",
            )

    def sections(self) -> Mapping[str, Section]:
        return {"hybrid": self.settings}


@dataclass(frozen=True)
class DrawnSolve(Solve):
    """A half-iteration whose rows are drawn to a prior, in place of 0.

    The prior takes the way of the rows from which an approximate solver goes on: rows that are
    solved exactly do not need these.
    """

    def rows(
        self, rows: Rows, other: Floats, base: Floats, begin: Floats | None, *, others: int
    ) -> tuple[Floats, int]:
        """See `Solve.rows`; `begin` is the prior of each row."""
        assert begin is not None  # noqa: S101 - what `Turns` gives
        out = np.empty((len(rows.offsets) - 1, self.width), np.float32)
        return out, solve_exactly(*self.parts(rows, other, base, others=others), begin, out)


def _ascending(counts: Sequence[Any]) -> list[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Ids and their counts, by id."""
    found = []
    for numbers, times in counts:
        order = np.argsort(numbers)
        found.append((numbers[order], times[order]))
    return found


class Turns(Whole):
    """The turns of a fit: items, embeddings of their features, users, embeddings of theirs.

    A side is `USER` or `ITEM`, and what is kept for both is a list by side.

    Args:
        packed: the likings.
        plan: of the fit.
        settings: of the model.
        features: of users and of items.
        counts: how many likings each user and each item has, ascending by id.
    """

    def __init__(
        self,
        packed: Packed,
        plan: DrawnSolve,
        settings: HybridSettings,
        features: Sequence[Features],
        counts: Sequence[NDArray[np.int64]],
    ) -> None:
        super().__init__(packed, plan)
        self.settings, self.features = settings, features
        self.weights = [n.astype(np.float64) ** settings.regularization_exponent for n in counts]
        self.liked_features = [
            of_side.of(packed.sides[n].ids) for n, of_side in enumerate(features)
        ]
        self.embeddings = [self._first_embeddings(side) for side in (USER, ITEM)]
        self.solved: list[Floats] = [np.empty((0, plan.width), np.float32)] * 2

    def _first_embeddings(self, side: int) -> Doubles:
        """(features, width): 0 for those to be learned; constant ones are drawn by the seed."""
        features = self.features[side]
        places = np.arange(len(features.names), dtype=np.int32)
        # Another seed than that of the factors: user n and feature n must not begin alike.
        drawn = initial_factors(
            places, rank=self.plan.objective.rank, seed=self.plan.seed + 1, side=side
        ).astype(np.float64)
        drawn[features.learned] = 0
        return drawn

    def run(self) -> None:
        """All iterations; `factors_of` has what comes of them."""
        users = self.first(USER)
        with plain_plans(self.spark):
            for _ in range(self.settings.iterations):
                items = self._turn(ITEM, users)
                users.destroy()
                users = self._turn(USER, items)
                items.destroy()
        users.destroy()

    def _turn(self, side: int, other: Any) -> Any:
        """Solve the factors of a side, and then its embeddings.

        Returns:
            The factors, sent to the workers; the caller destroys them.
        """
        nothing = np.zeros((self.plan.width, self.plan.width))
        prior = self._held(self._blocks(side, self._from_features(side)), [nothing])
        found = self.solve(side, other, prior)
        prior.destroy()
        self.solved[side] = found.value.factors
        self._learn(side)
        own = (self.settings.user, self.settings.item)[side]
        if own == "learned":
            return found
        # Without embeddings of their own, users or items are the sums of those of their features.
        found.destroy()
        self.solved[side] = self._from_features(side)
        return self._held(self._blocks(side, self.solved[side]))

    def _learn(self, side: int) -> None:
        """Solve the embeddings that are learned for the factors of the side as they are."""
        learned, embeddings = self.features[side].learned, self.embeddings[side]
        matrix = self.liked_features[side]
        targets = self.solved[side].astype(np.float64)
        if not learned.all():
            targets -= matrix[:, ~learned] @ embeddings[~learned]
        embeddings[learned] = ridge(
            matrix[:, learned],
            targets,
            self.weights[side],
            self.settings.feature_regularization,
            start=embeddings[learned],
        )

    def _from_features(self, side: int) -> Floats:
        """(rows, width) the sums of embeddings of all that have likings."""
        return np.asarray(self.liked_features[side] @ self.embeddings[side], np.float32)

    def _blocks(self, side: int, factors: Floats) -> list[Floats]:
        """The rows of all that have likings, by the blocks they are packed in."""
        place = self.packed.sides[side]
        return [factors[place.range_of(block)] for block in range(place.blocks)]

    def factors_of(self, side: int) -> tuple[NDArray[np.int32], Floats]:
        """Ids, ascending, and factors of all that have likings or a feature."""
        features = self.features[side]
        factors = np.asarray(features.matrix @ self.embeddings[side], np.float32)
        factors[ids.positions(features.ids, self.packed.sides[side].ids)] = self.solved[side]
        return features.ids, factors[:, : self.plan.objective.rank]


def _frame(spark: SparkSession, side: str, found: tuple[NDArray[np.int32], Floats]) -> DataFrame:
    numbers, factors = found
    rows = factor_rows(side, numbers, factors, np.zeros(len(numbers), np.float32))
    return spark.createDataFrame(pa.Table.from_batches([rows]))


__all__ = ["Hybrid"]
