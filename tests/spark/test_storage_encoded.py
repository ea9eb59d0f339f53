"""Parquet files from Python tasks: like those of Spark's own writer, for every reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from recpipe.storage import Folder
from recpipe.storage.encoded import WRITTEN_FILES, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

SCHEMA = pa.schema([("n", pa.int64()), ("at", pa.timestamp("us", "UTC"))])


def made(spark: SparkSession, partitions: int) -> DataFrame:
    """From each partition a file of two row groups, and one of none."""
    schema = SCHEMA

    def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        start = sum(int(batch.column(0)[0].as_py()) for batch in batches if batch.num_rows)
        groups = []
        for n in (np.arange(start, start + 3), np.arange(start + 3, start + 5)):
            at = pa.array(n * 1_000_000).cast(schema.field("at").type)
            groups.append(pa.RecordBatch.from_arrays([pa.array(n), at], schema=schema))
        yield encode(groups, schema, dictionary=["n"])
        yield encode([], schema, dictionary=["n"])

    return spark.range(0, 10 * partitions, 10, partitions).mapInArrow(files, WRITTEN_FILES)


def test_files_of_tasks_are_read_by_everybody(spark: SparkSession, tmp_path: Path) -> None:
    root = Folder(spark, tmp_path / "my root")
    (tmp_path / "my root" / "t").mkdir(parents=True)
    (tmp_path / "my root" / "t" / "old.parquet").write_bytes(b"PAR1")
    schema = spark.createDataFrame([], "n long, at timestamp").schema
    table = root.write_encoded("t", made(spark, 4), schema)
    expected = [n for start in (0, 10, 20, 30) for n in range(start, start + 5)]
    assert sorted(row["n"] for row in table.collect()) == expected
    rows = root.read_table("t").selectExpr("n", "unix_seconds(at) AS s").collect()
    assert sorted(row["s"] for row in rows) == expected
    assert root.read_table("t").schema == schema
    folder = tmp_path / "my root" / "t"
    names = sorted(path.name for path in folder.iterdir() if path.name[0] not in "._")
    assert len(names) == 8
    assert all(name.endswith(".zstd.parquet") for name in names)
    assert (folder / "_SUCCESS").exists()
    # Of a checksum beside a file, the file is there too.
    assert all((folder / p.name[1:-4]).exists() for p in folder.glob(".*.crc"))
    assert sorted(ds.dataset(folder, format="parquet").to_table()["n"].to_pylist()) == expected
    found = duckdb.read_parquet(f"{folder}/*.parquet").aggregate("count(*), sum(n)").fetchall()
    assert found == [(20, sum(expected))]
    meta = pq.ParquetFile(folder / names[0]).metadata
    assert meta.num_row_groups in {0, 2}


def test_delta_writes_its_own_files(spark: SparkSession, tmp_path: Path) -> None:
    files, folder = made(spark, 1), Folder(spark, tmp_path, format="delta")
    assert not folder.takes_encoded
    with pytest.raises(ValueError, match="Delta"):
        folder.write_encoded("t", files, files.schema)


def test_where_parquet_encrypts_spark_writes(spark: SparkSession, tmp_path: Path) -> None:
    folder, name = Folder(spark, tmp_path), "parquet.crypto.factory.class"
    assert folder.takes_encoded
    spark.conf.set(name, "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory")
    try:
        assert not folder.takes_encoded
    finally:
        spark.conf.unset(name)
