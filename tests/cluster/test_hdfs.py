"""Storage on a real HDFS: it must do what the local one does."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from recpipe.contracts import USERS
from recpipe.errors import MissingError
from recpipe.storage import Folder, Runs, Tables
from recpipe.storage.filesystem import FileSystem, file_system
from recpipe.storage.hadoop import HadoopFileSystem
from tests.spark import test_storage_decoded as decoded
from tests.spark import test_storage_filesystem as filesystem
from tests.spark import test_storage_folder as folder
from tests.spark.test_storage_tables import ids, users

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.hadoop import Hadoop

pytestmark = pytest.mark.cluster


@pytest.fixture
def place(hadoop_cluster: Hadoop) -> str:
    return f"{hadoop_cluster.uri}/{uuid4().hex}/{filesystem.ODD_NAME}"


class TestFileSystem(filesystem.TestFileSystem):
    replacements = 40

    @pytest.fixture
    def root(self, place: str) -> str:
        return place

    @pytest.fixture
    def fs(self, root: str, spark: SparkSession) -> FileSystem:
        fs = file_system(root, spark)
        assert isinstance(fs, HadoopFileSystem)
        return fs


class TestFolder(folder.TestFolder):
    @pytest.fixture
    def root(self, spark: SparkSession, place: str) -> Folder:
        return Folder(spark, place)


def test_the_root_of_the_store_is_a_folder_as_any_other(
    spark: SparkSession, hadoop_cluster: Hadoop
) -> None:
    root = Folder(spark, f"{hadoop_cluster.uri}/")
    assert root.exists()
    root.write_text("at-the-top", "x")
    assert "at-the-top" in root.list()
    assert root.read_text("at-the-top") == "x"


def test_a_root_without_a_host_is_on_the_default_file_system(
    spark: SparkSession, hadoop_cluster: Hadoop
) -> None:
    # Hadoop keeps a client, and the default that it knew, for as long as the process lives.
    settings = {"fs.defaultFS": hadoop_cluster.uri, "fs.hdfs.impl.disable.cache": "true"}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        root = Folder(spark, f"hdfs:///{uuid4().hex}")
        root.write_json("CURRENT.json", {"version": 1})
        root.write_json("CURRENT.json", {"version": 2})
        root.fs.rename(root.path("CURRENT.json"), root.path("moved.json"))
        assert root.read_json("moved.json") == {"version": 2}
        assert root.list() == ["moved.json"]
        assert root.write_table("t", spark.range(3)).count() == 3
    finally:
        for name in settings:
            spark.conf.unset(name)


def test_tables_on_hdfs_stay_current_through_replacements(spark: SparkSession, place: str) -> None:
    tables = Tables(Folder(spark, place))
    for values in ([1], [1, 2], [1, 2, 3]):
        with tables.replace() as replacement:
            replacement.write(USERS, users(spark, *values))
        assert ids(tables) == values
    assert (tables.folder / "users").list() == ["000002", "000003"]


def test_files_on_hdfs_are_decoded_by_tasks(spark: SparkSession, place: str) -> None:
    decoded.held_to_spark(decoded.written(spark, Folder(spark, place)))


def test_runs_are_kept_and_found_on_hdfs(spark: SparkSession, place: str) -> None:
    runs = Runs(Folder(spark, place))
    runs.start("b", {}).record(status="failed")
    runs.start("a", {}).record(status="finished")
    assert [run.id for run in runs.all()] == ["b", "a"]
    assert runs.unfinished(None).id == "b"


def test_a_name_node_that_does_not_answer_is_said_in_one_line(spark: SparkSession) -> None:
    conf = spark.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001 - no public way
    conf.set("ipc.client.connect.max.retries", "0")
    with pytest.raises(MissingError, match="hdfs://localhost:1/x") as caught:
        Folder(spark, "hdfs://localhost:1/x").exists()
    assert "\n" not in str(caught.value)
