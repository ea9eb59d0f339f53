"""Blocks that no task could hold are refused before the first epoch, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.errors import MissingError
from recpipe.spark.workers import worker_limit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.models.sgd.algorithm import Plan

_VALUE = (1 << 31) - 1
"""Bytes of an Arrow value of Spark's, in which a block of factors travels."""
_CELL_ROW = 16
"""Of a rating, at most: user, item, value, and perhaps what it weighs."""
_COPIES = 2  # the present factors, and those of the best epoch


def check_memory(spark: SparkSession, plan: Plan) -> None:
    """Refuse a fit whose blocks are too large.

    Raises:
        MissingError: if a block's factors are more than one Arrow value holds, or what a task
            holds is more than `spark.executor.pyspark.memory` leaves to a worker.
    """
    for side, rows in (("users", max(plan.users)), ("items", max(plan.items))):
        if _bytes(rows, plan) > _VALUE:
            raise MissingError(
                f"sgd: a block of {rows} {side} at rank {plan.rank} has {_bytes(rows, plan)} bytes,"
                f" more than Spark sends as one value ({_VALUE})",
                hint=_more_blocks(plan, _bytes(rows, plan) / _VALUE),
            )
    limit = worker_limit(spark)
    if limit and (need := task_bytes(plan)) > limit:
        raise MissingError(
            f"sgd: a task needs about {need >> 20} MiB, and spark.executor.pyspark.memory leaves"
            f" {limit >> 20} MiB to each worker",
            hint=f"raise it, or {_more_blocks(plan, need / limit)}",
        )


def task_bytes(plan: Plan) -> int:
    """About what one task holds: its ratings, its users' factors, the item blocks at hand."""
    ratings = (plan.train_rows + plan.validation_rows) // plan.grid.blocks * _CELL_ROW
    items = (2 + _COPIES) * plan.grid.slices * _bytes(max(plan.items), plan)
    # Of an optimizer with moments: what the ratings of a batch push their items by.
    pushes = 0 if plan.optimizer == "plain" else max(plan.items) * (plan.rank + 1) * 4
    return ratings + _COPIES * _bytes(max(plan.users), plan) + items + pushes


def _bytes(rows: int, plan: Plan) -> int:
    return rows * plan.width * 4


def _more_blocks(plan: Plan, times: float) -> str:
    return f"set sgd.blocks to {int(plan.grid.blocks * times) + 1} or more"
