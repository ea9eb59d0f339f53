"""Parquet files that tasks decode: the rows that Spark reads, and only where they are no others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from recpipe.ranking.histories import HISTORY, write_histories
from recpipe.spark.interactions import PACKED, Value, map_pairs, packed
from recpipe.storage import Folder
from recpipe.storage.decoded import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Stored

ROWS = 1_500_000
"""Whose files are large enough to be handed over."""


def written(spark: SparkSession, folder: Folder) -> Stored:
    """The table `ratings`, with ids on both sides of zero."""
    rows = spark.range(0, ROWS, 1, 3).select(
        F.expr("cast(pmod(xxhash64(id), 50000) - 25000 as int)").alias("user"),
        F.expr("cast(pmod(xxhash64(id, 1), 9000) - 4500 as int)").alias("item"),
        F.expr("cast(pmod(id, 10) / 2 as float)").alias("rating"),
        F.timestamp_seconds("id").alias("rated_at"),
    )
    folder.write_table("ratings", rows)
    return folder.stored("ratings")


@pytest.fixture(scope="module")
def table(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """`written`, in a folder whose name is full of patterns."""
    return written(spark, Folder(spark, tmp_path_factory.mktemp("root") / "a [b]% {c}?*"))


def summed(rows: Interactions) -> tuple[float, ...]:
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


def test_tasks_decode_the_rows_that_spark_reads(table: Stored) -> None:
    held_to_spark(table)


def held_to_spark(stored: Stored) -> None:
    """Fail unless `stored` goes by its files, and with the same rows as by Spark."""
    assert stored.files(["user", "item", "rating"]) is not None
    found = summed(stored)
    assert found == summed(stored.frame)
    assert found[0] == ROWS


def test_what_is_packed_from_files_is_what_is_packed_from_rows(table: Stored) -> None:
    def buckets(rows: Interactions) -> dict[int, np.ndarray]:
        found = packed(rows, buckets=5).toArrow()
        assert found.schema.names == [field.split()[0] for field in PACKED.split(", ")]
        pairs: dict[int, list[np.ndarray]] = {bucket: [] for bucket in range(5)}
        for bucket, some in zip(found["bucket"], found["keys"], strict=True):
            pairs[bucket.as_py()].append(np.frombuffer(some.as_py(), np.int64))
        return {bucket: np.sort(np.concatenate(some)) for bucket, some in pairs.items()}

    one, other = buckets(table), buckets(table.frame)
    for bucket, pairs in one.items():
        assert np.array_equal(pairs, other[bucket])
        assert set((pairs >> 32) % 5) == {bucket}


def test_histories_that_are_written_from_files_are_those_that_are_written_from_rows(
    table: Stored, spark: SparkSession, tmp_path: Path
) -> None:
    scratch = Folder(spark, tmp_path)
    for name, ratings, writer in (
        ("files", table, "parquet-cpp-arrow"), ("rows", table.frame, "parquet-mr"),
    ):  # fmt: skip
        stored = write_histories(scratch, name, ratings, value="rating")
        histories = stored.frame
        assert ", ".join(" ".join(column) for column in histories.dtypes) == HISTORY
        assert summed(histories.withColumnRenamed("value", "rating")) == summed(table.frame)
        writers = {pq.read_metadata(file).created_by.split()[0] for file in files_in(stored)}
        assert writers == {writer}


def test_the_files_are_those_that_hold_the_table(table: Stored) -> None:
    files = table.files(["user"])
    assert files is not None
    names = {path.name for path in files_in(table)}
    assert {row["path"].rsplit("/", 1)[1] for row in files.select("path").collect()} == names


def files_in(table: Stored) -> list[Path]:
    from pathlib import Path

    return list(Path(str(table.path).removeprefix("file://")).glob("*.parquet"))


def test_a_name_that_the_table_has_in_another_case_or_not_at_all_is_left_to_spark(
    table: Stored,
) -> None:
    assert table.files(["USER"]) is None
    assert table.files(["user", "stars"]) is None


def test_rows_of_few_bytes_come_from_spark(table: Stored) -> None:
    assert table.files(["user"], min_bytes=1 << 30) is None


def test_tables_that_are_more_than_files_of_one_folder_come_from_spark(
    table: Stored, spark: SparkSession, tmp_path: Path
) -> None:
    few = table.frame.limit(100)
    folder = Folder(spark, tmp_path)
    folder.write_table("whole", few)
    assert folder.stored("whole").files(["user"], min_bytes=0) is not None
    folder.write_table("parts", few, partition_by=["rating"])
    assert folder.stored("parts").files(["user"], min_bytes=0) is None
    delta = Folder(spark, tmp_path / "delta", format="delta")
    delta.write_table("t", few)
    stored = delta.stored("t")
    assert stored.files(["user"], min_bytes=0) is None
    assert stored.frame.count() == 100
    delta.write_table("t", few.limit(1))
    assert delta.stored("t", version=0).frame.count() == 100


@pytest.mark.parametrize("files", [1, 300])
def test_too_few_and_too_many_files_come_from_spark(
    spark: SparkSession, tmp_path: Path, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(spark, tmp_path)
    folder.write_table("t", spark.range(0, 1000, 1, 1).select(F.col("id").alias("user")))
    (made,) = files_in(folder.stored("t"))
    for number in range(1, files):
        shutil.copy(made, made.with_name(f"part-{number}.parquet"))
    # One file keeps one core at work, and a cluster has many.
    monkeypatch.setattr(type(spark.sparkContext), "defaultParallelism", 9)
    assert folder.stored("t").files(["user"], min_bytes=0) is None


@pytest.mark.parametrize("missing", ["skip", 0])
def test_a_column_that_lacks_values_comes_from_spark(
    spark: SparkSession, tmp_path: Path, missing: Literal["skip", 0]
) -> None:
    folder = Folder(spark, tmp_path)
    rows = spark.range(0, ROWS, 1, 3).selectExpr(
        "cast(id as int) AS user",
        "cast(pmod(xxhash64(id), 100000) as int) AS item",
        "cast(if(id % 2 = 0, 1, null) as float) AS rating",
    )
    folder.write_table("t", rows)
    stored = folder.stored("t")
    assert stored.files(["user", "item", "rating"]) is not None

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"rows": pa.array([len(batch)], pa.int32())})

    value = Value("rating", "float", missing=missing)
    found = map_pairs(stored, count, "rows int", value=value).agg(F.sum("rows")).collect()[0][0]
    assert found == (ROWS // 2 if missing == "skip" else ROWS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parquet.crypto.factory.class", "org.apache.parquet.crypto.DecryptionPropertiesFactory"),
        ("spark.sql.files.ignoreCorruptFiles", "true"),
        ("spark.sql.files.openCostInBytes", "100m"),
        ("spark.sql.files.maxPartitionNum", "1"),
        ("spark.sql.sources.binaryFile.maxLength", "1000"),
    ],
)
def test_settings_that_a_task_could_not_keep_leave_the_rows_to_spark(
    table: Stored, spark: SparkSession, name: str, value: str
) -> None:
    spark.conf.set(name, value)
    try:
        assert table.files(["user", "item"]) is None
    finally:
        spark.conf.unset(name)
    assert table.files(["user", "item"]) is not None


def test_encryption_that_the_store_s_own_settings_ask_for_leaves_the_rows_to_spark(
    table: Stored, spark: SparkSession
) -> None:
    name = "parquet.crypto.factory.class"
    conf: Any = spark.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001 - as core-site.xml does
    conf.set(name, "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory")
    try:
        assert table.files(["user", "item"]) is None
    finally:
        conf.unset(name)


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
