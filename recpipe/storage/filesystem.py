"""Files below a root on any Hadoop file system: whole objects, listed, read and replaced.

Local paths are handled by Python itself, so that a replacement is one atomic `rename(2)` and no
checksum side files appear. Every other scheme goes through Hadoop's own client in the driver's
JVM, which knows the cluster's name nodes, credentials and encryption.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlparse

from recpipe.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def absolute(path: str | Path) -> str:
    """A path with its scheme: `file:///...` for a local one, any other URI as it is.

    Nothing is percent-encoded or decoded: Hadoop takes the text after the scheme literally, so
    `file:///my data` is the folder `my data`, for Spark and for Python alike.

    A relative path is taken from the working directory of the driver. On a cluster whose default
    file system is not local, give `hdfs:///...` in full.

    Raises:
        UsageError: if a folder's name holds a colon, which no Hadoop file system can name.
    """
    text = str(path)
    local = local_path(text)
    remote = local is None and len(urlparse(text).scheme) > 1
    uri = text.rstrip("/") if remote else f"file://{(local or Path(text).expanduser()).absolute()}"
    # An authority may have a port.
    if ":" in uri.partition("://")[2].partition("/")[2]:
        raise UsageError(f"{path}: a colon in a path", hint="Hadoop cannot name such a folder")
    return uri


def local_path(uri: str) -> Path | None:
    """The local path of a `file:` URI; None for anything else."""
    if not uri.startswith("file:"):
        return None
    path = uri.removeprefix("file:")
    return Path(path.removeprefix("//") if path.startswith("///") else path)


def local_size(path: str | Path) -> int | None:
    """Bytes of a local file, or of all files below a local folder; None if there is none."""
    place = local_path(absolute(path))
    if place is None or not place.exists():
        return None
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def literal(path: str) -> str:
    """`path` with the characters escaped that Spark's readers would take for a pattern."""
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", path)


def file_system(uri: str, spark: SparkSession) -> FileSystem:
    """The client of the store that holds `uri`."""
    return LocalFileSystem() if local_path(uri) else HadoopFileSystem(uri, spark)


