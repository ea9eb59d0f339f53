"""Files below a root on any Hadoop file system: whole objects, listed, read and replaced.

Local paths are handled by Python itself, so that a replacement is one atomic `rename(2)`. Every
other scheme goes through Hadoop's own client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from recpipe.storage.hadoop import HadoopFileSystem
from recpipe.storage.local import LocalFileSystem
from recpipe.storage.paths import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession


class FileSystem(Protocol):
    """What recpipe needs of a store; paths are absolute and carry their scheme.

    Reading what is not there raises FileNotFoundError, on every store.
    """

    def exists(self, path: str) -> bool: ...
    def is_dir(self, path: str) -> bool: ...
    def list(self, path: str) -> list[str]:
        """Names directly below a folder, sorted; empty where there is no such folder."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file."""
        ...

    def sizes(self, path: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of everything directly below a folder, by one listing, in no order.

        What is said of a folder in it has no meaning.
        """
        ...

    def sha256(self, path: str) -> str:
        """Hex digest of a file's bytes, read as a stream."""
        ...

    def read(self, path: str) -> bytes: ...
    def read_head(self, path: str, size: int) -> bytes:
        """The first `size` bytes of a file, or all of a shorter one."""
        ...

    def read_tail(self, path: str, size: int) -> bytes:
        """The last `size` bytes of a file, or all of a shorter one."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Write a whole file in one step: a reader sees the old bytes or the new, never a mix."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder; atomic on local disks and HDFS, a copy on object stores.

        Raises:
            FileExistsError: if there is something at `target`.
        """
        ...

    def make_dir(self, path: str) -> None: ...
    def delete(self, path: str) -> None:
        """Remove a file or a folder with all below it; no error where there is none."""
        ...

    def delete_empty(self, path: str) -> None:
        """Remove a folder if nothing is in it; never what another has put there, never a file."""
        ...

    def upload(self, local: Path, path: str) -> None:
        """Copy a local file to `path`."""
        ...

    def download(self, path: str, local: Path) -> None:
        """Copy the file at `path` to a local one."""
        ...


def file_system(uri: str, spark: SparkSession) -> FileSystem:
    """The client of the store that holds `uri`."""
    return LocalFileSystem() if local_path(uri) else HadoopFileSystem(uri, spark)


def walk(fs: FileSystem, path: str) -> Iterator[str]:
    """Every file below a folder, in the order of names, depth first."""
    for name in fs.list(path):
        child = f"{path}/{name}"
        if fs.is_dir(child):
            yield from walk(fs, child)
        else:
            yield child
