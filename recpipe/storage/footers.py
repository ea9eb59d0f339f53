"""The schema of a Parquet table, told from the end of one of its files."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from pyspark.sql.types import StructType

if TYPE_CHECKING:
    from recpipe.storage.filesystem import FileSystem

_TAIL = 64 << 10
"""Bytes that are read at first: a footer is nearly always within them."""
_MAGIC = b"PAR1"
_LENGTH = 8
"""Bytes that end a file: how long its footer is, and the magic."""
_SPARKS = b"org.apache.spark.sql.parquet.row.metadata"
"""The key under which Spark keeps a table's schema in the footer of every file that it writes."""


def schema_of(fs: FileSystem, path: str) -> StructType | None:
    """The schema with which Spark wrote a Parquet table; None where Spark must look for it.

    Spark would find the same in the same footer, but by a job, which on a small table takes longer
    than reading it. It must look where folders stand for a column (partitions), where another
    program has written the files, and where footers are encrypted.

    Args:
        fs: the client of the store.
        path: the folder of the table's files.
    """
    names = [name for name in fs.list(path) if name[0] not in "._"]
    if not names or not all(name.endswith(".parquet") for name in names):
        return None
    first = f"{path}/{names[0]}"
    tail = fs.read_tail(first, _TAIL)
    size = int.from_bytes(tail[-_LENGTH : -len(_MAGIC)], "little") + _LENGTH
    if not tail.endswith(_MAGIC):
        return None
    if size > len(tail):
        tail = fs.read_tail(first, size)
    import pyarrow.parquet as pq

    # A footer between two magics is a file without rows.
    footer = pq.read_schema(io.BytesIO(_MAGIC + tail[-size:]))
    written = (footer.metadata or {}).get(_SPARKS)
    return None if written is None else StructType.fromJson(json.loads(written))


__all__ = ["schema_of"]
