"""The whole training as one barrier stage: item blocks travel round the tasks while they compute.

An epoch costs what its arithmetic costs, since no stage begins or ends in it. In return all tasks
must run at the same time, so it needs a slot for each block, and no dynamic allocation.

Checkpoints are written by Spark, so they lie wherever the root does, and only when complete do
they count. For that the stage ends, and the next one begins where it ended: a segment. It costs
about two seconds whatever it does, so there are none of less than `min_seconds` but the last.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pyspark.sql import functions as F

from recpipe.distributed import Keys, admitted, obstacle
from recpipe.errors import MissingError
from recpipe.models.sgd.algorithm import Epoch, FitProgress
from recpipe.models.sgd.exchange import FACTORS, Trained
from recpipe.models.sgd.packing import released_on_failure
from recpipe.models.sgd.segment import CURVE, Segment
from recpipe.spark.held import cached, plain_plans

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.models.sgd.algorithm import Plan
    from recpipe.storage import Folder

log = logging.getLogger(__name__)

_CELL = tuple(f"{part}_{c}" for part in ("train", "validation") for c in ("user", "item", "rating"))
_FACTOR = ("side", "number", "data")


@dataclass(frozen=True)
class RingExchange:
    """One barrier stage; see the module.

    Args:
        min_seconds: how long a segment lasts before it pauses for a checkpoint.
        silence: seconds without a sign of life after which a task gives up its neighbour.
        patience: seconds without slots enough after which a fit is given up.
    """

    min_seconds: float = 60.0
    silence: float = 60.0
    patience: float = 60.0

    name: ClassVar[str] = "ring"

    def train(self, cells: DataFrame, plan: Plan, *, scratch: Folder) -> Trained:
        """See `Exchange`.

        A worker or an executor that is lost ends the stage, which Spark then runs again as a
        whole from the last checkpoint, to the same bits.

        Raises:
            FitError: if the fit diverges.
            PeerLostError: if tasks do not reach each other, each time that Spark tries.
            MissingError: if there are too few slots.
        """
        spark = cells.sparkSession
        tasks = plan.grid.blocks
        if reason := obstacle(spark, tasks=tasks):
            raise MissingError(
                f"sgd.exchange = ring: {reason}", hint="set sgd.exchange to auto or spark"
            )
        keys = Keys.fresh("sgd", silence=self.silence)
        progress = FitProgress(plan)
        checkpoint = ""
        seconds: list[float] = []
        with plain_plans(spark), admitted(spark, "sgd", tasks=tasks, patience=self.patience):
            while True:
                segment = Segment(plan, keys, tuple(progress.curve), self.min_seconds)
                before = scratch.read_table(checkpoint) if checkpoint else None
                factors = cached(_frame(cells, before, segment))
                with released_on_failure(factors):
                    report = _report(factors)
                    progress = FitProgress.from_curve(plan, [Epoch(**p) for p in report["curve"]])
                    seconds += report["seconds"]
                    progress.check()
                    if progress.done:
                        return Trained(factors, progress, tuple(seconds))
                    name = f"sgd-epoch-{len(progress.curve):05d}"
                    scratch.write_table(name, factors)
                factors.unpersist()
                if checkpoint:
                    scratch.delete(checkpoint)
                checkpoint = name
                log.debug("sgd: checkpoint %s", checkpoint)


def _frame(cells: DataFrame, before: DataFrame | None, segment: Segment) -> DataFrame:
    rows = cells.where(F.col("step") >= 0).select("block", "step", *_CELL)
    if before is not None:
        rows = _joined(rows, before, blocks=segment.plan.grid.blocks)
    fitted = rows.mapInArrow(segment.run, FACTORS, barrier=True)
    # Nothing would start a barrier stage again whose result goes to the driver; one that feeds a
    # shuffle is run again as a whole.
    return fitted.repartitionById(segment.plan.grid.blocks, "place")


def _joined(cells: DataFrame, before: DataFrame, *, blocks: int) -> DataFrame:
    """Cells and factors of a block in one partition: a barrier stage cannot have two inputs."""
    none = [F.lit(None).cast("binary").alias(name) for name in _CELL]
    factors = before.select(F.col("place").alias("block"), F.lit(-1).alias("step"), *none, *_FACTOR)
    empty = [
        F.lit(None).cast(kind).alias(name)
        for name, kind in zip(_FACTOR, ("int", "int", "binary"), strict=True)
    ]
    return cells.select("*", *empty).unionAll(factors).repartitionById(blocks, "block")


def _report(factors: DataFrame) -> dict[str, Any]:
    (row,) = factors.where(F.col("side") == CURVE).select("data").collect()
    report: dict[str, Any] = json.loads(row.data)
    return report
