"""Parquet files decoded by the Python tasks that want columns as arrays: `Stored.files`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

READ_FILES = "path string, content binary"
"""One row a file."""

_ROWS = 1 << 20


def decoded(
    batches: Iterable[pa.RecordBatch], columns: Sequence[tuple[str, pa.DataType]]
) -> Iterator[pa.RecordBatch]:
    """In a task: the rows of READ_FILES, some of their columns as these types.

    Raises:
        ValueError: if a file cannot be read, has not all columns, or a value does not fit its type
            or is missing.
    """
    import pyarrow as pa

    schema = pa.schema(columns)
    for batch in batches:
        for path, content in zip(*batch.columns, strict=True):
            try:
                yield from _rows(content.as_buffer(), schema)
            except (pa.ArrowException, ValueError, KeyError, OSError) as error:
                raise ValueError(f"{path}: {error}") from error


def _rows(file: pa.Buffer, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(pa.BufferReader(file), coerce_int96_timestamp_unit="us")
    names = schema.names
    for batch in parquet.iter_batches(_ROWS, columns=names, use_threads=False):
        rows = batch.select(names).cast(schema)
        if any(column.null_count for column in rows.columns):
            raise ValueError(f"a value of {', '.join(names)} is missing")
        yield rows


__all__ = ["READ_FILES", "decoded"]
