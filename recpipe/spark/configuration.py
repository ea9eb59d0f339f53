"""What a session of ours is configured with, before settings and spark-submit change any of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

from recpipe.runtime.cache import class_archive, mark_used
from recpipe.runtime.jars import delta_jars

if TYPE_CHECKING:
    from recpipe.spark.settings import Session

# One thread a Python worker: Spark already runs one worker a core, and sets OMP's alone.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_GIB = 1 << 30
SMALL_BYTES = 40 << 20
"""Input as text up to which a run is over before the JVM's second compiler has paid for itself:
some 1.6 million ratings."""
# Without the second compiler Java keeps less compiled code than Spark has: it would compile some of
# it again and again. docs/operations.md explains the flags.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"

# An object larger than half of a region is humongous to G1, which gives it whole regions and never
# moves it. Broadcasts are kept in pieces of a little over 4 MiB. In the usual regions of 1 to 4 MiB
# these are humongous and take up to twice their size, until a result finds no room in one piece.
_LONG_LIVED = "-XX:G1HeapRegionSize=16m"


def java_options(*, short_lived: bool) -> str:
    """Options of a JVM that recpipe starts; it maps `runtime.cache.class_archive` if that is there.

    Args:
        short_lived: whether it will end within a minute or two.
    """
    options = [_SHORT_LIVED if short_lived else _LONG_LIVED]
    archive = class_archive()
    if archive.exists():
        mark_used(archive)
        # Java warns where an archive does not fit, which is nothing that a user need know.
        options += [f'"-XX:SharedArchiveFile={archive}"', "-Xlog:disable", "-Xlog:all=error:stderr"]
    return " ".join(options)


def configuration(*, delta: bool) -> dict[str, str]:
    """What every session of ours keeps, wherever it runs."""
    conf = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.parquet.compression.codec": "zstd",
        # Spark's default, INT96, is deprecated in Parquet, larger, and slower to write and read.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Worker reuse keeps compiled kernels alive from one task to the next.
        "spark.python.worker.reuse": "true",
        "spark.ui.showConsoleProgress": "false",
        # Where the slots of a barrier stage are missing Spark would ask again for ten minutes.
        "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "2s",
        "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "10",
        **{f"spark.executorEnv.{variable}": "1" for variable in _THREADS},
    }
    if delta:
        conf |= {
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            # The default of 50 makes each read of a small table's log a job of 50 tasks.
            "spark.databricks.delta.snapshotPartitions": "2",
        }
    return conf


def local_configuration(
    settings: Session, *, delta: bool, input_bytes: int | None
) -> dict[str, str]:
    """What spark-submit would have decided, for a JVM that this process starts."""
    master = settings.master or os.environ.get("SPARK_MASTER") or "local[*]"
    conf = {
        "spark.master": master,
        "spark.driver.memory": _driver_memory(settings.driver_memory),
        "spark.ui.enabled": str(settings.ui).lower(),
    }
    local = master.startswith("local")
    if local:
        # A laptop's host name often resolves to an address of a network that it has left.
        conf |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    short_lived = local and input_bytes is not None and input_bytes <= SMALL_BYTES
    conf["spark.driver.extraJavaOptions"] = java_options(short_lived=short_lived)
    if short_lived:
        # Of the 64 MiB that each aggregation and sort would take, almost all is zeros, which Java
        # writes, and copies from one generation to the next.
        conf["spark.buffer.pageSize"] = "2m"
        # To write and compile Java for a plan takes longer than to interpret it over so few rows.
        conf["spark.sql.codegen.wholeStage"] = "false"
    if delta:
        conf["spark.jars"] = ",".join(str(jar) for jar in delta_jars())
    return conf


def _driver_memory(setting: str) -> str:
    """A third of the machine, from 1 to 16 GiB: with a local master the tasks run in it too."""
    if setting != "auto":
        return setting
    return f"{min(max(psutil.virtual_memory().total // 3 // _GIB, 1), 16)}g"
