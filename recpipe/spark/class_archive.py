"""Makes an archive of the classes that Spark loads, which every later JVM here maps into memory.

A JVM that starts Spark reads, checks and links some twenty thousand classes before it has done
anything. With an archive (JEP 350, dynamic class-data sharing) that is done once for a machine: a
small job then takes half of the CPU. Java itself refuses an archive of other jars or of another
Java, and starts as without one.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from recpipe.errors import RecpipeError
from recpipe.runtime import cache
from recpipe.spark import session
from recpipe.spark.configuration import java_options
from recpipe.spark.settings import Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

_EXIT_SECONDS = 180
_KEPT = 4
"""Archives that stay, of 180 MB each: of all environments of this machine, newest use first."""
_UNUSED_SECONDS = 30 * 24 * 3600
"""After that nobody has used one, its environment is taken for gone."""


def main() -> None:
    """Make the archive unless it is there; without it everything works, and starts slower."""
    target = cache.class_archive()
    if target.exists():
        cache.mark_used(target)
        tidy(target.parent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    options = java_options(short_lived=True)
    # Java names each class that cannot be archived, such as those that Spark writes as it goes.
    options += f' "-XX:ArchiveClassesAtExit={part}" -Xlog:disable'
    conf = {"spark.driver.extraJavaOptions": options}
    settings = Session(conf=conf, master="local[2]")
    try:
        with session.spark_session(settings, name="classes", exit_seconds=_EXIT_SECONDS) as spark:
            _exercise(spark)
        part.replace(target)
        tidy(target.parent)
    except (RecpipeError, OSError) as error:
        logger.warning("no archive of Java's classes: %s", error)
    finally:
        part.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove the archives of a folder that nobody has used for a month, and all but a few others.

    Who has mapped one is not disturbed. What was left of one that was not finished counts as one.
    """
    pattern = "spark-classes-*.jsa*"
    for archive in folder.glob(pattern):
        # Another process may be at the same.
        with suppress(OSError):
            if time.time() - archive.stat().st_mtime > _UNUSED_SECONDS:
                archive.unlink()
    cache.keep_newest(folder, pattern, kept=_KEPT)


def _exercise(spark: SparkSession) -> None:
    """A little of all that recpipe asks of Spark, so that its classes are loaded."""
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ratings")
        ratings = spark.range(0, 400, 1, 2).select(
            (F.col("id") % 20).cast("int").alias("user"),
            F.expr("cast(id div 20 as int)").alias("item"),
            (F.col("id") % 5 + 1).cast("float").alias("rating"),
        )
        ratings.write.mode("overwrite").option("compression", "zstd").parquet(path)
        ratings = spark.read.parquet(path).cache()
        place = F.row_number().over(Window.partitionBy("user").orderBy(F.desc("rating"), "item"))
        counts = ratings.groupBy("item").agg(F.count("*").alias("ratings"), F.avg("rating"))
        ranked = ratings.withColumn("rank", place).join(counts, "item").where("rank < 3")
        ranked.unionByName(ranked).repartition("user").sortWithinPartitions("rank").toArrow()
        ranked.join(ratings.select("user").distinct(), "user", "left_anti").count()
        ratings.mapInArrow(lambda batches: batches, ratings.schema).collect()
        ratings.write.mode("overwrite").csv(f"{path}-text")
        spark.read.text(f"{path}-text").count()
        model = ALS(rank=2, maxIter=1, userCol="user", itemCol="item").fit(ratings)
        model.userFactors.toArrow()


if __name__ == "__main__":
    main()
