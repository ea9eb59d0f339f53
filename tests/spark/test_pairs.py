"""Pairs that a Python function makes go to the next one without becoming rows of Spark."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pytest

from recpipe.pairs import Value, is_mapped, map_pairs, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    Batches = Iterator[pa.RecordBatch]

MADE = "user int, item int, place int, score float"


def made(spark: SparkSession) -> DataFrame:
    """Some rows, one of them of the lowest ids; `place` is the process that made them."""

    def make(batches: Batches) -> Batches:
        for batch in batches:
            ids = batch.column(0).to_numpy().astype(np.int32)
            user = np.where(ids == 0, np.int32(-(2**31)), ids)
            score = ids.astype(np.float32) / 4
            columns = [user, -ids, np.full(len(ids), os.getpid(), np.int32), score]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in columns], names=["user", "item", "place", "score"]
            )

    return mapped(spark.range(0, 5, 1, 2), make, MADE)


def pairs_of(rows: DataFrame, value: Value | None) -> list[tuple[object, ...]]:
    """What a function is given of some rows, with the process that it runs in."""

    def look(batches: Batches) -> Batches:
        for batch in batches:
            values = batch.column(1) if batch.num_columns > 1 else pa.nulls(len(batch))
            columns = [batch.column(0), values.cast(pa.float64())]
            here = pa.array([os.getpid()] * len(batch), pa.int64())
            yield pa.RecordBatch.from_arrays([*columns, here], names=["pair", "value", "here"])

    schema = "pair long, value double, here long"
    return sorted(tuple(row) for row in map_pairs(rows, look, schema, value=value).collect())


@pytest.mark.parametrize("kind", ["float", None])
def test_they_are_those_that_spark_s_rows_give(
    spark: SparkSession, kind: Literal["float"] | None
) -> None:
    value = None if kind is None else Value("score", kind)
    rows = made(spark)
    by_spark = rows.select("*")
    assert is_mapped(rows)
    assert not is_mapped(by_spark)
    direct, expected = (pairs_of(frame, value) for frame in (rows, by_spark))
    assert [row[:2] for row in direct] == [row[:2] for row in expected]
    assert len(direct) == 5


def test_both_functions_run_in_one_worker(spark: SparkSession) -> None:
    direct = pairs_of(made(spark), Value("place", "int"))
    assert all(made_in == here for _, made_in, here in direct)
    by_spark = pairs_of(made(spark).select("*"), Value("place", "int"))
    assert not any(made_in == here for _, made_in, here in by_spark)


def test_of_rows_that_are_cached_nothing_is_made_again(spark: SparkSession) -> None:
    rows = made(spark).persist()
    try:
        assert rows.count() == 5
        assert not is_mapped(rows)
    finally:
        rows.unpersist()
    assert is_mapped(rows)
