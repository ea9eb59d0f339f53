"""Tables that are replaced together, as Parquet and as Delta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import duckdb
import pytest
from deltalake import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from recpipe.contracts import ITEMS, USERS
from recpipe.errors import ContractError, InputError, UsageError
from recpipe.storage import Folder, Tables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

Format = Literal["parquet", "delta"]
BOTH = pytest.mark.parametrize("format", ["parquet", "delta"])


def users(spark: SparkSession, *values: int) -> DataFrame:
    rows = [(value, number) for number, value in enumerate(values)]
    return spark.createDataFrame(rows, "user_id bigint, user int").coalesce(1)


def items(spark: SparkSession, *values: str) -> DataFrame:
    rows = [(value, number) for number, value in enumerate(values)]
    return spark.createDataFrame(rows, "item_id string, item int").coalesce(1)


def ids(tables: Tables) -> list[int]:
    return sorted(row["user_id"] for row in tables.read("users").collect())


@BOTH
def test_a_replacement_is_seen_whole_once_its_block_has_ended(
    spark: SparkSession, tmp_path: Path, format: Format
) -> None:
    tables = Tables(Folder(spark, tmp_path, format=format))
    assert not tables.exist()
    with tables.replace(source={"path": "a"}) as first:
        first.write(USERS, users(spark, 1, 2))
        first.write(ITEMS, items(spark, "x"))
        assert not tables.exist()
    before = tables.versions()
    with tables.replace() as second:
        written = second.write(USERS, users(spark, 3))
        assert [row["user_id"] for row in written.collect()] == [3]
        assert ids(tables) == [1, 2]
        second.describe({"path": "b", "rows": 1})
        second.drop("items")
    assert ids(tables) == [3]
    assert tables.versions() == second.versions
    assert tables.versions().keys() == {"users"}
    assert tables.current()["source"] == {"path": "b", "rows": 1}
    assert tables.current()["format"] == format
    # A run that began before still reads what it is pinned to.
    old = tables.read("users", version=before["users"])
    assert sorted(row["user_id"] for row in old.collect()) == [1, 2]


@BOTH
def test_a_block_that_fails_leaves_everything_as_it_was(
    spark: SparkSession, tmp_path: Path, format: Format
) -> None:
    tables = Tables(Folder(spark, tmp_path, format=format))
    with tables.replace() as first:
        first.write(USERS, users(spark, 1))
    pointer = (tmp_path / "tables" / "CURRENT.json").read_bytes()
    parquet = {p for p in tmp_path.rglob("*") if format == "parquet"}

    def interrupted() -> None:
        with tables.replace() as second:
            second.write(USERS, users(spark, 2))
            second.write(ITEMS, items(spark, "x"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "tables" / "CURRENT.json").read_bytes() == pointer
    assert {p for p in tmp_path.rglob("*") if format == "parquet"} == parquet
    assert not (tmp_path / "tables" / "items").exists()
    assert ids(tables) == [1]
    if format == "delta":
        assert newest_delta(tmp_path / "tables" / "users") == [1]


@BOTH
def test_input_that_proves_unusable_after_its_ingest_leaves_the_tables_as_they_were(
    spark: SparkSession, tmp_path: Path, format: Format
) -> None:
    tables = Tables(Folder(spark, tmp_path / "root", format=format))

    def ingest_then(error: Exception, *values: int) -> None:
        with tables.provisional():
            with tables.replace() as replacement:
                replacement.write(USERS, users(spark, *values))
            assert ids(tables) == list(values)
            raise error

    with pytest.raises(InputError):
        ingest_then(InputError("an empty split"), 1)
    assert not tables.exist()
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []

    with tables.replace() as kept:
        kept.write(USERS, users(spark, 1, 2))
    before = tables.current()
    with pytest.raises(InputError):
        ingest_then(InputError("an empty split"), 3)
    assert tables.current() == before
    assert ids(tables) == [1, 2]

    with pytest.raises(UsageError):
        ingest_then(UsageError("no fault of the input"), 4)
    assert ids(tables) == [4]


@BOTH
def test_the_first_replacement_that_fails_leaves_no_folder(
    spark: SparkSession, tmp_path: Path, format: Format
) -> None:
    tables = Tables(Folder(spark, tmp_path / "root", format=format))
    broken = users(spark, 1).selectExpr("user_id", "CAST(raise_error('not today') AS int) AS user")

    def failing() -> None:
        with tables.replace() as replacement:
            replacement.write(ITEMS, items(spark, "x"))
            replacement.write(USERS, broken)

    # Delta throws what Spark itself would have made an error of Python.
    with pytest.raises((PySparkException, Py4JJavaError), match="not today"):
        failing()
    assert not tables.exist()
    assert not (tmp_path / "root" / "tables").exists()


def test_a_frame_that_breaks_the_contract_is_not_written(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables = Tables(Folder(spark, tmp_path))
    with pytest.raises(ContractError), tables.replace() as replacement:
        replacement.write(USERS, items(spark, "x"))
    assert not (tmp_path / "tables").exists()


def test_tables_of_one_format_are_not_replaced_by_the_other(
    spark: SparkSession, tmp_path: Path
) -> None:
    with Tables(Folder(spark, tmp_path)).replace() as replacement:
        replacement.write(USERS, users(spark, 1))
    other = Tables(Folder(spark, tmp_path, format="delta"))
    with pytest.raises(UsageError, match="holds parquet tables"), other.replace():
        pass
    # Reading recognises what is there.
    assert ids(other) == [1]


def test_parquet_keeps_the_current_version_and_the_one_before(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables = Tables(Folder(spark, tmp_path))
    for value in range(4):
        with tables.replace() as replacement:
            replacement.write(USERS, users(spark, value))
            if value == 1:
                replacement.write(ITEMS, items(spark, "x"))
            if value == 2:
                replacement.drop("items")
                # Whoever reads the state before still finds it.
        assert (tmp_path / "tables" / "items").exists() == (value in {1, 2})
    folders = sorted(p.name for p in (tmp_path / "tables" / "users").iterdir())
    assert folders == ["000003", "000004"]
    assert ids(tables) == [3]


def test_delta_tables_are_read_without_spark_at_the_version_of_the_pointer(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = Folder(spark, tmp_path / "my röot", format="delta", tag="why it was written")
    tables = Tables(root)
    for values in ((1, 2), (3, 4, 5)):
        with tables.replace() as replacement:
            replacement.write(USERS, users(spark, *values))
    path = tmp_path / "my röot" / "tables" / "users"
    assert newest_delta(path) == [3, 4, 5]
    assert DeltaTable(path, version=tables.versions()["users"]).history(1)[0]["userMetadata"] == (
        "why it was written"
    )
    # A wrong step is taken back by the version before.
    first = DeltaTable(path, version=0).to_pyarrow_table()
    assert sorted(first["user_id"].to_pylist()) == [1, 2]
    with duckdb.connect() as connection:
        connection.register("first", first)
        assert connection.execute("SELECT sum(user) FROM first").fetchall() == [(1,)]


def newest_delta(path: Path) -> list[int]:
    return sorted(DeltaTable(path).to_pyarrow_table()["user_id"].to_pylist())
