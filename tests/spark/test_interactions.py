"""Pairs that a Python function makes go to the next one without becoming rows of Spark."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pytest

from recpipe.spark.columns import arrow_schema
from recpipe.spark.interactions import Interactions, Mapped, Value, map_pairs, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    Batches = Iterator[pa.RecordBatch]

MADE = "user int, item int, place int, number int, score float"


def made(spark: SparkSession) -> Mapped:
    """Some rows, one of them of the lowest ids; `place` is the process that made them."""

    def make(batches: Batches) -> Batches:
        for batch in batches:
            ids = batch.column(0).to_numpy().astype(np.int32)
            user = np.where(ids == 0, np.int32(-(2**31)), ids)
            score = ids.astype(np.float32) / 4
            columns = [user, -ids, np.full(len(ids), os.getpid(), np.int32), 3 * ids, score]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in columns], names=arrow_schema(MADE).names
            )

    return mapped(spark.range(0, 5, 1, 2), make, MADE)


def pairs_of(rows: Interactions, value: Value | None) -> list[tuple[object, ...]]:
    """What a function is given of some rows, with the process that it runs in."""

    def look(batches: Batches) -> Batches:
        for batch in batches:
            values = batch.column(1) if batch.num_columns > 1 else pa.nulls(len(batch))
            columns = [batch.column(0), values.cast(pa.float64())]
            here = pa.array([os.getpid()] * len(batch), pa.int64())
            yield pa.RecordBatch.from_arrays([*columns, here], names=["pair", "value", "here"])

    schema = "pair long, value double, here long"
    return sorted(tuple(row) for row in map_pairs(rows, look, schema, value=value).collect())


@pytest.mark.parametrize(
    "value", [None, Value("score", "float"), Value("place", "int"), Value("number", "float")]
)
def test_they_are_those_that_spark_s_rows_give(spark: SparkSession, value: Value | None) -> None:
    rows = made(spark)
    direct, by_spark = (pairs_of(each, value) for each in (rows, rows.frame))
    assert len(direct) == 5
    assert [row[0] for row in direct] == [row[0] for row in by_spark]
    if value is None or value.name != "place":
        assert [row[1] for row in direct] == [row[1] for row in by_spark]


def test_both_functions_run_in_one_worker(spark: SparkSession) -> None:
    direct = pairs_of(made(spark), Value("place", "int"))
    assert all(made_in == here for _, made_in, here in direct)
    by_spark = pairs_of(made(spark).frame, Value("place", "int"))
    assert not any(made_in == here for _, made_in, here in by_spark)


def test_of_rows_that_are_cached_nothing_is_made_again(spark: SparkSession, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def make(batches: Batches) -> Batches:
        for batch in batches:
            with log.open("a") as lines:
                lines.write("made\n")
            ids = pa.array(batch.column(0).to_numpy().astype(np.int32))
            yield pa.RecordBatch.from_arrays([ids, ids], names=["user", "item"])

    rows = mapped(spark.range(0, 5, 1, 1), make, "user int, item int").frame.persist()
    try:
        assert rows.count() == 5
        assert len(pairs_of(rows, None)) == 5
    finally:
        rows.unpersist()
    assert log.read_text() == "made\n"


@pytest.mark.parametrize(("missing", "expected"), [("skip", [(1, 2.0)]), (0, [(1, 2.0), (2, 0.0)])])
def test_rows_of_spark_without_a_value_are_left_out_or_have_another(
    spark: SparkSession, missing: Literal["skip"] | int, expected: list[tuple[int, float]]
) -> None:
    rows = spark.createDataFrame([(0, 1, 2.0), (0, 2, None)], "user int, item int, score float")
    found = pairs_of(rows, Value("score", "float", missing=missing))
    assert [row[:2] for row in found] == expected
