"""The models `block_als` and `block_als_implicit`: settings, fit, and the fitted factors."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recpipe.distributed import PeerLostError
from recpipe.errors import MissingError
from recpipe.kernels.normal_equations import Objective
from recpipe.models.als.block.blocks import number_of_blocks
from recpipe.models.als.block.by_block import ByBlock
from recpipe.models.als.block.choice import choose
from recpipe.models.als.block.exchange import factors_by_id
from recpipe.models.als.block.packing import ITEM, USER, counted
from recpipe.models.als.block.ring import Ring
from recpipe.models.als.block.solving import Solve
from recpipe.models.als.block.whole import Whole
from recpipe.models.als.fold_in import AlsObjective
from recpipe.models.als.mllib import preferences
from recpipe.models.factors import FactorModel
from recpipe.spark import failures
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import Column, DataFrame

    from recpipe.models.als.block.choice import Choice
    from recpipe.models.als.block.exchange import FactorExchange
    from recpipe.models.als.block.packing import Packed
    from recpipe.models.als.settings import BlockAlsImplicitSettings, BlockAlsSettings
    from recpipe.models.data import TrainingData
    from recpipe.sections import Section
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockAls(AlsObjective):
    """Ratings approximated by user factors . item factors (Zhou et al. 2008, ALS-WR).

    The objective is that of `ExplicitAls` while `regularization_exponent` is 1, so equal settings
    make models of equal quality. Where ratings weigh, the squared error of each is multiplied by
    its weight, and the penalty counts ratings whole. One seed makes one model, to the bit, whatever
    the blocks, the placement or the retries.

    Args:
        settings: `block_als`.
    """

    settings: BlockAlsSettings

    name: ClassVar[str] = "block_als"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `Model.fit`. A pair that occurs twice counts twice.

        Raises:
            FitError: if there is no rating, or too little regularization to determine a row.
            MissingError: if a guard refuses: ratings of a block, factors in a worker.
        """
        return _fit(self, data, scratch=scratch, seed=seed)

    def objective(self) -> Objective:
        """See `Objective`; explicit."""
        settings = self.settings
        return Objective(settings.rank, settings.regularization, settings.regularization_exponent)

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: all of them, as they are."""
        return data.ratings

    def sections(self) -> Mapping[str, Section]:
        return {self.name: self.settings}


@dataclass(frozen=True)
class BlockAlsImplicit(AlsObjective):
    """Which items a user takes up at all (Hu, Koren and Volinsky 2008; Rendle et al. 2021).

    Ratings become preference and confidence as `ImplicitAls` has them; `kernels.normal_equations.
    Objective` says what is minimised. One seed and one number of blocks make one model, to the bit,
    whatever the placement or the retries.

    Args:
        settings: `block_als_implicit`.
    """

    settings: BlockAlsImplicitSettings

    name: ClassVar[str] = "block_als_implicit"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
        """See `BlockAls.fit`. A user without a liked rating gets no factors, and so no list."""
        return _fit(self, data, scratch=scratch, seed=seed)

    def objective(self) -> Objective:
        """See `Objective`; implicit, by either loss."""
        settings = self.settings
        return Objective(
            settings.rank,
            settings.regularization,
            settings.regularization_exponent,
            implicit=True,
            alpha=settings.alpha,
            unobserved_weight=settings.unobserved_weight,
            loss=settings.loss,
        )

    def fed(self, data: TrainingData) -> Interactions:
        """What is fitted of ratings: see `preferences`."""
        return preferences(data, settings=self.settings)

    def sections(self) -> Mapping[str, Section]:
        return {self.name: self.settings}


AnyBlockAls = BlockAls | BlockAlsImplicit


@dataclass(frozen=True)
class Factors:
    """What a fit found, before anything is written.

    Args:
        users: (user, factors, bias), which can be read again and again.
        items: (item, factors, bias), likewise.
        details: of the fit, for the manifest.
    """

    users: DataFrame
    items: DataFrame
    details: Mapping[str, Any]


@contextmanager
def factorised(
    model: AnyBlockAls,
    fed: Interactions,
    *,
    scratch: Folder | None,
    seed: int,
    weight: Column | None = None,
) -> Iterator[Factors]:
    """The factors of a fit, as long as the `with` statement lasts.

    Args:
        model: the settings.
        fed: (user, item, rating): ratings, or preferences as MLlib is fed them.
        scratch: for factors that are too large to broadcast; None where there is no place.
        seed: of the first factors.
        weight: of each rating of an explicit objective; None: all weigh the same.

    Raises:
        FitError, MissingError: see `BlockAls.fit`.
    """
    settings = model.settings
    plan = Solve(
        model.name,
        model.objective(),
        settings.solver,
        settings.cg_steps,
        settings.subspace_width(settings.rank),
        seed,
    )
    spark = frame_of(fed).sparkSession
    with ExitStack() as undo:
        undo.enter_context(failures.as_fit_errors(model.name))
        found = undo.enter_context(counted(fed, name=model.name, weight=weight))
        cores = spark.sparkContext.defaultParallelism
        blocks = number_of_blocks(
            settings.blocks, ratings=found.ratings, rank=settings.rank, cores=cores
        )
        choice = choose(spark, settings, plan, found, blocks=blocks)
        packed = found.pack(blocks=blocks, tasks=choice.tasks, rank=settings.rank)
        undo.callback(packed.release)
        exchange, held = _trained(model, packed, plan, choice, scratch)
        undo.callback(exchange.close)
        for one in held:
            undo.callback(exchange.release, one)
        users, items = (
            factors_by_id(exchange.blocks(side, held[side]), packed, side=side, plan=plan)
            for side in (USER, ITEM)
        )
        details = {
            "blocks": blocks,
            "exchange": exchange.name,
            "iterations": settings.iterations,
            "ratings": packed.ratings,
            "seed": seed,
        }
        yield Factors(users, items, details)


def _trained(
    model: AnyBlockAls, packed: Packed, plan: Solve, choice: Choice, scratch: Folder | None
) -> tuple[FactorExchange, tuple[Any, Any]]:
    """The exchange that carried the factors, and what it holds of users and items."""
    settings = model.settings
    log.info(
        "%s: %s ratings in %d block%s, exchange %s: %s",
        model.name,
        f"{packed.ratings:,}",
        packed.sides[USER].blocks,
        "" if packed.sides[USER].blocks == 1 else "s",
        "ring" if choice.ring else "spark",
        choice.reason,
    )
    if choice.ring:
        ring = Ring(packed, plan)
        try:
            return ring, ring.train(settings.iterations)
        except (MissingError, PeerLostError) as error:
            if settings.exchange != "auto":
                raise
            log.warning("%s; going on with the exchange spark", error.message)
    exchange = _by_spark(packed, plan, scratch, limit_mb=settings.max_broadcast_mb)
    try:
        return exchange, exchange.train(settings.iterations)
    except BaseException:
        exchange.close()
        raise


def _by_spark(
    packed: Packed, plan: Solve, scratch: Folder | None, *, limit_mb: int
) -> FactorExchange:
    size = max(side.size(plan.width) for side in packed.sides) / 2**20
    if size <= limit_mb:
        return Whole(packed, plan)
    if scratch is None:
        raise MissingError(
            f"{plan.name}: one side's factors take {size:.0f} MiB, above max_broadcast_mb ="
            f" {limit_mb}, and there is no folder to keep them in by block",
            hint="set a checkpoint directory (SparkContext.setCheckpointDir)",
        )
    return ByBlock(packed, plan, scratch=scratch, limit_mb=limit_mb)


def _fit(model: AnyBlockAls, data: TrainingData, *, scratch: Folder, seed: int) -> FactorModel:
    # What is fed of likings is their strength, which has been multiplied by the weight.
    weighed = data.half_life is not None and not model.objective().implicit
    weight = data.weight if weighed else None
    with factorised(model, model.fed(data), scratch=scratch, seed=seed, weight=weight) as found:
        return FactorModel.fitted(
            scratch,
            name=model.name,
            user_factors=found.users,
            item_factors=found.items,
            rank=model.settings.rank,
            refit_config=model,
            scale=data.bounds,
            predicts_ratings=not model.objective().implicit,
            details=found.details,
        )


__all__ = ["BlockAls", "BlockAlsImplicit", "Factors", "factorised"]
