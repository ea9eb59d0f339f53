"""Paths with their scheme, as Spark, Hadoop and Python all take them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlparse

from recpipe.errors import UsageError


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
