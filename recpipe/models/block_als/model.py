"""The models `block_als` and `block_als_implicit`: settings, fit, and the fitted factors."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkException

from recpipe.errors import FitError
from recpipe.kernels.als import Objective
from recpipe.models.als import preferences
from recpipe.models.arrow import as_array
from recpipe.models.block_als.carriers import ByBlock, Whole
from recpipe.models.block_als.packing import ITEM, NAMES, USER, pack
from recpipe.models.block_als.solving import Solve
from recpipe.models.factors import FactorModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches
    from recpipe.models.block_als.carriers import Carrier
    from recpipe.models.block_als.packing import Packed
    from recpipe.settings import BlockAls as ExplicitSettings
    from recpipe.settings import BlockAlsImplicit as ImplicitSettings
    from recpipe.settings import Scale
    from recpipe.storage import Folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockAls:
    """Ratings approximated by user factors . item factors (Zhou et al. 2008, ALS-WR).

    The objective is that of `ExplicitAls`, so equal settings make models of equal quality. One
    seed makes one model, to the bit, whatever the blocks, the placement or the retries.

    Args:
        settings: `block_als`.
        scale: of the ratings; predictions are clipped to it. None: they are not.
    """

    settings: ExplicitSettings
    scale: Scale | None

    name: ClassVar[str] = "block_als"

    def fit(
        self, train: DataFrame, *, validation: DataFrame | None, scratch: Folder, seed: int
    ) -> FactorModel:
        """See the protocol; `validation` is not looked at. A pair that occurs twice counts twice.

        Raises:
            FitError: if there is no rating, or too little regularization to determine a row.
            MissingError: if a guard refuses: ratings of a block, factors in a worker.
        """
        del validation
        return _fit(self, train, scratch=scratch, seed=seed)

    def objective(self) -> Objective:
        own = self.settings
        return Objective(own.rank, own.regularization, own.scale_by_count, False, 0.0)

    def fed(self, ratings: DataFrame) -> DataFrame:
        """What is fitted of ratings: all of them, as they are."""
        return ratings

    def sections(self) -> Mapping[str, Any]:
        return _sections(self)


@dataclass(frozen=True)
class BlockAlsImplicit:
    """Which items a user takes up at all (Hu, Koren and Volinsky 2008).

    Ratings become preference and confidence as `ImplicitAls` has them. One seed and one number of
    blocks make one model, to the bit, whatever the placement or the retries.

    Args:
        settings: `block_als_implicit`.
        scale: of the ratings, for strengths; None: ratings are strengths already.
    """

    settings: ImplicitSettings
    scale: Scale | None

    name: ClassVar[str] = "block_als_implicit"

    def fit(
        self, train: DataFrame, *, validation: DataFrame | None, scratch: Folder, seed: int
    ) -> FactorModel:
        """See `BlockAls.fit`. A user without a liked rating gets no factors, and so no list."""
        del validation
        return _fit(self, train, scratch=scratch, seed=seed)

    def objective(self) -> Objective:
        own = self.settings
        return Objective(own.rank, own.regularization, own.scale_by_count, True, own.alpha)

    def fed(self, ratings: DataFrame) -> DataFrame:
        """What is fitted of ratings: see `preferences`."""
        if self.scale is None:
            return ratings
        return preferences(ratings, settings=self.settings, scale=self.scale)

    def sections(self) -> Mapping[str, Any]:
        return _sections(self)


AnyBlockAls = BlockAls | BlockAlsImplicit


def _fit(model: AnyBlockAls, train: DataFrame, *, scratch: Folder, seed: int) -> FactorModel:
    own = model.settings
    plan = Solve(model.objective(), own.solver, own.cg_steps, seed)
    try:
        packed = pack(model.fed(train), name=model.name, blocks=own.blocks, rank=own.rank)
        try:
            carrier = _carrier(model, packed, plan, scratch)
            log.info(
                "%s: %d ratings in %d blocks, factors %s",
                model.name,
                packed.ratings,
                packed.sides[USER].blocks,
                carrier.name,
            )
            users, items = _alternate(carrier, plan, iterations=own.iterations)
            tables = [
                _table(model.name, packed, side, carrier.blocks(side, held), plan, scratch)
                for side, held in ((USER, users), (ITEM, items))
            ]
            for held in (users, items):
                carrier.release(held)
        finally:
            packed.release()
    except PySparkException as error:
        first = str(error).strip().splitlines()[0]
        raise FitError(
            f"{model.name}: {first}", hint="run with --verbose for Spark's own words"
        ) from error
    return FactorModel.fitted(
        name=model.name,
        user_factors=tables[USER],
        item_factors=tables[ITEM],
        rank=own.rank,
        again=model,
        scale=None if model.scale is None else (model.scale.min, model.scale.max),
        predicts_ratings=not plan.objective.implicit,
        details={
            "blocks": packed.sides[USER].blocks,
            "iterations": own.iterations,
            "ratings": packed.ratings,
            "carrier": carrier.name,
            "seed": seed,
        },
    )


def _carrier(model: AnyBlockAls, packed: Packed, plan: Solve, scratch: Folder) -> Carrier:
    limit = model.settings.max_broadcast_mb
    if max(side.size(plan.width) for side in packed.sides) <= limit * 2**20:
        return Whole(packed, plan)
    return ByBlock(packed, plan, scratch=scratch, limit_mb=limit)


def _alternate(carrier: Carrier, plan: Solve, *, iterations: int) -> tuple[Any, Any]:
    """Items from users, then users from items, as MLlib goes; each time by all rows of a side."""
    users = carrier.first(USER)
    items = carrier.first(ITEM) if plan.continues else None
    for _ in range(iterations):
        for side in (ITEM, USER):
            other, own = (users, items) if side == ITEM else (items, users)
            solved = carrier.solve(side, other, own if plan.continues else None)
            if own is not None:
                carrier.release(own)
            users, items = (users, solved) if side == ITEM else (solved, items)
    return users, items


def _table(
    model: str, packed: Packed, side: int, blocks: DataFrame, plan: Solve, scratch: Folder
) -> DataFrame:
    """(user or item, factors, bias) of a side, as a table in `scratch`."""
    name = NAMES[side]
    work = partial(
        _factor_rows, side=side, index=packed.index, rank=plan.objective.rank, width=plan.width
    )
    rows = blocks.mapInArrow(work, f"{name} int, factors array<float>, bias float")
    return scratch.write_table(f"{model}-{name}_factors", rows)


def _factor_rows(
    batches: Batches, *, side: int, index: Broadcast[Any], rank: int, width: int
) -> Batches:
    place = index.value[side]
    for batch in batches:
        for row in range(batch.num_rows):
            ids = place.ids[place.range_of(batch.column("block")[row].as_py())]
            block = as_array(batch.column("data")[row], np.float32).reshape(-1, width)
            ends = np.arange(len(ids) + 1, dtype=np.int32) * rank
            factors = pa.ListArray.from_arrays(ends, np.ascontiguousarray(block[:, :rank]).ravel())
            yield pa.RecordBatch.from_arrays(
                [pa.array(ids), factors, pa.array(np.zeros(len(ids), np.float32))],
                names=[NAMES[side], "factors", "bias"],
            )


def _sections(model: AnyBlockAls) -> Mapping[str, Any]:
    scale = {} if model.scale is None else {"rating_scale": model.scale.model_dump(mode="json")}
    return {model.name: model.settings.model_dump(mode="json"), "ingest": scale}


__all__ = ["BlockAls", "BlockAlsImplicit"]
