from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import CheckError, ContractError, UsageError
from recpipe.publish import Export, export, point_to
from recpipe.publish.parquet import _described
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

DAY = date(2026, 11, 21)
COLUMNS = RECOMMENDATIONS.columns


def lists(
    spark: SparkSession, users: list[str] | list[int], *, n: int = 3, score: float = 0.0
) -> DataFrame:
    """n places of each user, the last first, spread over partitions."""
    from pyspark.sql.types import LongType, StringType

    rows = [
        (
            user,
            rank,
            str(100 * rank) if isinstance(user, str) else 100 * rank,
            score - rank,
            "sgd",
            DAY,
        )
        for user in reversed(users)
        for rank in range(n, 0, -1)
    ]
    ids: DataType = StringType() if isinstance(users[0], str) else LongType()
    return spark.createDataFrame(rows, RECOMMENDATIONS.schema(ids=ids)).repartition(5)


@pytest.fixture
def root(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path / "the root")


def folder_of(root: Folder, run_id: str) -> Path:
    return Path(root.uri.removeprefix("file://")) / "published" / "recommendations" / run_id


def test_rows_are_sorted_within_and_across_files_in_the_order_of_their_names(
    spark: SparkSession, root: Folder
) -> None:
    # As strings 10 comes before 2, and é after z.
    users = [str(number) for number in range(1, 60)] + ["é", "z", "Z"]

    done = export(lists(spark, users), root=root, run_id="r1", files=4)

    files = sorted(folder_of(root, "r1").iterdir())
    assert len(files) == 4
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    expected = [(user, rank) for user in sorted(users) for rank in (1, 2, 3)]
    assert [(row["user_id"], row["rank"]) for row in rows] == expected
    assert (done.rows, done.users) == (len(users) * 3, len(users))


def test_the_folder_holds_nothing_but_its_files_which_the_manifest_can_check(
    spark: SparkSession, root: Folder
) -> None:
    done = export(lists(spark, list(range(40))), root=root, run_id="r1", files=2)

    files = sorted(folder_of(root, "r1").iterdir())
    described = json.loads(json.dumps(done.as_dict()))
    assert described["path"] == "published/recommendations/r1"
    assert [file["path"] for file in described["files"]] == [
        f"published/recommendations/r1/{file.name}" for file in files
    ]
    for file, entry in zip(files, described["files"], strict=True):
        assert file.name.startswith("part-")
        assert file.name.endswith(".parquet")
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry["rows"] == pq.read_metadata(file).num_rows
        assert entry["bytes"] == file.stat().st_size


@pytest.mark.parametrize(
    ("users", "ids"), [(["b", "a"], pa.string()), ([2, 1], pa.int64())], ids=["string", "long"]
)
def test_every_reader_without_spark_gets_the_six_columns_in_order(
    spark: SparkSession, root: Folder, users: list[str] | list[int], ids: pa.DataType
) -> None:
    export(lists(spark, users), root=root, run_id="r1")

    folder = folder_of(root, "r1")
    schema = pq.read_schema(next(folder.iterdir()))
    assert list(zip(schema.names, schema.types, strict=True)) == [
        ("user_id", ids),
        ("rank", pa.int32()),
        ("item_id", ids),
        ("score", pa.float32()),
        ("source", pa.string()),
        ("run_date", pa.date32()),
    ]
    metadata = pq.read_metadata(next(folder.iterdir()))
    codecs = {metadata.row_group(0).column(place).compression for place in range(6)}
    assert codecs == {"ZSTD"}
    expected = [(user, rank) for user in sorted(users) for rank in (1, 2, 3)]
    by_reader = {
        "pyarrow": pq.read_table(folder).to_pandas(),
        "pandas": pd.read_parquet(folder),
        "polars": pl.read_parquet(folder).to_pandas(),
        "polars by pattern": pl.read_parquet(f"{folder}/part-*.parquet").to_pandas(),
        "duckdb": duckdb.read_parquet(f"{folder}/part-*.parquet").df(),
    }
    for reader, frame in by_reader.items():
        assert list(frame.columns) == COLUMNS, reader
        found = zip(frame["user_id"], frame["rank"], strict=True)
        assert list(found) == expected, reader


