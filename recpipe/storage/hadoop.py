"""Every store but local disks, by Hadoop's own client in the driver's JVM.

It knows the cluster's name nodes, credentials and encryption.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from recpipe.errors import MissingError
from recpipe.storage.paths import absolute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

_READS = 5
"""Times that a small file is opened which is replaced while it is read."""


class HadoopFileSystem:
    """Any other store, through Hadoop's client in the driver's JVM.

    Raises:
        MissingError: here and in every method, if the store cannot be reached or refuses.
    """

    # Renames within these are atomic; elsewhere (object stores) a rename is a copy, but a single
    # object appears whole when its writer closes it.
    _ATOMIC_RENAME = frozenset({"hdfs", "viewfs"})

    def __init__(self, uri: str, spark: SparkSession) -> None:
        # The session's own state has no public door to Hadoop from Python.
        self._gateway: Any = spark.sparkContext._gateway  # noqa: SLF001
        self._jvm: Any = spark.sparkContext._jvm  # noqa: SLF001
        self._conf: Any = spark._jsparkSession.sessionState().newHadoopConf()  # noqa: SLF001
        with _hadoop_errors_as_python_errors(uri):
            self._fs: Any = self._plain(uri).getFileSystem(self._conf)
        self._scheme = urlparse(uri).scheme

    def _plain(self, uri: str) -> Any:
        # `hdfs://host` alone has an empty path, which is not that of its root.
        return self._jvm.org.apache.hadoop.fs.Path(uri if urlparse(uri).path else f"{uri}/")

    def _path(self, uri: str) -> Any:
        # `hdfs:///x` names no host; FileContext wants one.
        return self._plain(uri).makeQualified(self._fs.getUri(), self._fs.getWorkingDirectory())

    def exists(self, path: str) -> bool:
        with _hadoop_errors_as_python_errors(path):
            return bool(self._fs.exists(self._path(path)))

    def is_dir(self, path: str) -> bool:
        with _hadoop_errors_as_python_errors(path):
            hadoop_path = self._path(path)
            if not self._fs.exists(hadoop_path):
                return False
            return bool(self._fs.getFileStatus(hadoop_path).isDirectory())

    def list(self, path: str) -> list[str]:
        if not self.is_dir(path):
            return []
        with _hadoop_errors_as_python_errors(path):
            return sorted(s.getPath().getName() for s in self._fs.listStatus(self._path(path)))

    def size(self, path: str) -> int:
        with _hadoop_errors_as_python_errors(path):
            return int(self._fs.getFileStatus(self._path(path)).getLen())

    def sizes(self, path: str) -> Iterator[tuple[str, int]]:
        with _hadoop_errors_as_python_errors(path):
            for status in self._fs.listStatus(self._path(path)):
                yield status.getPath().getName(), int(status.getLen())

    def sha256(self, path: str) -> str:
        with self._opened(path) as stream:
            # Digested inside the JVM: no byte crosses to Python.
            return str(self._jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))

    def read(self, path: str) -> bytes:
        for _ in range(_READS - 1):
            # HDFS takes the blocks from whoever reads a file when another takes its place.
            with suppress(MissingError):
                return self._read_once(path)
        return self._read_once(path)

    def _read_once(self, path: str) -> bytes:
        with self._opened(path) as stream:
            return bytes(stream.readAllBytes())

    def read_head(self, path: str, size: int) -> bytes:
        with self._opened(path) as stream:
            return bytes(stream.readNBytes(size))

    def read_tail(self, path: str, size: int) -> bytes:
        with self._opened(path) as stream:
            stream.seek(max(self.size(path) - size, 0))
            return bytes(stream.readNBytes(size))

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        with _hadoop_errors_as_python_errors(path):
            stream = self._fs.open(self._path(path))
            try:
                yield stream
            finally:
                stream.close()

    def replace(self, path: str, data: bytes) -> None:
        if self._scheme not in self._ATOMIC_RENAME:
            self._write(path, data)
            return
        parent, _, name = path.rpartition("/")
        fresh = f"{parent}/.{name}.{uuid.uuid4().hex}"
        try:
            self._write(fresh, data)
            self._rename(fresh, path, overwrite=True)
        except BaseException:
            with suppress(Exception):
                self.delete(fresh)
            raise

    def rename(self, source: str, target: str) -> None:
        if self._scheme in self._ATOMIC_RENAME:
            with _hadoop_errors_as_python_errors(target):
                self._fs.mkdirs(self._path(target).getParent())
            self._rename(source, target, overwrite=False)
            return
        if self.exists(target):
            raise FileExistsError(f"cannot rename {source}: {target} is there")
        with _hadoop_errors_as_python_errors(source):
            if not self._fs.rename(self._path(source), self._path(target)):
                raise OSError(f"cannot rename {source} to {target}")

    def _rename(self, source: str, target: str, *, overwrite: bool) -> None:
        # FileSystem.rename cannot overwrite; FileContext's takes its options as a Java array.
        kind = self._jvm.org.apache.hadoop.fs.Options.Rename
        options = self._gateway.new_array(kind, 1)
        options[0] = kind.OVERWRITE if overwrite else kind.NONE
        with _hadoop_errors_as_python_errors(source):
            context = self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                self._fs.getUri(), self._conf
            )
            context.rename(self._path(source), self._path(target), options)

    def _write(self, path: str, data: bytes) -> None:
        with _hadoop_errors_as_python_errors(path):
            stream = self._fs.create(self._path(path), True)
            # In one piece: a stream to an object store that is closed half-written becomes an
            # object, and closing it is the only way to be rid of it.
            try:
                stream.write(bytearray(data))
            finally:
                stream.close()

    def make_dir(self, path: str) -> None:
        with _hadoop_errors_as_python_errors(path):
            self._fs.mkdirs(self._path(path))

    def delete(self, path: str) -> None:
        with _hadoop_errors_as_python_errors(path):
            self._fs.delete(self._path(path), True)

    def delete_empty(self, path: str) -> None:
        # The store itself refuses to remove a folder that has something in it, but not a file.
        with suppress(OSError, MissingError), _hadoop_errors_as_python_errors(path):
            if self.is_dir(path):
                self._fs.delete(self._path(path), False)

    def upload(self, local: Path, path: str) -> None:
        with _hadoop_errors_as_python_errors(path):
            self._fs.copyFromLocalFile(False, True, self._plain(absolute(local)), self._path(path))

    def download(self, path: str, local: Path) -> None:
        with _hadoop_errors_as_python_errors(path):
            # useRawLocalFileSystem leaves no .crc file beside the copy.
            self._fs.copyToLocalFile(False, self._path(path), self._plain(absolute(local)), True)


@contextmanager
def _hadoop_errors_as_python_errors(path: str) -> Iterator[None]:
    """What Hadoop throws inside the `with` becomes the error that a local disk would raise."""
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        thrown = error.java_exception
        kind = thrown.getClass().getSimpleName()
        if kind == "FileNotFoundException":
            raise FileNotFoundError(f"{path}: no such file") from error
        if kind == "FileAlreadyExistsException":
            raise FileExistsError(f"{path}: {_first_line(thrown.getMessage())}") from error
        raise MissingError(
            f"{path}: {kind}: {_first_line(thrown.getMessage())}",
            hint="is the store reachable, its client on Spark's class path, and this user allowed?",
        ) from error


def _first_line(text: str | None) -> str:
    return (text or "no message").strip().splitlines()[0]
