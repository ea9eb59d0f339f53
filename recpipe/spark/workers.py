"""What a Python worker runs, and what it may use."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import SparkSession


def use_this_python(spark: SparkSession) -> None:
    """Have the workers of a session on this machine run the interpreter that runs this.

    Spark takes the `python3` of the PATH where nobody has chosen one. Beside a virtual environment
    that was not activated that is another Python, which has nothing installed. What
    `PYSPARK_PYTHON` or `spark.pyspark.python` chooses stays. On a cluster this path may not exist:
    there the choice is left to whoever submits.
    """
    context = spark.sparkContext
    chosen = os.environ.get("PYSPARK_PYTHON") or context.getConf().get("spark.pyspark.python")
    if not chosen and str(context.master).startswith("local"):
        # Read whenever a function is given to Spark, so that it holds from now on.
        context.pythonExec = sys.executable


def let_go(sent: Broadcast[Any]) -> None:
    """In a task: forget a value that was broadcast; the next use reads it from the executor's disk.

    With `spark.io.encryption.enabled` a worker has read all values beforehand, and keeps them.
    """
    # Spark has no public way to do so.
    vars(sent).pop("_value", None)


def worker_limit(spark: SparkSession) -> int:
    """Bytes that a Python worker may use; 0: no limit is set."""
    context = spark.sparkContext
    setting = context.getConf().get("spark.executor.pyspark.memory", "")
    if not setting:
        return 0
    jvm: Any = context._jvm  # noqa: SLF001 - Spark's own reading of its own notation
    whole = int(jvm.org.apache.spark.network.util.JavaUtils.byteStringAsMb(setting)) << 20
    return whole // int(context.getConf().get("spark.executor.cores", "1") or 1)
