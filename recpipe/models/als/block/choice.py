"""Which exchange carries the factors of a fit, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recpipe.distributed.stage import obstacle, slots
from recpipe.errors import MissingError
from recpipe.spark.workers import worker_limit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.models.als.block.packing import Counted
    from recpipe.models.als.block.solving import Solve
    from recpipe.models.als.settings import BlockAlsImplicitSettings, BlockAlsSettings

_WORKER_BYTES = 4 << 30
"""What a worker of the ring may hold where no limit is set."""
_RATING_BYTES = 24
"""Of a packed rating, at most: it lies by its user and by its item, perhaps with its weight."""
_TASKS_A_CORE = 4
"""Of a half-iteration: enough to share the work out, few enough to be worth their start."""


class Choice(NamedTuple):
    """An exchange.

    Args:
        ring: whether it is one barrier stage; else Spark carries the factors.
        tasks: among which the blocks are shared out.
        reason: in words.
    """

    ring: bool
    tasks: int
    reason: str


def choose(
    spark: SparkSession,
    settings: BlockAlsSettings | BlockAlsImplicitSettings,
    plan: Solve,
    found: Counted,
    *,
    blocks: int,
) -> Choice:
    """The ring, unless the settings say otherwise or it cannot run here.

    Raises:
        MissingError: if the settings say ring and it cannot run here.
    """
    by_spark = min(blocks, _TASKS_A_CORE * spark.sparkContext.defaultParallelism)
    if settings.exchange == "spark":
        return Choice(False, by_spark, f"as set by {plan.name}.exchange")
    tasks = 1 if blocks == 1 else max(1, min(blocks, slots(spark)))
    reason = _against(spark, settings.max_broadcast_mb, plan, found, tasks=tasks)
    if not reason:
        return Choice(True, tasks, _room(tasks))
    if settings.exchange == "ring":
        raise MissingError(
            f"{plan.name}.exchange = ring: {reason}",
            hint=f"set {plan.name}.exchange to auto or spark",
        )
    return Choice(False, by_spark, reason)


def _room(tasks: int) -> str:
    return "one task does all of it" if tasks == 1 else f"its {tasks} tasks can run at once"


def _against(spark: SparkSession, limit_mb: int, plan: Solve, found: Counted, *, tasks: int) -> str:
    sizes = [len(ids) * plan.width * 4 for ids, _ in found.counts]
    if max(sizes) > limit_mb << 20:
        return f"one side's factors take {max(sizes) >> 20} MiB, above max_broadcast_mb"
    if tasks > 1 and (reason := obstacle(spark, tasks=tasks)):
        return reason
    # A segment that continues a fit holds factors twice: the broadcast and its own copy.
    need = _RATING_BYTES * found.ratings // tasks + 2 * sum(sizes)
    limit = worker_limit(spark) or _WORKER_BYTES
    if need > limit:
        return f"each of {tasks} tasks would hold {need >> 20} MiB, above {limit >> 20} MiB"
    return ""


__all__ = ["Choice", "choose"]
