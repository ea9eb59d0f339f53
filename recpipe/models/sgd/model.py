"""The `sgd` model: settings, fit, and the fitted factors."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recpipe.distributed import PeerLostError, obstacle
from recpipe.errors import GivenUpError, MissingError, UsageError, nothing_to_fit
from recpipe.models.factors import FactorModel
from recpipe.models.sgd.algorithm import Plan
from recpipe.models.sgd.fold_in import row_solver
from recpipe.models.sgd.grid import Grid, number_of_blocks
from recpipe.models.sgd.memory import check_memory
from recpipe.models.sgd.one_task import OneTask
from recpipe.models.sgd.packing import factors_by_id, pack
from recpipe.models.sgd.placing import placed
from recpipe.models.sgd.ring import RingExchange
from recpipe.models.sgd.strata import SparkExchange
from recpipe.models.sgd.units import PLAIN, Units
from recpipe.spark.chunks import chunked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column

    from recpipe.models.data import TrainingData
    from recpipe.models.fold_in import RowSolver
    from recpipe.models.sgd.algorithm import FitProgress
    from recpipe.models.sgd.exchange import Exchange, Trained
    from recpipe.models.sgd.packing import Packed
    from recpipe.models.sgd.settings import SgdSettings
    from recpipe.ranking.factor_scorer import ItemArrays
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

log = logging.getLogger(__name__)

_UNIFORM = 0.05
"""Above all first factors with `sgd.init` = uniform."""


@dataclass(frozen=True)
class Sgd:
    """Biased matrix factorisation by distributed stochastic gradient descent (DSGD).

    r^ = mean + b_u + b_i + p_u . q_i (Koren, Bell and Volinsky 2009), fitted over strata of blocks
    that share no user and no item (Gemulla et al. 2011). Blocks are visited in a fixed order, and
    each in the order of its users and items, so one seed and one number of blocks give one model,
    to the bit, whatever the timing, the placement or the retries.

    Args:
        settings: `sgd`. Predictions are clipped to the scale of the ratings or, with `bounded`,
            squeezed into it.
    """

    settings: SgdSettings

    name: ClassVar[str] = "sgd"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit` and `fit_weighed`."""
        weight = None if data.half_life is None else data.weight
        return self.fit_weighed(data, weight, scratch=scratch, seed=seed)

    def fit_weighed(
        self, data: TrainingData, weight: Column | None, *, scratch: Folder, seed: int
    ) -> FactorModel:
        """With a validation part the factors are those of its best epoch.

        Where ratings weigh, the gradient of the squared error of each is multiplied by its weight,
        and the penalty counts ratings whole; those of validation all weigh the same.

        Args:
            data: see `Model.fit`.
            weight: of each of the ratings; None: all weigh the same.
            scratch: see `Model.fit`.
            seed: see `Model.fit`.

        Raises:
            FitError: if there is no rating, a pair occurs twice, or the fit diverges.
            GivenUpError: if it falls behind `data.give_up_above`.
            UsageError: if `sgd.open_bounds` or `sgd.round_predictions` asks for the step of a scale
                that has none.
            MissingError: if `sgd.blocks` makes blocks that are larger than a task can hold, or the
                ring was asked for and cannot run here.
            PeerLostError: if the ring was asked for and its tasks do not reach each other.
        """
        self._check_step(data)
        units = Units.of(data.scale)
        packed = self._pack(data.ratings, data.validation, units, weight)
        try:
            limits = tuple(limit / units.size for limit in data.give_up_above)
            bounds = units.bounds(self._beyond(data))
            plan = self._plan(packed, seed=seed, give_up_above=limits, bounds=bounds)
            check_memory(packed.cells.sparkSession, plan)
            exchange, trained = self._trained(packed, plan, scratch)
            try:
                return self._fitted(packed, plan, exchange, trained, data, scratch=scratch)
            finally:
                trained.release()
        finally:
            packed.release()

    def _fitted(
        self,
        packed: Packed,
        plan: Plan,
        exchange: Exchange,
        trained: Trained,
        data: TrainingData,
        *,
        scratch: Folder,
    ) -> FactorModel:
        progress = trained.progress
        units = Units.of(data.scale)
        if progress.given_up:
            raise _given_up(progress, units)
        best = progress.curve[progress.best - 1]
        log.info("sgd: epoch %d of %d is the best", best.epoch, len(progress.curve))
        # With a sigmoid what comes out is on the scale of the ratings already.
        size = 1.0 if plan.span else units.size
        users, items = factors_by_id(
            packed, trained.factors, rank=plan.rank, width=plan.width, size=size
        )
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=users,
            item_factors=items,
            rank=plan.rank,
            mean=plan.offset if plan.span else units.mean(plan.offset),
            refit_config=self._refit_config(progress.best),
            scale=data.bounds,
            link="sigmoid" if plan.span else "identity",
            beyond=self._beyond(data),
            step=data.scale.step if data.scale and self.settings.round_predictions else None,
            details={
                "blocks": plan.grid.blocks,
                "exchange": exchange.name,
                "epochs": len(progress.curve),
                "best_epoch": progress.best,
                "stopped_early": progress.stopped_early,
                "learning_curve": progress.report(size=units.size),
                "ratings": packed.train_rows,
                "validation_ratings": packed.validation_rows,
                "seed": plan.seed,
            },
        )

    def _check_step(self, data: TrainingData) -> None:
        own = self.settings
        for name, asked in (
            ("open_bounds", own.open_bounds),
            ("round_predictions", own.round_predictions),
        ):
            if asked and (data.scale is None or data.scale.step is None):
                raise UsageError(
                    f"sgd.{name}: the scale of the ratings has no step", hint="leave it out"
                )

    def _beyond(self, data: TrainingData) -> float:
        """How far the sigmoid reaches beyond the scale, in ratings."""
        own, scale = self.settings, data.scale
        return scale.step / 2 if own.bounded and own.open_bounds and scale and scale.step else 0.0

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: all of them, as they are."""
        return data.ratings

    def row_solver(self, fitted: FactorModel, items: ItemArrays) -> RowSolver:
        """See `FoldsIn`: by the objective of the descent."""
        return row_solver(self.settings, fitted, items)

    def sections(self) -> Mapping[str, Section]:
        return {"sgd": self.settings}

    def _refit_config(self, epochs: int) -> Sgd:
        """For a fit without validation: as many epochs as were best, and all of them."""
        return Sgd(self.settings.model_copy(update={"epochs": epochs, "patience": 0}))

    def _trained(self, packed: Packed, plan: Plan, scratch: Folder) -> tuple[Exchange, Trained]:
        """The exchange that carried the factors, and what came of it."""
        exchange, reason = self._exchange(packed)
        log.info(
            "sgd: %d ratings in %d blocks, exchange %s: %s",
            packed.train_rows,
            packed.grid.blocks,
            exchange.name,
            reason,
        )
        try:
            return exchange, exchange.train(packed.cells, plan, scratch=scratch)
        except (MissingError, PeerLostError) as error:
            if self.settings.exchange != "auto" or not isinstance(exchange, RingExchange):
                raise
            log.warning("%s; going on with the exchange spark", error.message)
        exchange = SparkExchange()
        return exchange, exchange.train(packed.cells, plan, scratch=scratch)

    def _exchange(self, packed: Packed) -> tuple[Exchange, str]:
        """The exchange to use, and why."""
        blocks = packed.grid.blocks
        if blocks == 1:
            return OneTask(), "one block is one task"
        if self.settings.exchange != "auto":
            exchange = RingExchange() if self.settings.exchange == "ring" else SparkExchange()
            return exchange, "as set"
        if reason := obstacle(packed.cells.sparkSession, tasks=blocks):
            return SparkExchange(), reason
        return RingExchange(), "there is a slot for each block"

    def _pack(
        self,
        train: Interactions,
        validation: Interactions | None,
        units: Units = PLAIN,
        weight: Column | None = None,
    ) -> Packed:
        with chunked(train, weight=weight) as (chunks, ratings):
            if not ratings:
                raise nothing_to_fit("sgd")
            grid = Grid(
                number_of_blocks(
                    self.settings.blocks,
                    ratings=ratings,
                    rank=self.settings.rank,
                    cores=chunks.sparkSession.sparkContext.defaultParallelism,
                )
            )
            items, users = placed(chunks, grid, ratings=ratings)
            return pack(chunks, validation, grid=grid, items=items, users=users, units=units)

    def _plan(
        self,
        packed: Packed,
        *,
        seed: int,
        give_up_above: tuple[float, ...] = (),
        bounds: tuple[float, float] = PLAIN.bounds(0),
    ) -> Plan:
        own = self.settings
        low = span = 0.0
        offset = packed.mean
        if own.bounded:
            low, span = bounds[0], bounds[1] - bounds[0]
            share = min(max((packed.mean - low) / span, 0.01), 0.99)
            offset = math.log(share / (1 - share))
        return Plan(
            grid=packed.grid,
            users=packed.users,
            items=packed.items.sizes(packed.grid.item_blocks),
            train_rows=packed.train_rows,
            validation_rows=packed.validation_rows,
            rank=own.rank,
            epochs=own.epochs,
            learning_rate=own.learning_rate,
            learning_rate_decay=own.learning_rate_decay,
            regularization=own.regularization,
            bias_regularization=own.bias_regularization,
            initial_scale=_UNIFORM if own.init == "uniform" else own.initial_scale,
            patience=own.patience,
            min_improvement=own.min_improvement,
            checkpoint_interval=own.checkpoint_interval,
            seed=seed,
            offset=offset,
            low=low,
            span=span,
            give_up_above=give_up_above,
            optimizer=own.optimizer,
            beta1=own.beta1,
            beta2=own.beta2,
            batch_size=own.batch_size_for(packed.train_rows),
            uniform=own.init == "uniform",
        )


def _given_up(progress: FitProgress, units: Units) -> GivenUpError:
    curve = tuple(point["validation_rmse"] for point in progress.report(size=units.size))
    limits = progress.plan.give_up_above
    limit = limits[min(len(curve), len(limits)) - 1] * units.size
    return GivenUpError(
        f"sgd: given up after epoch {len(curve)}: its best RMSE on validation is"
        f" {min(curve):.4f}, above {limit:.4f}",
        curve=curve,
    )


__all__ = ["Sgd"]
