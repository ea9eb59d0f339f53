"""The `sgd` model: settings, fit, and the fitted factors."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.arrow import names_of
from recpipe.errors import FitError, MissingError
from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.arrow import as_array
from recpipe.models.chunks import ITEM, USER, chunked, counted, counts
from recpipe.models.factors import FactorModel
from recpipe.models.ring import PeerLostError, obstacle
from recpipe.models.sgd.algorithm import Plan
from recpipe.models.sgd.grid import Grid, ItemTable, UserRule, number_of_blocks
from recpipe.models.sgd.memory import check_memory
from recpipe.models.sgd.one_task import OneTask
from recpipe.models.sgd.packing import pack
from recpipe.models.sgd.ring import RingExchange
from recpipe.models.sgd.strata import SparkExchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches
    from recpipe.models.sgd.exchange import Exchange, Trained
    from recpipe.models.sgd.packing import Packed
    from recpipe.settings import Scale
    from recpipe.settings import Sgd as SgdSettings
    from recpipe.storage import Folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sgd:
    """Biased matrix factorisation by distributed stochastic gradient descent (DSGD).

    r^ = mean + b_u + b_i + p_u . q_i (Koren, Bell and Volinsky 2009), fitted over strata of blocks
    that share no user and no item (Gemulla et al. 2011). Blocks are visited in a fixed order, and
    each in the order of its users and items, so one seed and one number of blocks give one model,
    to the bit, whatever the timing, the placement or the retries.

    Args:
        settings: `sgd`.
        scale: of the ratings; predictions are clipped to it or, with `bounded`, squeezed into it.
    """

    settings: SgdSettings
    scale: Scale

    name: ClassVar[str] = "sgd"

    def fit(
        self, train: DataFrame, *, validation: DataFrame | None, scratch: Folder, seed: int
    ) -> FactorModel:
        """See the protocol. With `validation` the factors are those of its best epoch.

        Raises:
            FitError: if there is no rating, a pair occurs twice, or the fit diverges.
            MissingError: if `sgd.blocks` makes blocks that are larger than a task can hold, or the
                ring was asked for and cannot run here.
            PeerLostError: if the ring was asked for and its tasks do not reach each other.
        """
        packed = self._pack(train, validation)
        try:
            plan = self._plan(packed, seed=seed)
            check_memory(train.sparkSession, plan)
            exchange, trained = self._trained(packed, plan, scratch)
            try:
                return self._fitted(packed, plan, exchange, trained, scratch=scratch)
            finally:
                trained.release()
        finally:
            packed.release()

    def _fitted(
        self, packed: Packed, plan: Plan, exchange: Exchange, trained: Trained, *, scratch: Folder
    ) -> FactorModel:
        progress = trained.progress
        best = progress.curve[progress.best - 1]
        log.info("sgd: epoch %d of %d is the best", best.epoch, len(progress.curve))
        users, items = _factors(packed, trained, plan)
        return FactorModel.fitted(
            scratch,
            name=self.name,
            user_factors=users,
            item_factors=items,
            rank=plan.rank,
            mean=plan.offset,
            again=self._again(progress.best),
            scale=(self.scale.min, self.scale.max),
            link="sigmoid" if plan.span else "identity",
            details={
                "blocks": plan.grid.blocks,
                "exchange": exchange.name,
                "epochs": len(progress.curve),
                "best_epoch": progress.best,
                "stopped_early": progress.stopped_early,
                "learning_curve": progress.report(),
                "ratings": packed.train_rows,
                "validation_ratings": packed.validation_rows,
                "seed": plan.seed,
            },
        )

    def sections(self) -> Mapping[str, Any]:
        return {
            "sgd": self.settings.model_dump(mode="json"),
            "ingest": {"rating_scale": self.scale.model_dump(mode="json")},
        }

    def _again(self, epochs: int) -> Sgd:
        """For a fit without validation: as many epochs as were best, and all of them."""
        return Sgd(self.settings.model_copy(update={"epochs": epochs, "patience": 0}), self.scale)

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

    def _pack(self, train: DataFrame, validation: DataFrame | None) -> Packed:
        with chunked(train) as chunks:
            # The table of items is O(items), and so are the item factors.
            found, times = counts(counted(chunks, ITEM).toArrow(), ITEM)
            ratings = int(times.sum())
            if not ratings:
                raise FitError("sgd: no rating to fit", hint="look at the split")
            grid = Grid(
                number_of_blocks(
                    self.settings.blocks,
                    ratings=ratings,
                    rank=self.settings.rank,
                    cores=train.sparkSession.sparkContext.defaultParallelism,
                )
            )
            items = ItemTable.of(found, times, blocks=grid.item_blocks)
            users = _user_rule(chunks, ratings=ratings, blocks=grid.blocks)
            return pack(chunks, validation, grid=grid, items=items, users=users)

    def _plan(self, packed: Packed, *, seed: int) -> Plan:
        own = self.settings
        low = span = 0.0
        offset = packed.mean
        if own.bounded and self.scale.max > self.scale.min:
            low, span = self.scale.min, self.scale.max - self.scale.min
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
            initial_scale=own.initial_scale,
            patience=own.patience,
            min_improvement=own.min_improvement,
            checkpoint_interval=own.checkpoint_interval,
            seed=seed,
            offset=offset,
            low=low,
            span=span,
        )


def _user_rule(chunks: DataFrame, *, ratings: int, blocks: int) -> UserRule:
    if blocks == 1:
        return UserRule.hashed(1)
    threshold = UserRule.threshold(ratings, blocks=blocks)
    loads = (
        counted(chunks, USER)
        .mapInArrow(partial(_loads, blocks=blocks, threshold=threshold), _LOADS)
        .toArrow()
    )
    user, block, count = (loads.column(name).to_numpy() for name in ("user", "block", "ratings"))
    heavy = block < 0
    light = np.zeros(blocks, np.int64)
    np.add.at(light, block[~heavy], count[~heavy])
    return UserRule.of(user[heavy], count[heavy], light=light)


_LOADS = "user int, block int, ratings long"


def _loads(batches: Batches, *, blocks: int, threshold: int) -> Batches:
    """Heavy users with their ratings, of block -1; for the others, the sums of their blocks."""
    hashed = UserRule.hashed(blocks)
    light = np.zeros(blocks, np.int64)
    for batch in batches:
        user, count = counts(pa.Table.from_batches([batch]), USER)
        heavy = count > threshold
        np.add.at(light, hashed.block(user[~heavy]), count[~heavy])
        yield _load_rows(user[heavy], np.full(int(heavy.sum()), -1, np.int32), count[heavy])
    numbers = np.arange(blocks, dtype=np.int32)
    yield _load_rows(np.full(blocks, -1, np.int32), numbers, light)


def _load_rows(*columns: NDArray[Any]) -> pa.RecordBatch:
    names = names_of(_LOADS)
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names=names)


def _factors(packed: Packed, trained: Trained, plan: Plan) -> tuple[DataFrame, DataFrame]:
    """(user, factors, bias) and (item, factors, bias)."""
    spark = packed.cells.sparkSession
    numbers = range(packed.grid.item_blocks)
    item_ids = spark.createDataFrame(
        pa.table(
            {
                "number": pa.array(numbers, pa.int32()),
                "ids": [packed.items.ids(j).tobytes() for j in numbers],
            }
        )
    )
    users, items = (
        trained.factors.where(F.col("side") == side)
        .select("number", "data")
        .join(ids, "number")
        .mapInArrow(
            partial(_rows, name=name, rank=plan.rank),
            f"{name} int, factors array<float>, bias float",
        )
        for name, side, ids in (("user", USERS, packed.user_ids()), ("item", ITEMS, item_ids))
    )
    return users, items


def _rows(batches: Batches, *, name: str, rank: int) -> Batches:
    """Blocks of factors to one row an id."""
    for batch in batches:
        for at in range(batch.num_rows):
            ids = as_array(batch.column("ids")[at], np.int32)
            block = as_array(batch.column("data")[at], np.float32).reshape(-1, rank + 1)
            ends = np.arange(len(ids) + 1, dtype=np.int32) * rank
            factors = pa.ListArray.from_arrays(ends, np.ascontiguousarray(block[:, :rank]).ravel())
            bias = np.ascontiguousarray(block[:, rank])
            yield pa.RecordBatch.from_arrays(
                [pa.array(ids), factors, pa.array(bias)], names=[name, "factors", "bias"]
            )


__all__ = ["Sgd"]