def test_a_root_of_delta_tables_publishes_parquet_all_the_same(
    spark: SparkSession, tmp_path: Path
) -> None:
    delta = Folder(spark, tmp_path, format="delta")

    export(lists(spark, ["a"]), root=delta, run_id="r1")

    assert [f.suffix for f in folder_of(delta, "r1").iterdir()] == [".parquet"]


def test_what_an_interrupted_publish_left_is_replaced(spark: SparkSession, root: Folder) -> None:
    leftover = folder_of(root, "r1") / "_temporary" / "0"
    leftover.mkdir(parents=True)
    (folder_of(root, "r1") / "part-99999-torn.parquet").write_bytes(b"PAR1")

    done = export(lists(spark, ["a", "b"]), root=root, run_id="r1")

    assert [f"{done.path}/{f.name}" for f in folder_of(root, "r1").iterdir()] == [
        file.path for file in done.files
    ]
    assert len(pq.read_table(folder_of(root, "r1"))) == 6


def test_a_published_version_is_never_written_again(spark: SparkSession, root: Folder) -> None:
    first = export(lists(spark, ["a", "b"]), root=root, run_id="r1")
    point_to(first, root=root, keep=2)
    before = {f: f.stat().st_mtime_ns for f in folder_of(root, "r1").iterdir()}

    again = export(lists(spark, ["a", "b"]), root=root, run_id="r1")
    with pytest.raises(UsageError, match="run r1 is published with other rows"):
        export(lists(spark, ["a", "b"], score=1.0), root=root, run_id="r1")

    assert again == first
    assert {f: f.stat().st_mtime_ns for f in folder_of(root, "r1").iterdir()} == before


def test_other_columns_or_no_row_are_refused_and_leave_no_folder(
    spark: SparkSession, root: Folder
) -> None:
    frame = lists(spark, ["a"])

    with pytest.raises(ContractError, match="columns are"):
        export(frame.withColumn("more", frame["rank"]), root=root, run_id="r1")
    with pytest.raises(ContractError, match="no row"):
        export(frame.where("rank > 9"), root=root, run_id="r1")

    assert not folder_of(root, "r1").exists()


@pytest.mark.parametrize(
    "rows_of_files",
    [
        [[("a", 1), ("a", 2)], [("b", 2), ("b", 1)]],
        [[("b", 1), ("b", 2)], [("a", 1), ("a", 2)]],
        [[("a", 1)], [("a", 2), ("b", 1)]],
    ],
    ids=["within a file", "across files", "a user in two files"],
)
def test_files_that_are_not_sorted_are_found_when_read_back(
    spark: SparkSession, tmp_path: Path, rows_of_files: list[list[tuple[str, int]]]
) -> None:
    for number, rows in enumerate(rows_of_files):
        users, ranks = zip(*rows, strict=True)
        rest = {"item_id": "i", "score": 1.0, "source": "sgd", "run_date": DAY}
        columns = {name: [value] * len(rows) for name, value in rest.items()}
        table = pa.table({"user_id": users, "rank": pa.array(ranks, pa.int32()), **columns})
        pq.write_table(table, tmp_path / f"part-{number:05d}.parquet")

    with pytest.raises(CheckError, match="not sorted by user_id, rank"):
        _described(Folder(spark, tmp_path), "r1")


def test_rows_of_files_decide_their_number(
    spark: SparkSession, root: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpipe.publish.parquet.ROWS_A_FILE", 50)

    done: Export = export(lists(spark, list(range(40))), root=root, run_id="r1")

    assert len(done.files) == 3
    assert sum(file.rows for file in done.files) == done.rows == 120
