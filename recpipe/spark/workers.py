"""What a Python worker may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def worker_limit(spark: SparkSession) -> int:
    """Bytes that a Python worker may use; 0: no limit is set."""
    context = spark.sparkContext
    setting = context.getConf().get("spark.executor.pyspark.memory", "")
    if not setting:
        return 0
    jvm: Any = context._jvm  # noqa: SLF001 - Spark's own reading of its own notation
    whole = int(jvm.org.apache.spark.network.util.JavaUtils.byteStringAsMb(setting)) << 20
    return whole // int(context.getConf().get("spark.executor.cores", "1") or 1)