class LocalFileSystem:
    """Disks of this machine, by `pathlib`."""

    @staticmethod
    def _path(uri: str) -> Path:
        path = local_path(uri)
        if path is None:
            raise ValueError(f"{uri} is not local")
        return path

    def exists(self, path: str) -> bool:
        return self._path(path).exists()

    def is_dir(self, path: str) -> bool:
        return self._path(path).is_dir()

    def list(self, path: str) -> list[str]:
        folder = self._path(path)
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def size(self, path: str) -> int:
        return self._path(path).stat().st_size

    def sizes(self, path: str) -> Iterator[tuple[str, int]]:
        with os.scandir(self._path(path)) as entries:
            for entry in entries:
                yield entry.name, entry.stat().st_size

    def sha256(self, path: str) -> str:
        with self._path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read(self, path: str) -> bytes:
        return self._path(path).read_bytes()

    def read_head(self, path: str, size: int) -> bytes:
        with self._path(path).open("rb") as stream:
            return stream.read(size)

    def read_tail(self, path: str, size: int) -> bytes:
        with self._path(path).open("rb") as stream:
            stream.seek(max(self.size(path) - size, 0))
            return stream.read(size)

    def replace(self, path: str, data: bytes) -> None:
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with fresh.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)

    def rename(self, source: str, target: str) -> None:
        # rename(2) would put one file in the place of another without a word.
        if self.exists(target):
            raise FileExistsError(f"cannot rename {source}: {target} is there")
        self._path(target).parent.mkdir(parents=True, exist_ok=True)
        self._path(source).rename(self._path(target))

    def make_dir(self, path: str) -> None:
        self._path(path).mkdir(parents=True, exist_ok=True)

    def delete(self, path: str) -> None:
        target = self._path(path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def delete_empty(self, path: str) -> None:
        # Not there, or not empty: both are as it should be.
        with suppress(OSError):
            self._path(path).rmdir()

    def upload(self, local: Path, path: str) -> None:
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)

    def download(self, path: str, local: Path) -> None:
        shutil.copyfile(self._path(path), local)


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
        with _told_in_python(uri):
            self._fs: Any = self._plain(uri).getFileSystem(self._conf)
        self._scheme = urlparse(uri).scheme

    def _plain(self, uri: str) -> Any:
        # `hdfs://host` alone has an empty path, which is not that of its root.
        return self._jvm.org.apache.hadoop.fs.Path(uri if urlparse(uri).path else f"{uri}/")

    def _path(self, uri: str) -> Any:
        # `hdfs:///x` names no host; FileContext wants one.
        return self._plain(uri).makeQualified(self._fs.getUri(), self._fs.getWorkingDirectory())

    def exists(self, path: str) -> bool:
        with _told_in_python(path):
            return bool(self._fs.exists(self._path(path)))

    def is_dir(self, path: str) -> bool:
        with _told_in_python(path):
            hadoop_path = self._path(path)
            if not self._fs.exists(hadoop_path):
                return False
            return bool(self._fs.getFileStatus(hadoop_path).isDirectory())

    def list(self, path: str) -> list[str]:
        if not self.is_dir(path):
            return []
        with _told_in_python(path):
            return sorted(s.getPath().getName() for s in self._fs.listStatus(self._path(path)))

    def size(self, path: str) -> int:
        with _told_in_python(path):
            return int(self._fs.getFileStatus(self._path(path)).getLen())

    def sizes(self, path: str) -> Iterator[tuple[str, int]]:
        with _told_in_python(path):
            for status in self._fs.listStatus(self._path(path)):
                yield status.getPath().getName(), int(status.getLen())

    def sha256(self, path: str) -> str:
        with self._opened(path) as stream:
            # Digested inside the JVM: no byte crosses to Python.
            return str(self._jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))

    def read(self, path: str) -> bytes:
        for left in reversed(range(_READS)):
            try:
                with self._opened(path) as stream:
                    return bytes(stream.readAllBytes())
            except MissingError:
                # HDFS takes the blocks from whoever reads a file when another takes its place.
                if not left:
                    raise
        raise AssertionError

    def read_head(self, path: str, size: int) -> bytes:
        with self._opened(path) as stream:
            return bytes(stream.readNBytes(size))

    def read_tail(self, path: str, size: int) -> bytes:
        with self._opened(path) as stream:
            stream.seek(max(self.size(path) - size, 0))
            return bytes(stream.readNBytes(size))

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        with _told_in_python(path):
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
            with _told_in_python(target):
                self._fs.mkdirs(self._path(target).getParent())
            self._rename(source, target, overwrite=False)
            return
        if self.exists(target):
            raise FileExistsError(f"cannot rename {source}: {target} is there")
        with _told_in_python(source):
            if not self._fs.rename(self._path(source), self._path(target)):
                raise OSError(f"cannot rename {source} to {target}")

    def _rename(self, source: str, target: str, *, overwrite: bool) -> None:
        # FileSystem.rename cannot overwrite; FileContext's takes its options as a Java array.
        kind = self._jvm.org.apache.hadoop.fs.Options.Rename
        options = self._gateway.new_array(kind, 1)
        options[0] = kind.OVERWRITE if overwrite else kind.NONE
        with _told_in_python(source):
            context = self._jvm.org.apache.hadoop.fs.FileContext.getFileContext(
                self._fs.getUri(), self._conf
            )
            context.rename(self._path(source), self._path(target), options)

    def _write(self, path: str, data: bytes) -> None:
        with _told_in_python(path):
            stream = self._fs.create(self._path(path), True)
            # In one piece: a stream to an object store that is closed half-written becomes an
            # object, and closing it is the only way to be rid of it.
            try:
                stream.write(bytearray(data))
            finally:
                stream.close()

    def make_dir(self, path: str) -> None:
        with _told_in_python(path):
            self._fs.mkdirs(self._path(path))

    def delete(self, path: str) -> None:
        with _told_in_python(path):
            self._fs.delete(self._path(path), True)

    def delete_empty(self, path: str) -> None:
        # The store itself refuses to remove a folder that has something in it, but not a file.
        with suppress(OSError, MissingError), _told_in_python(path):
            if self.is_dir(path):
                self._fs.delete(self._path(path), False)

    def upload(self, local: Path, path: str) -> None:
        with _told_in_python(path):
            self._fs.copyFromLocalFile(False, True, self._plain(absolute(local)), self._path(path))

    def download(self, path: str, local: Path) -> None:
        with _told_in_python(path):
            # useRawLocalFileSystem leaves no .crc file beside the copy.
            self._fs.copyToLocalFile(False, self._path(path), self._plain(absolute(local)), True)


@contextmanager
def _told_in_python(path: str) -> Iterator[None]:
    """What Hadoop throws inside the block becomes the error that a local disk would raise."""
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


def walk(fs: FileSystem, path: str) -> Iterator[str]:
    """Every file below a folder, in the order of names, depth first."""
    for name in fs.list(path):
        child = f"{path}/{name}"
        if fs.is_dir(child):
            yield from walk(fs, child)
        else:
            yield child
