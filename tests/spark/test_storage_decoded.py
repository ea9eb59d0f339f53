"""Parquet files that tasks decode: the rows that Spark reads, and only where they are no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from recpipe.spark.interactions import PACKED, Value, map_pairs, packed
from recpipe.storage import Folder
from recpipe.storage.decoded import decoded, files_of
from recpipe.storage.filesystem import literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

ROWS = 1_500_000
"""Whose files are large enough to be handed over."""


def written(spark: SparkSession, folder: Folder) -> DataFrame:
    """The table `ratings`, with ids on both sides of zero."""
    rows = spark.range(0, ROWS, 1, 3).select(
        F.expr("cast(pmod(xxhash64(id), 50000) - 25000 as int)").alias("user"),
        F.expr("cast(pmod(xxhash64(id, 1), 9000) - 4500 as int)").alias("item"),
        F.expr("cast(pmod(id, 10) / 2 as float)").alias("rating"),
        F.timestamp_seconds("id").alias("rated_at"),
    )
    return folder.write_table("ratings", rows)


@pytest.fixture(scope="module")
def table(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """`written`, in a folder whose name is full of patterns."""
    folder = Folder(spark, tmp_path_factory.mktemp("root") / "a [b]% {c}?*")
    written(spark, folder)
    return folder


def summed(rows: DataFrame) -> tuple[float, ...]:
    """Rows, and sums that tell one set of rows from another."""

    def sums(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pairs = batch.column("pair").to_numpy()
            mixed = pairs * np.int64(0x9E3779B97F4A7C15 - 2**64) >> 7
            values = batch.column("value").to_numpy() * (pairs % 1009)
            found = [len(pairs), int(pairs.sum()), int(mixed.sum()), float(values.sum())]
            names = ["rows", "pairs", "mixed", "values"]
            yield pa.RecordBatch.from_pylist([dict(zip(names, found, strict=True))])

    schema = "rows long, pairs long, mixed long, values double"
    table = map_pairs(rows, sums, schema, value=Value("rating", "float")).toPandas()
    # Sums of longs may wrap round; NumPy's do so without an error.
    return tuple(table[name].to_numpy().sum() for name in table)


def test_tasks_decode_the_rows_that_spark_reads(table: Folder) -> None:
    held_to_spark(table.read_table("ratings"))


def held_to_spark(stored: DataFrame) -> None:
    """Fail unless `stored` goes by its files, and with the same rows as by Spark."""
    assert files_of(stored.select("user", "item", "rating")) is not None
    by_spark = stored.where(F.col("rating") > -1)
    assert files_of(by_spark) is None
    found = summed(stored)
    assert found == summed(by_spark)
    assert found[0] == ROWS


def test_what_is_packed_from_files_is_what_is_packed_from_rows(table: Folder) -> None:
    def buckets(rows: DataFrame) -> dict[int, np.ndarray]:
        found = packed(rows, buckets=5).toArrow()
        assert found.schema.names == [field.split()[0] for field in PACKED.split(", ")]
        pairs: dict[int, list[np.ndarray]] = {bucket: [] for bucket in range(5)}
        for bucket, some in zip(found["bucket"], found["keys"], strict=True):
            pairs[bucket.as_py()].append(np.frombuffer(some.as_py(), np.int64))
        return {bucket: np.sort(np.concatenate(some)) for bucket, some in pairs.items()}

    stored = table.read_table("ratings")
    one, other = buckets(stored), buckets(stored.where("user > -30000"))
    for bucket, pairs in one.items():
        assert np.array_equal(pairs, other[bucket])
        assert set((pairs >> 32) % 5) == {bucket}


def test_no_more_files_are_opened_than_hold_the_table(table: Folder) -> None:
    files = files_of(table.read_table("ratings"))
    assert files is not None
    names = {path.name for path in files_in(table)}
    assert {row["path"].rsplit("/", 1)[1] for row in files.select("path").collect()} == names


def files_in(table: Folder) -> list[Path]:
    from pathlib import Path

    return list(Path(table.path("ratings").removeprefix("file://")).glob("*.parquet"))


def test_a_frame_of_some_files_of_a_folder_is_left_to_spark(
    table: Folder, spark: SparkSession
) -> None:
    first = min(path.name for path in files_in(table))
    folder = literal(table.path("ratings"))
    assert files_of(spark.read.parquet(folder), least_bytes=0) is not None
    some = spark.read.option("pathGlobFilter", first).parquet(folder)
    assert files_of(some, least_bytes=0) is None
    below = spark.read.option("recursiveFileLookup", "true").parquet(f"{folder}/..")
    assert below.count() == ROWS
    assert files_of(below, least_bytes=0) is None


def test_a_name_in_another_case_is_left_to_spark(table: Folder) -> None:
    assert files_of(table.read_table("ratings").select("USER")) is None


def test_rows_that_are_not_those_of_files_come_from_spark(
    table: Folder, spark: SparkSession, tmp_path: Path
) -> None:
    stored = table.read_table("ratings")
    assert files_of(stored.select("item", "user").select("user")) is not None
    assert files_of(stored, least_bytes=1 << 30) is None
    other: dict[str, DataFrame] = {
        "renamed": stored.withColumnRenamed("item", "user_").select("user_"),
        "computed": stored.withColumn("user", F.col("user") + 1),
        "chosen": stored.where("user > 0"),
        "some": stored.limit(10),
        "two tables": stored.unionAll(stored),
        "once": stored.distinct(),
        "no file": spark.range(10),
    }
    for name, frame in other.items():
        assert files_of(frame, least_bytes=0) is None, name
    few = stored.limit(100)
    few.write.partitionBy("rating").parquet(str(tmp_path / "parts"))
    assert files_of(spark.read.parquet(str(tmp_path / "parts")), least_bytes=0) is None
    few.write.orc(str(tmp_path / "orc"))
    assert files_of(spark.read.orc(str(tmp_path / "orc")), least_bytes=0) is None
    delta = Folder(spark, tmp_path / "delta", format="delta")
    assert files_of(delta.write_table("t", few), least_bytes=0) is None


def test_a_cached_table_is_not_read_again(table: Folder) -> None:
    stored = table.read_table("ratings").select("user", "item").persist()
    try:
        assert files_of(stored) is None
        assert files_of(stored.select("item")) is None
    finally:
        stored.unpersist()
    assert files_of(table.read_table("ratings").select("user", "item")) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parquet.crypto.factory.class", "org.apache.parquet.crypto.DecryptionPropertiesFactory"),
        ("spark.sql.files.ignoreCorruptFiles", "true"),
        ("spark.sql.files.openCostInBytes", str(100 << 20)),
        ("spark.sql.files.maxPartitionNum", "1"),
        ("spark.sql.sources.binaryFile.maxLength", "1000"),
    ],
)
def test_settings_that_a_task_could_not_keep_leave_the_rows_to_spark(
    table: Folder, spark: SparkSession, name: str, value: str
) -> None:
    stored = table.read_table("ratings")
    spark.conf.set(name, value)
    try:
        assert files_of(stored.select("user", "item")) is None
    finally:
        spark.conf.unset(name)
    assert files_of(stored.select("user", "item")) is not None


def test_keys_given_to_a_reader_leave_the_rows_to_spark(table: Folder, spark: SparkSession) -> None:
    factory = "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory"
    reader = spark.read.option("parquet.crypto.factory.class", factory)
    schema = table.read_table("ratings").schema
    assert files_of(reader.schema(schema).parquet(literal(table.path("ratings")))) is None


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"user": [1, None]}, "missing"),
        ({"user": [1, 2**40]}, "not in range"),
        ({"item": [1]}, "user"),
        (None, "magic bytes"),
    ],
    ids=["a null", "too large", "another column", "not Parquet"],
)
def test_a_file_that_cannot_be_used_is_named(
    rows: dict[str, list[int | None]] | None, says: str
) -> None:
    sink = pa.BufferOutputStream()
    if rows is None:
        sink.write(b"user,item\n1,2\n")
    else:
        pq.write_table(pa.table({k: pa.array(v, pa.int64()) for k, v in rows.items()}), sink)
    content = sink.getvalue().to_pybytes()
    files = pa.RecordBatch.from_pydict({"path": ["hdfs://x/part-1"], "content": [content]})
    with pytest.raises(ValueError, match=f"hdfs://x/part-1.*{says}"):
        list(decoded([files], [("user", pa.int32())]))
