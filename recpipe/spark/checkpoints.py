"""Where Spark keeps the checkpoints of RDDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOGGER = "org.apache.spark.SparkContext"


def set_checkpoint_dir(spark: SparkSession, uri: str) -> None:
    """Have this session keep checkpoints in a folder below the root.

    On a cluster Spark warns at every call that a `file:` folder may not be the same on all hosts.
    A root is one place for all hosts, so the warning would be wrong, and is kept out of the log.
    """
    context = spark.sparkContext
    log4j: Any = context._jvm.org.apache.logging.log4j  # type: ignore[union-attr]  # noqa: SLF001
    configurator, levels = log4j.core.config.Configurator, log4j.Level
    before = log4j.LogManager.getLogger(_LOGGER).getLevel()
    configurator.setLevel(_LOGGER, levels.ERROR)
    try:
        context.setCheckpointDir(uri)
    finally:
        configurator.setLevel(_LOGGER, before)


__all__ = ["set_checkpoint_dir"]
