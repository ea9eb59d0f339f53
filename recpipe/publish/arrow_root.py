"""A root as pyarrow reads it, where no session is to be started for a few rows."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from recpipe.errors import InputError
from recpipe.storage.folder import PARQUET_DONE, parsed_json
from recpipe.storage.paths import absolute, local_path

if TYPE_CHECKING:
    from pyarrow import dataset, fs

logger = logging.getLogger(__name__)

_TABLES = "tables/CURRENT.json"
_SECONDS = 5
"""Seconds to wait for a store; after that Spark is asked, which has its own configuration."""


class ArrowFolder:
    """A place below a root, to read from: what `storage.Folder` is, without Spark.

    Args:
        files: the file system.
        path: of the folder on it.
        uri: of the folder, for messages.
    """

    def __init__(self, files: fs.FileSystem, path: str, uri: str) -> None:
        self._files = files
        self._path = path.rstrip("/")
        self.uri = uri

    def __truediv__(self, name: str) -> ArrowFolder:
        return ArrowFolder(self._files, f"{self._path}/{name}", self.path(name))

    def path(self, name: str) -> str:
        """The URI of something in this folder."""
        return f"{self.uri}/{name}"

    def exists(self, name: str) -> bool:
        from pyarrow import fs

        found = self._files.get_file_info(f"{self._path}/{name}")
        return bool(found.type != fs.FileType.NotFound)

    def has_table(self, name: str) -> bool:
        """Whether a complete Parquet table of that name is here."""
        return self.exists(f"{name}/{PARQUET_DONE}")

    def list(self) -> list[str]:
        """Names directly below, sorted; empty where the folder is not there."""
        from pyarrow import fs

        below = fs.FileSelector(self._path, allow_not_found=True)
        return sorted(entry.base_name for entry in self._files.get_file_info(below))

    def read_json(self, name: str) -> Any:
        """The JSON at `name`.

        Raises:
            InputError: if it is missing or is not JSON.
        """

        def read() -> bytes:
            with self._files.open_input_stream(f"{self._path}/{name}") as stream:
                content: bytes = stream.read()
                return content

        return parsed_json(self.path(name), read)

    def read_parquet(self, name: str = "") -> dataset.Dataset:
        """The Parquet files of this folder, or one in it; nothing but the schema is read yet.

        Raises:
            InputError: if there are none, or they are not Parquet.
        """
        import pyarrow as pa
        from pyarrow import dataset

        path, uri = (f"{self._path}/{name}", self.path(name)) if name else (self._path, self.uri)
        try:
            found = dataset.dataset(path, filesystem=self._files, format="parquet")
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise InputError(f"{uri}: {str(error).splitlines()[0]}", hint="restore it") from error
        if not found.files:
            raise InputError(f"{uri}: no Parquet file is there", hint="restore it")
        return found


def arrow_root(root: str) -> ArrowFolder | None:
    """A root that pyarrow can open and read; None where only Spark can.

    Local folders always; S3 where the environment has credentials for it; HDFS where its native
    library is installed. What Spark's own configuration says of a store is not known here. Delta
    tables are Spark's.

    Raises:
        InputError: if what says the format of the tables is damaged.
    """
    uri = absolute(root)
    try:
        found = _opened(uri)
        if found is None:
            return None
        files, path = found
        folder = ArrowFolder(files, path, uri)
        # Not there is an answer: an error here is one of the store.
        ingested = folder.exists(_TABLES)
    except (OSError, ValueError) as error:
        logger.debug("%s: pyarrow cannot open it: %s", uri, error)
        return None
    said = folder.read_json(_TABLES) if ingested else {}
    if not isinstance(said, dict):
        raise InputError(f"{folder.path(_TABLES)} is not a JSON object", hint="restore it")
    return None if said.get("format") == "delta" else folder


def _opened(uri: str) -> tuple[fs.FileSystem, str] | None:
    from pyarrow import fs

    if (path := local_path(uri)) is not None:
        return fs.LocalFileSystem(), str(path)
    parts = urlparse(uri)
    if parts.scheme in {"s3", "s3a", "s3n"} and _has_s3_credentials():
        store = fs.S3FileSystem(
            endpoint_override=os.environ.get("AWS_ENDPOINT_URL"),
            connect_timeout=_SECONDS,
            request_timeout=_SECONDS,
        )
        return store, f"{parts.netloc}{parts.path}"
    if parts.scheme in {"hdfs", "viewfs"} and _has_hdfs_library():
        return fs.HadoopFileSystem.from_uri(f"{parts.scheme}://{parts.netloc or 'default'}"), (
            parts.path
        )
    return None


def _has_s3_credentials() -> bool:
    return "AWS_ACCESS_KEY_ID" in os.environ or Path("~/.aws/credentials").expanduser().exists()


def _has_hdfs_library() -> bool:
    return "ARROW_LIBHDFS_DIR" in os.environ or "HADOOP_HOME" in os.environ


__all__ = ["ArrowFolder", "arrow_root"]
