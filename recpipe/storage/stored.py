"""A table at rest: its rows as Spark reads them, or its files for tasks to decode.

Spark's reader and its way to Python take a row at a time: some 200 ns for a row of one number,
where Arrow decodes ten columns in that time. So whoever wants whole columns of a table as arrays
asks for its files: Spark hands them over as they are, with its own clients, credentials and
decryption of disks, and the task decodes them (docs/decisions/0011-files-to-tasks.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from recpipe.storage.paths import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.storage.filesystem import FileSystem

MIN_BYTES = 4 << 20
"""Of all files of a table: with less, Spark's rows are there before the files are."""
_MAX_FILES = 256
"""More of them are a sign of small files, which Spark reads as well."""
_TASK_BYTES = 32 << 20
"""Of the files of a task, of which its JVM holds several copies for a moment."""
_CORES = 8
"""Arrow decodes on one core as fast as Spark reads rows on so many: one file for each is enough."""
_SKIPS = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")
_CRYPTO = "parquet.crypto.factory.class"


@dataclass(frozen=True, eq=False)
class Stored:
    """A complete table of a folder; `Folder.stored` and `Tables.stored` give it out.

    Whoever filters, joins or caches the table takes its `frame`.

    Args:
        frame: the rows, as `Folder.read_table` reads them.
        path: the folder of its Parquet files; None where other files than those of the folder
            make up the table (Delta).
        fs: the client of the store.
    """

    frame: DataFrame
    path: str | None
    fs: FileSystem

    def files(self, columns: Sequence[str], *, min_bytes: int = MIN_BYTES) -> DataFrame | None:
        """`decoded.READ_FILES` of the whole table, or None where its rows must come from Spark.

        They must where the table is Delta's, in folders by partition, or encrypted by Parquet;
        where the files are too small in all, too many, too few for the cores, or too large for a
        task; and where a setting has Spark skip files that it cannot read.

        Args:
            columns: what the tasks want of it; a name in another case is left to Spark, too.
            min_bytes: of all files.
        """
        if self.path is None or not set(columns) <= set(self.frame.columns):
            return None
        spark = self.frame.sparkSession
        sizes = self._sizes()
        if (
            sizes is None
            or sum(sizes.values()) < min_bytes
            or not _readable(spark)
            or not _fit_tasks(spark, sizes)
        ):
            return None
        found = spark.read.format("binaryFile").load(literal(self.path))
        return found.select("path", "content")

    def _sizes(self) -> Mapping[str, int] | None:
        """Bytes of the files by name; None where there are too many, or others than Parquet's."""
        assert self.path is not None  # noqa: S101 - `files` has looked
        shown = (entry for entry in self.fs.sizes(self.path) if entry[0][0] not in "._")
        sizes = dict(islice(shown, _MAX_FILES + 1))
        plain = len(sizes) <= _MAX_FILES and all(name.endswith(".parquet") for name in sizes)
        return sizes if plain else None


def _readable(spark: SparkSession) -> bool:
    """Whether nothing but the bytes of the files is needed to read them, and all must be read."""
    return not encrypts(spark) and not any(spark.conf.get(name) == "true" for name in _SKIPS)


def encrypts(spark: SparkSession) -> bool:
    """Whether Parquet encrypts what Spark writes, and decrypts what it reads."""
    # A session's settings may hold what Hadoop's own files do not, and the other way round.
    session: Any = spark._jsparkSession  # noqa: SLF001 - nothing public reads both
    return session.sessionState().newHadoopConf().get(_CRYPTO) is not None


def _fit_tasks(spark: SparkSession, sizes: Mapping[str, int]) -> bool:
    """Whether tasks can hold their files, and there are enough of them, as Spark packs files."""
    cores = spark.sparkContext.defaultParallelism
    if len(sizes) < cores / _CORES or spark.conf.get("spark.sql.files.maxPartitionNum", None):
        return False
    parts = int(spark.conf.get("spark.sql.files.minPartitionNum", None) or cores)
    largest, least, whole = (
        _bytes_of(spark, f"spark.sql.{name}")
        for name in (
            "files.maxPartitionBytes",
            "files.openCostInBytes",
            "sources.binaryFile.maxLength",
        )
    )
    task = min(largest, max(least, sum(sizes.values()) // parts))
    return task <= _TASK_BYTES and max(sizes.values(), default=0) <= min(_TASK_BYTES, whole)


def _bytes_of(spark: SparkSession, setting: str) -> int:
    jvm: Any = spark._jvm  # noqa: SLF001 - Spark's own reading of its own notation
    return int(
        jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(spark.conf.get(setting))
    )


__all__ = ["MIN_BYTES", "Stored"]
