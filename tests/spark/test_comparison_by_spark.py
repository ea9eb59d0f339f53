"""Two runs compared where only Spark can open their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.publish import arrow_root
from recpipe.stages.comparison import compare_runs
from recpipe.storage import Folder
from tests.unit.test_comparison import USERS, values_of, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


def test_spark_says_the_same_as_files_that_are_read_without_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_run(tmp_path, "old", values_of(1))
    write_run(tmp_path, "new", values_of(2))
    write_run(tmp_path, "less", values_of(2), ratings=[1.0, *[4.0] * (USERS - 1)])
    by_files = arrow_root(str(tmp_path))
    assert by_files is not None
    by_spark = Folder(spark, tmp_path)

    found = compare_runs(by_spark, "old", "new")

    assert found.difference is not None
    assert found.difference == compare_runs(by_files, "old", "new").difference
    assert "other pairs are relevant: 40 in old" in compare_runs(by_spark, "old", "less").why_not
