"""Columns of Parquet files, decoded by the Python tasks that want them as arrays.

Spark's reader and its way to Python take a row at a time: some 200 ns for a row of one number,
where Arrow decodes ten columns in that time. So where a frame is nothing but columns of Parquet
files, Spark hands over the files as they are, with its own clients, credentials and decryption of
disks, and the task decodes them (docs/decisions/0011-files-to-tasks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe.storage.filesystem import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame

FILES = "path string, content binary"
"""One row a file."""

_LEAST_BYTES = 4 << 20
"""Of all files: with less, rows are there before a plan for the files is."""
_MOST_FILES = 1000
"""Each is asked for its length."""
_TASK_BYTES = 64 << 20
"""Of the files of a task: its JVM holds them twice for a moment, outside its heap."""

_ROWS = 1 << 20


def files_of(frame: DataFrame, *, least_bytes: int = _LEAST_BYTES) -> DataFrame | None:
    """FILES of a frame, or None where its rows must come from Spark.

    Those of any frame but one that is some columns, under their own names, of Parquet files that
    are not cached, not encrypted within, not too many and not too large.

    Args:
        frame: asked for its plan; nothing is run.
        least_bytes: of all files.
    """
    # Nothing public tells what a frame is made of.
    java: Any = frame._jdf  # noqa: SLF001
    plan = java.queryExecution().withCachedData()
    while plan.nodeName() == "Project":
        if any(_kind(column) != "AttributeReference" for column in _each(plan.projectList())):
            return None
        plan = plan.child()
    if plan.nodeName() != "LogicalRelation" or _kind(plan.relation()) != "HadoopFsRelation":
        return None
    relation = plan.relation()
    location = relation.location()
    spark = frame.sparkSession
    session: Any = spark._jsparkSession  # noqa: SLF001
    if (
        # Delta's own format may leave out rows.
        _kind(relation.fileFormat()) != "ParquetFileFormat"
        or not relation.partitionSchema().isEmpty()
        or session.sessionState().newHadoopConf().get("parquet.crypto.factory.class") is not None
        or location.sizeInBytes() < least_bytes
        or _task_bytes(session, location.sizeInBytes()) > _TASK_BYTES
    ):
        return None
    files = location.allFiles()
    if files.size() > _MOST_FILES or any(f.getLen() > _TASK_BYTES for f in _each(files)):
        return None
    paths = [literal(path.toString()) for path in _each(location.rootPaths())]
    return spark.read.format("binaryFile").load(paths).select("path", "content")


def decoded(
    batches: Iterable[pa.RecordBatch], columns: Sequence[tuple[str, pa.DataType]]
) -> Iterator[pa.RecordBatch]:
    """In a task: the rows of FILES, some of their columns as these types.

    Raises:
        ValueError: if a file cannot be read, has not all columns, or a value does not fit its type
            or is missing.
    """
    import pyarrow as pa

    schema = pa.schema(columns)
    for batch in batches:
        for path, content in zip(batch.column("path"), batch.column("content"), strict=True):
            try:
                yield from _rows(content.as_buffer(), schema)
            except (pa.ArrowException, ValueError, KeyError, OSError) as error:
                raise ValueError(f"{path}: {error}") from error


def _rows(file: pa.Buffer, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(pa.BufferReader(file))
    for batch in parquet.iter_batches(_ROWS, columns=schema.names, use_threads=False):
        rows = batch.select(schema.names).cast(schema)
        if any(column.null_count for column in rows.columns):
            raise ValueError(f"a value of {', '.join(schema.names)} is missing")
        yield rows


def _task_bytes(session: Any, total: int) -> int:
    """Up to how many bytes of files Spark gives to one task."""
    conf = session.sessionState().conf()
    a_core = total // session.sparkContext().defaultParallelism()
    return int(min(conf.filesMaxPartitionBytes(), max(conf.filesOpenCostInBytes(), a_core)))


def _kind(java: Any) -> str:
    return str(java.getClass().getSimpleName())


def _each(sequence: Any) -> Iterator[Any]:
    """The elements of one of Scala's."""
    return (sequence.apply(at) for at in range(sequence.size()))


__all__ = ["FILES", "decoded", "files_of"]
