"""What every store must do; tests/cluster/test_hdfs.py runs the same on a real HDFS."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest

from recpipe.errors import MissingError, UsageError
from recpipe.storage.filesystem import FileSystem, file_system, walk
from recpipe.storage.hadoop import HadoopFileSystem
from recpipe.storage.paths import absolute, literal, local_path

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

ODD_NAME = "röot & 100%25 #1 [a] {b} it's `x`"


class TestFileSystem:
    replacements = 300

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return absolute(tmp_path / ODD_NAME)

    @pytest.fixture
    def fs(self, root: str, spark: SparkSession) -> FileSystem:
        return file_system(root, spark)

    def test_replace_makes_the_folders_and_read_gives_the_bytes_back(
        self, fs: FileSystem, root: str
    ) -> None:
        data = bytes(range(256)) * 5000
        fs.replace(f"{root}/a/b/c.bin", data)
        assert fs.read(f"{root}/a/b/c.bin") == data
        assert fs.size(f"{root}/a/b/c.bin") == len(data)
        assert fs.sha256(f"{root}/a/b/c.bin") == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize(("size", "head"), [(3, b"abc"), (0, b""), (99, b"abcdef")])
    def test_read_head_stops_at_the_size_or_at_the_end(
        self, fs: FileSystem, root: str, size: int, head: bytes
    ) -> None:
        fs.replace(f"{root}/f", b"abcdef")
        assert fs.read_head(f"{root}/f", size) == head

    @pytest.mark.parametrize(
        ("size", "tail"), [(0, b""), (3, b"cde"), (5, b"abcde"), (9, b"abcde")]
    )
    def test_read_tail_begins_at_the_size_or_at_the_beginning(
        self, fs: FileSystem, root: str, size: int, tail: bytes
    ) -> None:
        fs.replace(f"{root}/f", b"abcde")
        assert fs.read_tail(f"{root}/f", size) == tail

    def test_replace_leaves_nothing_but_the_file(self, fs: FileSystem, root: str) -> None:
        fs.replace(f"{root}/f", b"one")
        fs.replace(f"{root}/f", b"two")
        assert fs.list(root) == ["f"]
        assert fs.read(f"{root}/f") == b"two"

    def test_a_failed_replace_leaves_the_old_file_and_no_other(
        self, fs: FileSystem, root: str
    ) -> None:
        fs.replace(f"{root}/folder/inside", b"kept")
        with pytest.raises((OSError, MissingError)):
            fs.replace(f"{root}/folder", b"a file cannot take the place of a full folder")
        assert list(walk(fs, root)) == [f"{root}/folder/inside"]

    def test_a_reader_sees_the_old_bytes_or_the_new_and_never_a_mix(
        self, fs: FileSystem, root: str
    ) -> None:
        path, versions = f"{root}/CURRENT.json", [b"1" * 10, b"2" * 200_000]
        fs.replace(path, versions[0])
        done = Event()

        def read_on() -> set[bytes]:
            found = {fs.read(path)}
            while not done.is_set():
                found.add(fs.read(path))
            return found

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read_on) for _ in range(2)]
            try:
                for i in range(self.replacements):
                    fs.replace(path, versions[i % 2])
            finally:
                done.set()
            assert readers[0].result() | readers[1].result() <= set(versions)

    def test_rename_moves_a_file_into_a_folder_that_it_makes(
        self, fs: FileSystem, root: str
    ) -> None:
        fs.replace(f"{root}/from", b"x")
        fs.rename(f"{root}/from", f"{root}/deep/er/to")
        assert list(walk(fs, root)) == [f"{root}/deep/er/to"]

    def test_rename_never_takes_the_place_of_another_file(self, fs: FileSystem, root: str) -> None:
        fs.replace(f"{root}/from", b"new")
        fs.replace(f"{root}/to", b"old")
        with pytest.raises(FileExistsError):
            fs.rename(f"{root}/from", f"{root}/to")
        assert (fs.read(f"{root}/from"), fs.read(f"{root}/to")) == (b"new", b"old")

    def test_walk_goes_depth_first_in_the_order_of_names(self, fs: FileSystem, root: str) -> None:
        for name in ("b", "a/z", "a/b/c", "a.d", "c/1"):
            fs.replace(f"{root}/{name}", b"")
        assert [path.removeprefix(f"{root}/") for path in walk(fs, root)] == [
            "a/b/c", "a/z", "a.d", "b", "c/1",
        ]  # fmt: skip

    def test_delete_takes_everything_below_and_forgives_what_is_not_there(
        self, fs: FileSystem, root: str
    ) -> None:
        fs.replace(f"{root}/a/b/c", b"")
        fs.replace(f"{root}/d", b"")
        fs.delete(f"{root}/a")
        fs.delete(f"{root}/d")
        fs.delete(f"{root}/never/was")
        assert fs.list(root) == []
        assert fs.is_dir(root)

    def test_delete_empty_spares_files_and_folders_with_something_in_them(
        self, fs: FileSystem, root: str
    ) -> None:
        fs.make_dir(f"{root}/empty")
        fs.replace(f"{root}/full/file", b"")
        fs.replace(f"{root}/file", b"x")
        for name in ("empty", "file", "full", "missing"):
            fs.delete_empty(f"{root}/{name}")
        assert list(walk(fs, root)) == [f"{root}/file", f"{root}/full/file"]
        assert fs.list(root) == ["file", "full"]

    def test_what_is_missing_is_missing_in_the_same_way_everywhere(
        self, fs: FileSystem, root: str
    ) -> None:
        fs.replace(f"{root}/file", b"x")
        for path in (f"{root}/none", f"{root}/none/below", f"{root}/file/below"):
            assert not fs.exists(path)
            assert not fs.is_dir(path)
            assert fs.list(path) == []
        assert fs.list(f"{root}/file") == []
        for act in (fs.read, fs.size, fs.sha256):
            with pytest.raises(FileNotFoundError):
                act(f"{root}/none")

    def test_upload_and_download_copy_bytes_and_leave_no_side_file(
        self, fs: FileSystem, root: str, tmp_path: Path
    ) -> None:
        here = tmp_path / "hier ü 100% #2"
        here.mkdir()
        (here / "out").write_bytes(b"\x00\xff" * 1000)
        fs.upload(here / "out", f"{root}/sub/there")
        fs.download(f"{root}/sub/there", here / "back")
        assert (here / "back").read_bytes() == (here / "out").read_bytes()
        assert sorted(path.name for path in here.iterdir()) == ["back", "out"]
        assert list(walk(fs, root)) == [f"{root}/sub/there"]


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("/data/my root", "file:///data/my root"),
        ("/data/100%25 #1", "file:///data/100%25 #1"),
        ("file:/data/x", "file:///data/x"),
        ("file:///data/x/", "file:///data/x"),
        ("hdfs://name:8020/a b/", "hdfs://name:8020/a b"),
        ("s3a://bucket", "s3a://bucket"),
        ("hdfs:///a", "hdfs:///a"),
    ],
)
def test_absolute_takes_paths_literally(given: str, uri: str) -> None:
    assert absolute(given) == uri


def test_absolute_starts_a_relative_path_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("räume/1") == f"file://{tmp_path}/räume/1"


@pytest.mark.parametrize("path", ["/data/10:30", "hdfs://name:8020/a:b", "a/b:c"])
def test_a_colon_in_a_folder_is_refused_before_hadoop_stumbles(path: str) -> None:
    with pytest.raises(UsageError, match="colon"):
        absolute(path)


def test_only_file_uris_are_local() -> None:
    assert str(local_path("file:///a b")) == "/a b"
    assert str(local_path("file:/a b")) == "/a b"
    assert local_path("hdfs:///a b") is None


def test_literal_escapes_what_spark_would_expand() -> None:
    assert literal("/a[b]{c}*?\\d") == "/a\\[b\\]\\{c\\}\\*\\?\\\\d"


def test_a_store_without_a_client_is_said_to_be_missing(spark: SparkSession) -> None:
    with pytest.raises(MissingError, match="s3a://bucket"):
        HadoopFileSystem("s3a://bucket/root", spark)
