"""The end of a Parquet file: its footer, and the schema in it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from pyspark.sql.types import StructType

if TYPE_CHECKING:
    import pyarrow as pa

    from recpipe.storage.filesystem import FileSystem

_TAIL = 64 << 10
"""Bytes that are read at first: a footer is nearly always within them."""
MAGIC = b"PAR1"
"""The bytes with which a file begins and ends."""
FOOTER_BYTES = 8
"""Of the end of a file: the length of its footer, and the magic bytes."""
_SPARKS = b"org.apache.spark.sql.parquet.row.metadata"
"""The key under which Spark keeps a table's schema in the footer of every file that it writes."""


def footer_size(tail: bytes) -> int:
    """How many bytes at the end of a file hold its schema, told from its last eight bytes."""
    return int.from_bytes(tail[-FOOTER_BYTES : -len(MAGIC)], "little") + FOOTER_BYTES


def footer_schema(footer: bytes) -> pa.Schema:
    """The schema in the last `footer_size` bytes of a file."""
    import pyarrow.parquet as pq

    # A footer between two magics is a file without rows.
    return pq.read_schema(io.BytesIO(MAGIC + footer))


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
    if not tail.endswith(MAGIC):
        return None
    size = footer_size(tail)
    if size > len(tail):
        tail = fs.read_tail(first, size)
    written = (footer_schema(tail[-size:]).metadata or {}).get(_SPARKS)
    return None if written is None else StructType.fromJson(json.loads(written))


__all__ = ["FOOTER_BYTES", "MAGIC", "footer_schema", "footer_size", "schema_of"]
