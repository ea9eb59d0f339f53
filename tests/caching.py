"""What Spark keeps cached, to see that a fit leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def cached(spark: SparkSession) -> set[int]:
    """Ids of what is cached now.

    Compare with what was there before: Delta keeps the logs of other tests' tables cached, and
    lets them go when it likes.
    """
    java: Any = spark.sparkContext._jsc  # noqa: SLF001 - nothing public lists what is cached
    return {int(key) for key in java.getPersistentRDDs()}
