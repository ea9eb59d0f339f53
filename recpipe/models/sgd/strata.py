"""A stage of Spark for each stratum.

Cells stay cached where they were packed; factors go through Spark's shuffle as a few large binary
rows. It needs nothing but Spark, so it works on every cluster, with dynamic allocation and however
few slots there are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.sgd.algorithm import FitProgress, held_out_error, total, visit
from recpipe.models.sgd.exchange import FACTORS, Trained
from recpipe.models.sgd.packing import cells_of
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import cached, plain_plans

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.sgd.algorithm import Plan
    from recpipe.spark.columns import Batches
    from recpipe.storage import Folder

    Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

_TRAIN = ("block", "step", "train_user", "train_item", "train_rating")
_VALIDATION = ("block", "step", "validation_user", "validation_item", "validation_rating")


@dataclass(frozen=True)
class SparkExchange:
    """A stage for each stratum; see the module."""

    name: ClassVar[str] = "spark"

    def train(self, cells: DataFrame, plan: Plan, *, scratch: Folder) -> Trained:
        """See `Exchange`.

        An epoch is one job: a stage a stratum, and one more where there is a validation part.
        What a lost executor held is computed again from the last checkpoint, to the same bits.
        """
        cache = _CachedFactors(scratch)
        try:
            with plain_plans(cells.sparkSession):
                return _trained(cells, plan, cache)
        except BaseException:
            cache.keep()
            raise


def _trained(cells: DataFrame, plan: Plan, cache: _CachedFactors) -> Trained:
    progress = FitProgress(plan)
    best = current = cache.put(_first(cells, plan))
    while not progress.done:
        epoch = len(progress.curve) + 1
        frame = current.frame
        for stratum in range(plan.grid.blocks):
            frame = _stratum(cells, frame, plan, epoch=epoch, stratum=stratum)
        current = cache.put(frame, checkpoint=current.checkpoint)
        progress.add(*_errors(cells, current.frame, plan))
        progress.check()
        log.debug("sgd: %s", progress.curve[-1])
        if epoch % plan.checkpoint_interval == 0 and not progress.done:
            current = cache.write(current, plan, name=f"sgd-epoch-{epoch:05d}")
        if progress.best == epoch:
            best = current
        cache.keep(best, current)
    cache.keep(best)
    return Trained(best.frame, progress)


@dataclass(frozen=True, eq=False)
class _Factors:
    """FACTORS at the end of an epoch, and the checkpoint that they can be computed again from."""

    frame: DataFrame
    checkpoint: str | None


class _CachedFactors:
    """The factors that are still wanted, cached, and the checkpoints that these rest on."""

    def __init__(self, scratch: Folder) -> None:
        self.scratch = scratch
        self.held: list[_Factors] = []

    def put(self, frame: DataFrame, *, checkpoint: str | None = None) -> _Factors:
        factors = _Factors(cached(frame), checkpoint)
        self.held.append(factors)
        return factors

    def write(self, factors: _Factors, plan: Plan, *, name: str) -> _Factors:
        """The same factors, resting on files: neither plan nor lineage reaches further back."""
        written = self.scratch.write_table(name, factors.frame)
        return self.put(_placed(written, plan), checkpoint=name)

    def keep(self, *wanted: _Factors) -> None:
        """Let go of all factors but these."""
        checkpoints = {factors.checkpoint for factors in self.held} - {None}
        for factors in self.held:
            if factors not in wanted:
                factors.frame.unpersist()
        self.held = [factors for factors in self.held if factors in wanted]
        for name in checkpoints - {factors.checkpoint for factors in self.held}:
            self.scratch.delete(str(name))


def _placed(factors: DataFrame, plan: Plan) -> DataFrame:
    """Each block in the partition of the user block whose task works on it next."""
    return factors.repartitionById(plan.grid.blocks, "place")


def _first(cells: DataFrame, plan: Plan) -> DataFrame:
    """The factors before the first epoch, made where they will be used."""
    blocks = plan.grid.blocks
    numbers = cells.sparkSession.range(0, blocks, 1, blocks).select(F.col("id").cast("int"))
    return _placed(numbers.mapInArrow(partial(_first_blocks, plan=plan), FACTORS), plan)


def _first_blocks(batches: Batches, *, plan: Plan) -> Batches:
    for batch in batches:
        for b in batch.column(0).to_pylist():
            yield arrow_row(FACTORS, b, USERS, b, 0.0, plan.first_users(b))
            for j in plan.grid.slices_of(b):
                yield arrow_row(FACTORS, b, ITEMS, j, 0.0, plan.first_items(j))


def _stratum(
    cells: DataFrame, factors: DataFrame, plan: Plan, *, epoch: int, stratum: int
) -> DataFrame:
    """The factors after a stratum, each where the next one wants it.

    Both are shuffled: Spark forgets the partitioning of cells behind mapInArrow.
    """
    steps = plan.grid.steps_of(stratum)
    wanted = cells.where(F.col("step").between(steps[0], steps[-1])).select(*_TRAIN)

    def work(rows: pa.Table, arrived: pa.Table) -> pa.Table:
        return _visited(rows, arrived, plan, epoch=epoch, stratum=stratum)

    visited = wanted.groupBy("block").cogroup(factors.groupBy("place")).applyInArrow(work, FACTORS)
    return _placed(visited, plan)


def _visited(
    rows: pa.Table, arrived: pa.Table, plan: Plan, *, epoch: int, stratum: int
) -> pa.Table:
    """One task of a stratum: a user block meets the item blocks of its steps, in order."""
    users, items = _blocks(arrived, plan, writable=True)
    ((b, (block, error)),) = users.items()
    error = error if stratum else 0.0
    cells = cells_of(rows)
    for step in plan.grid.steps_of(stratum):
        met = items[plan.grid.item_block(b, step)][0]
        error += visit(cells[b, step][0], block, met, plan, epoch=epoch, step=step)
    # An item block goes from user block to user block downwards, and is home after an epoch.
    next_place = (b - 1) % plan.grid.blocks
    return pa.Table.from_batches(
        [arrow_row(FACTORS, b, USERS, b, error, block)]
        + [arrow_row(FACTORS, next_place, ITEMS, j, 0.0, q) for j, (q, _) in items.items()]
    )


def _errors(cells: DataFrame, factors: DataFrame, plan: Plan) -> tuple[float, float | None]:
    """The sums of squared errors of an epoch: met in train, and left in validation.

    The error is that of the model as the epoch left it, so every user block must see every item
    block once more: all item blocks go to all tasks in one shuffle.
    """
    users = factors.where(F.col("side") == USERS)
    if not plan.validation_rows:
        met = {row.number: row.error for row in users.select("number", "error").collect()}
        return total(met[b] for b in range(plan.grid.blocks)), None
    everywhere = F.explode(F.sequence(F.lit(0), F.lit(plan.grid.blocks - 1)))
    items = factors.where(F.col("side") == ITEMS).withColumn("place", everywhere)
    held_out = cells.where(F.col("step") >= 0).select(*_VALIDATION)

    def errors(rows: pa.Table, arrived: pa.Table) -> pa.Table:
        return _errors_of_block(rows, arrived, plan)

    found = (
        held_out.groupBy("block")
        .cogroup(_placed(users.unionAll(items), plan).groupBy("place"))
        .applyInArrow(errors, _ERRORS)
        .collect()
    )
    by_block = sorted(found)
    return total(row.met for row in by_block), total(row.left for row in by_block)


_ERRORS = "block int, met double, left double"


def _errors_of_block(rows: pa.Table, arrived: pa.Table, plan: Plan) -> pa.Table:
    users, items = _blocks(arrived, plan, writable=False)
    ((b, (block, met)),) = users.items()
    cells = cells_of(rows)
    left = total(
        held_out_error(cells[b, step][1], block, items[plan.grid.item_block(b, step)][0], plan)
        for step in range(plan.grid.item_blocks)
    )
    return pa.Table.from_batches([arrow_row(_ERRORS, b, met, left)])


def _blocks(
    arrived: pa.Table, plan: Plan, *, writable: bool
) -> tuple[dict[int, tuple[Floats, float]], dict[int, tuple[Floats, float]]]:
    """User blocks and item blocks by number, each with the error that came with it."""
    sides: tuple[dict[int, tuple[Floats, float]], ...] = ({}, {})
    for at in range(arrived.num_rows):
        side, number, error, data = (
            arrived.column(name)[at] for name in ("side", "number", "error", "data")
        )
        block = as_array(data, np.float32).reshape(-1, plan.width)
        # Arrow's memory is read-only: whoever changes a block has a copy of it.
        sides[side.as_py()][number.as_py()] = (
            block.copy() if writable else block,
            error.as_py(),
        )
    return sides[USERS], sides[ITEMS]
