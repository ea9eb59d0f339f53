"""The tables of models of neighbours, from ratings and from what `nearest` finds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.kernels import ids
from recpipe.models.neighbours.scorer import ITEMS, row_biases
from recpipe.ranking.histories import (
    HISTORY,
    HISTORY_KINDS,
    histories_of,
    packed_histories,
    parts_of,
)
from recpipe.spark.columns import arrow_rows, batch_of, factor_rows, factor_schema
from recpipe.spark.interactions import arrays_of, buckets_for, frame_of, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.data import TrainingData
    from recpipe.models.neighbours.nearest import Found
    from recpipe.models.neighbours.rows import Columns, Matrix
    from recpipe.models.neighbours.scorer import Prediction

    Batches = Iterator[pa.RecordBatch]
    Sent = tuple[NDArray[np.int32], NDArray[np.float64]]


def values_of(data: TrainingData) -> DataFrame:
    """HISTORY of every rating."""
    value = F.col("rating").cast("float").alias("value")
    return frame_of(data.ratings).select("user", "item", value)


def transposed(values: DataFrame) -> DataFrame:
    """HISTORY with users and items in each other's place."""
    return values.select(F.col("item").alias("user"), F.col("user").alias("item"), "value")


def as_items(found: Found) -> pa.RecordBatch:
    """`scorer.ITEMS` of items and their nearest."""
    ends = np.cumsum(found.sizes)
    return arrow_rows(ITEMS, ends, found.owners, found.columns, found.similarities, found.means)


def as_histories(found: Found) -> pa.RecordBatch:
    """HISTORY of users and their nearest, which stand in the place of items."""
    users = np.repeat(found.owners, found.sizes)
    return batch_of(HISTORY, users, found.columns, found.similarities)


def as_sources(found: Found) -> pa.RecordBatch:
    """HISTORY whose `user` is an item that was found, and whose `item` is a source leading to it.

    So packing it by user gathers the sources of each item: see `items_of_sources`.
    """
    sources = np.repeat(found.owners, found.sizes)
    return batch_of(HISTORY, found.columns, sources, found.similarities)


def items_of_sources(sources: DataFrame, columns: Columns) -> DataFrame:
    """`scorer.ITEMS` of what `as_sources` has made; items to which no source leads included.

    Args:
        sources: (user int, item int, value float).
        columns: all items.
    """
    spark = sources.sparkSession
    buckets = buckets_for(spark, users=len(columns.ids))
    sent = spark.sparkContext.broadcast((columns.ids, columns.means))
    packed = together([packed_histories(sources, buckets=buckets)], buckets=buckets)
    return packed.mapInArrow(partial(_items_of_sources, sent=sent, buckets=buckets), ITEMS)


def _items_of_sources(batches: Batches, *, sent: Broadcast[Sent], buckets: int) -> Batches:
    from pyspark import TaskContext

    context = TaskContext.get()
    bucket = context.partitionId() if context else 0
    (arrays,) = arrays_of(batches, [HISTORY_KINDS])
    numbers, means = sent.value
    # An item to which no source leads is a candidate all the same.
    own = numbers % buckets == bucket
    histories = histories_of(arrays, numbers[own])
    yield arrow_rows(
        ITEMS, histories.offsets[1:], numbers[own], histories.items, histories.values, means[own]
    )


def items_of_rows(matrix: Matrix, columns: Columns, prediction: Prediction | None) -> DataFrame:
    """`scorer.ITEMS` of a matrix whose rows are items: each with its users and their ratings.

    `mean` is the bias of the item, 0 where predictions have no biases.

    Args:
        matrix: of the ratings.
        columns: the users, with what is expected of each.
        prediction: how ratings are predicted; None: they are not.
    """
    regularization = None if prediction is None else prediction.bias_regularization
    sent = matrix.parts.sparkSession.sparkContext.broadcast((columns.ids, columns.means))
    return matrix.parts.mapInArrow(
        partial(_items_of_rows, sent=sent, regularization=regularization), ITEMS
    )


def _items_of_rows(
    batches: Batches, *, sent: Broadcast[Sent], regularization: float | None
) -> Batches:
    numbers, expected = sent.value
    for part in parts_of(batches):
        rows = part.rows
        biases = np.zeros(len(part.users))
        if regularization is not None:
            places = ids.positions(numbers, rows.items)
            biases = row_biases(rows.offsets, places, rows.values, expected, regularization)
        yield arrow_rows(ITEMS, rows.offsets[1:], part.users, rows.items, rows.values, biases)


def means_of_users(spark: SparkSession, columns: Columns) -> DataFrame:
    """(user int, factors array<float>, bias float): the mean of each column, and no factor."""
    none = np.empty((len(columns.ids), 0), np.float32)
    rows = factor_rows("user", columns.ids, none, columns.means.astype(np.float32))
    return spark.createDataFrame(pa.Table.from_batches([rows]), factor_schema("user"))


__all__ = [
    "HISTORY", "as_histories", "as_items", "as_sources", "items_of_rows", "items_of_sources",
    "means_of_users", "transposed", "values_of",
]  # fmt: skip
