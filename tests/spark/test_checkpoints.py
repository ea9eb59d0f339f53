from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe.spark.checkpoints import set_checkpoint_dir

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


def test_the_folder_is_set_and_sparks_own_log_is_as_it_was(
    spark: SparkSession, tmp_path: Path
) -> None:
    context: Any = spark.sparkContext
    logger = context._jvm.org.apache.logging.log4j.LogManager.getLogger(  # noqa: SLF001
        "org.apache.spark.SparkContext"
    )
    before = str(logger.getLevel())
    set_checkpoint_dir(spark, f"file://{tmp_path}/checkpoints")
    assert str(logger.getLevel()) == before
    assert f"{tmp_path}/checkpoints/" in str(context.getCheckpointDir())
