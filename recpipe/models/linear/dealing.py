"""The items of a model dealt to tasks, for fits that find the weights of each item by itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_TASKS_A_SLOT = 4
"""Items take different times; so many tasks for each slot even that out."""


def dealt(
    spark: SparkSession, items: int, work: Callable[[range], pa.RecordBatch], schema: str
) -> DataFrame:
    """What `work` makes of all items, some of them in each task.

    Neighbouring items, which may take equally long, go to different tasks.

    Args:
        spark: the session.
        items: how many there are.
        work: in a task: the rows of some items, which are given by their places.
        schema: of these rows.
    """
    tasks = min(items, _TASKS_A_SLOT * spark.sparkContext.defaultParallelism)
    rows = partial(_rows, work=work, items=items, tasks=tasks)
    return spark.range(0, tasks, 1, tasks).mapInArrow(rows, schema)


def _rows(
    batches: Iterator[pa.RecordBatch],
    *,
    work: Callable[[range], pa.RecordBatch],
    items: int,
    tasks: int,
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for first in batch.column("id").to_pylist():
            yield work(range(first, items, tasks))


__all__ = ["dealt"]
