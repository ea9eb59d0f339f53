"""Tables and small files below a root; tests/cluster/test_hdfs.py runs the same on HDFS."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import numpy as np
import pyarrow as pa
import pytest
from chispa import assert_df_equality
from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from recpipe.contracts import USERS
from recpipe.errors import ContractError, InputError, UsageError
from recpipe.storage import Folder
from recpipe.storage.encoded import WRITTEN_FILES, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

ODD_NAME = "röot & 100%25 #1 [a] {b} it's `x`"


class TestFolder:
    @pytest.fixture
    def root(self, spark: SparkSession, tmp_path: Path) -> Folder:
        return Folder(spark, tmp_path / ODD_NAME)

    def test_a_table_is_read_back_as_it_was_written(
        self, root: Folder, spark: SparkSession
    ) -> None:
        frame = spark.createDataFrame([("ü", 1), ("b", 2)], "user_id string, user int")
        written = root.write_table("users", frame, contract=USERS)
        assert_df_equality(written, frame, ignore_row_order=True)
        assert_df_equality(root.read_table("users"), frame, ignore_row_order=True)
        assert root.has_table("users")

    def test_files_of_tasks_replace_a_table(self, root: Folder, spark: SparkSession) -> None:
        schema = pa.schema([("n", pa.int64())])

        def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            numbers = [batch.column(0) for batch in batches]
            groups = [pa.RecordBatch.from_arrays([array], schema=schema) for array in numbers]
            yield encode(groups, schema, dictionary=["n"])

        root.write_table("t", spark.range(9))
        made = spark.range(0, 7, 1, 3).mapInArrow(files, WRITTEN_FILES)
        written = root.write_encoded("t", made, spark.createDataFrame([], "n long").schema)
        for table in (written, root.read_table("t")):
            assert sorted(row["n"] for row in table.collect()) == list(range(7))

    def test_a_table_that_is_taken_moves_and_replaces_another(
        self, root: Folder, spark: SparkSession
    ) -> None:
        root.write_table("t", spark.range(9))
        with root.scratch("fit") as scratch:
            scratch.write_table("made", spark.range(3))
            (file,) = [name for name in (scratch / "made").list() if name.endswith(".parquet")][:1]
            root.take_table("t", scratch.stored("made"))
            assert not scratch.has_table("made")
        assert sorted(row["id"] for row in root.read_table("t").collect()) == [0, 1, 2]
        assert file in (root / "t").list()

    def test_where_tables_are_delta_one_that_is_taken_is_written_anew(
        self, root: Folder, spark: SparkSession
    ) -> None:
        delta = Folder(spark, f"{root.uri}/below", format="delta")
        root.write_table("made", spark.range(3))
        delta.take_table("t", root.stored("made"))
        assert DeltaTable.forPath(spark, delta.path("t")).toDF().count() == 3

    def test_a_partitioned_table_keeps_its_rows(self, root: Folder, spark: SparkSession) -> None:
        frame = spark.createDataFrame([(1, "x"), (2, "y")], "value int, part string")
        written = root.write_table("t", frame, partition_by=["part"])
        assert_df_equality(written, frame, ignore_row_order=True)

    def test_an_empty_table_keeps_its_columns(self, root: Folder, spark: SparkSession) -> None:
        frame = spark.createDataFrame([], "user_id string, user int")
        assert root.write_table("users", frame, contract=USERS).schema == frame.schema

    def test_a_table_of_other_columns_is_refused_and_the_old_one_stays(
        self, root: Folder, spark: SparkSession
    ) -> None:
        frame = spark.createDataFrame([("a", 1)], "user_id string, user int")
        root.write_table("users", frame, contract=USERS)
        with pytest.raises(ContractError, match="users"):
            root.write_table("users", frame.withColumnRenamed("user", "u"), contract=USERS)
        assert_df_equality(root.read_table("users"), frame)

    def test_a_write_that_dies_half_way_is_no_table(
        self, root: Folder, spark: SparkSession
    ) -> None:
        # Two tasks; the first writes its file, the second fails at its last row.
        rows = spark.range(0, 1000, 1, 2)
        broken = rows.select(F.when(F.col("id") == 999, F.raise_error(F.lit("no"))).alias("x"))
        with pytest.raises(PySparkException):
            root.write_table("t", broken)
        assert not root.has_table("t")
        with pytest.raises(UsageError, match="no complete table"):
            root.read_table("t")

    def test_a_write_that_dies_takes_no_old_table_for_the_new(
        self, root: Folder, spark: SparkSession
    ) -> None:
        root.write_table("t", spark.range(3))
        with pytest.raises(PySparkException):
            root.write_table("t", spark.range(3).select(F.raise_error(F.lit("no")).alias("id")))
        assert not root.has_table("t")

    def test_json_is_read_back_and_written_for_people(self, root: Folder) -> None:
        root.write_json("m.json", {"name": "Amélie", "at": date(2020, 1, 2)})
        assert root.read_json("m.json") == {"name": "Amélie", "at": "2020-01-02"}
        assert root.read_text("m.json").endswith("\n")

    def test_missing_and_broken_json_are_said_with_their_path(self, root: Folder) -> None:
        with pytest.raises(InputError, match=r"none\.json is missing"):
            root.read_json("none.json")
        root.write_text("broken.json", '{"a": ')
        with pytest.raises(InputError, match=r"broken\.json is not JSON"):
            root.read_json("broken.json")

    def test_scratch_is_gone_when_its_block_ends_in_an_error(
        self, root: Folder, spark: SparkSession
    ) -> None:
        def work() -> None:
            with root.scratch("work") as scratch:
                scratch.write_table("t", spark.range(3))
                assert scratch.read_table("t").count() == 3
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            work()
        assert not root.exists()

    def test_scratch_spares_what_others_put_beside_it(self, root: Folder) -> None:
        with root.scratch("outer") as outer:
            with root.scratch("inner") as inner:
                inner.write_text("a", "x")
                outer.write_text("b", "y")
                root.write_text("kept", "z")
            assert outer.read_text("b") == "y"
        assert list(root.files()) == [root.path("kept")]

    def test_files_below_are_named_relative_to_the_root(self, root: Folder) -> None:
        (root / "a/b").write_text("c.txt", "x")
        assert [root.relative(uri) for uri in root.files()] == ["a/b/c.txt"]

    def test_delete_removes_one_thing_or_the_whole(self, root: Folder) -> None:
        (root / "a").write_text("x", "1")
        (root / "b").write_text("y", "2")
        root.delete("a")
        assert root.list() == ["b"]
        root.delete()
        assert not root.exists()
        root.delete()


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "x:y", "ü", "a//b", "../x", "a/../b", "/x"])
def test_names_that_some_store_could_misread_are_refused(
    spark: SparkSession, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="cannot name"):
        Folder(spark, tmp_path) / name


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float32("nan"), np.float64("inf")]
)
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(
    spark: SparkSession, tmp_path: Path, value: Any
) -> None:
    folder = Folder(spark, tmp_path)
    folder.write_json("m.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("m.json", {"deep": [{"a": value}]})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (datetime(2020, 1, 2, 3, 4, tzinfo=UTC), "2020-01-02T03:04:00+00:00"),
        (Path("a/b"), "a/b"),
    ],
)
def test_json_keeps_numbers_numbers(
    spark: SparkSession, tmp_path: Path, value: Any, written: Any
) -> None:
    folder = Folder(spark, tmp_path)
    folder.write_json("m.json", {"v": value})
    assert folder.read_json("m.json") == {"v": written}


def test_json_refuses_what_it_would_have_to_invent(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object has no place"):
        Folder(spark, tmp_path).write_json("m.json", {"v": object()})


def test_a_delta_table_keeps_its_versions_and_who_wrote_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = Folder(spark, tmp_path / ODD_NAME, format="delta", tag="run-7")
    folder.write_table("t", spark.range(3))
    assert folder.table_version("t") == 0
    newest = folder.write_table("t", spark.range(5).withColumnRenamed("id", "other"))
    assert folder.table_version("t") == 1
    assert (newest.count(), newest.columns) == (5, ["other"])
    assert folder.read_table("t", version=0).count() == 3
    told = DeltaTable.forPath(spark, folder.path("t")).history(1).collect()[0]
    assert told["userMetadata"] == "run-7"


def test_a_delta_table_is_read_without_spark(spark: SparkSession, tmp_path: Path) -> None:
    Folder(spark, tmp_path / "a b", format="delta").write_table("t", spark.range(3))
    read = deltalake.DeltaTable(str(tmp_path / "a b" / "t")).to_pyarrow_table()
    assert sorted(read["id"].to_pylist()) == [0, 1, 2]


def test_a_table_may_change_its_format(spark: SparkSession, tmp_path: Path) -> None:
    parquet, delta = Folder(spark, tmp_path), Folder(spark, tmp_path, format="delta")
    parquet.write_table("t", spark.range(1))
    assert delta.write_table("t", spark.range(2)).count() == 2
    assert parquet.write_table("t", spark.range(3)).count() == 3
    assert sorted(p.suffix for p in (tmp_path / "t").glob("[!._]*")) == [".parquet"] * 2


def test_parquet_that_a_pointer_vouches_for_is_read_without_a_marker(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = Folder(spark, tmp_path / ODD_NAME)
    folder.write_table("t", spark.range(4))
    (folder / "t").delete("_SUCCESS")
    assert folder.read_parquet("t").count() == 4
    assert (folder / "t").read_parquet().count() == 4


def test_a_table_is_complete_even_where_the_cluster_writes_no_markers(
    spark: SparkSession, tmp_path: Path
) -> None:
    key = "mapreduce.fileoutputcommitter.marksuccessfuljobs"
    spark.conf.set(key, "false")
    try:
        assert Folder(spark, tmp_path).write_table("t", spark.range(4)).count() == 4
    finally:
        spark.conf.unset(key)
