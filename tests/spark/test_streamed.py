"""Rows that come to the driver a partition at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.spark.columns import arrow_row
from recpipe.spark.streamed import streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

PARTITIONS, BYTES = 12, 4 << 20


def large_rows(spark: SparkSession) -> DataFrame:
    # Modules of tests are not there in a task: whatever it needs goes with it.
    schema, size = "number long, data binary", BYTES

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield arrow_row(schema, number, np.full(size, number, np.uint8))

    return spark.range(0, PARTITIONS, 1, PARTITIONS).mapInArrow(rows, schema)


def held(spark: SparkSession) -> int:
    """Bytes that the driver's JVM still holds."""
    jvm: Any = spark.sparkContext._jvm  # noqa: SLF001 - nothing public tells
    runtime = jvm.java.lang.Runtime.getRuntime()
    jvm.java.lang.System.gc()
    return int(runtime.totalMemory() - runtime.freeMemory())


@pytest.mark.parametrize("ahead", [True, False])
def test_rows_come_in_order_and_nothing_of_them_stays(spark: SparkSession, *, ahead: bool) -> None:
    def numbers() -> list[int]:
        found = []
        for row in streamed(large_rows(spark), ahead=ahead):
            assert row["data"] == bytes([row["number"]]) * BYTES
            found.append(row["number"])
        return found

    assert numbers() == list(range(PARTITIONS))
    # By now Spark has loaded what it needs.
    before = held(spark)
    assert numbers() == list(range(PARTITIONS))
    assert held(spark) - before < PARTITIONS * BYTES // 2
