"""Prints what `Matrix.columns` counts where Spark loses what was shuffled in the middle of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe.models.neighbours import rows
from recpipe.models.neighbours.entries import Liking
from recpipe.settings import load
from recpipe.spark.session import spark_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import SparkSession

ADDED = rows._added  # noqa: SLF001 - what tasks do after the shuffle


def counted(spark: SparkSession, lost: Path) -> dict[str, Any]:
    """The counts; `lost` is made as the shuffle is lost."""
    jvm: Any = spark._jvm  # noqa: SLF001 - nothing public says where shuffles are kept
    manager = jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()
    folders = [file.getPath() for file in manager.localDirs()]

    def after_a_loss(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The first task loses what was shuffled, as with an executor: others have to wait."""
        if not lost.exists():
            lost.touch()
            for folder in folders:
                for file in Path(folder).rglob("shuffle_*"):
                    file.unlink()
        yield from ADDED(batches)

    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
    spark.conf.set("spark.sql.shuffle.partitions", "16")
    # Items of many ranges, whose sums are added up by many tasks, two at a time.
    given = [(user, item << 18, 1.0) for user in range(30) for item in range(40)]
    frame = spark.createDataFrame(given, "user int, item int, value float")
    rows._added = after_a_loss  # noqa: SLF001
    with rows.packed_matrix(frame) as matrix:
        columns = matrix.columns(Liking(None, binary=False), model="item_knn")
    return {"rows": columns.rows, "counts": columns.counts.tolist()}


def main() -> None:
    settings = load(overrides=["session.master=local[2]"], environment={})
    with spark_session(settings.session, name="lost-shuffle") as spark:
        found = counted(spark, Path(sys.argv[1]))
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
