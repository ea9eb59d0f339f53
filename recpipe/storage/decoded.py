"""Columns of Parquet files, decoded by the Python tasks that want them as arrays.

Spark's reader and its way to Python take a row at a time: some 200 ns for a row of one number,
where Arrow decodes ten columns in that time. So where a frame is nothing but columns of Parquet
files, Spark hands over the files as they are, with its own clients, credentials and decryption of
disks, and the task decodes them (docs/decisions/0011-files-to-tasks.md).
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.storage.filesystem import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

FILES = "path string, content binary, share int, shares int"
"""A row a file, or a row for each share of it: every `shares`-th row group from number `share`."""

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
    found = spark.read.format("binaryFile").load(paths).select("path", "content")
    # Where there are fewer files than cores, each is read by several tasks.
    shares = -(-session.sparkContext().defaultParallelism() // files.size())
    each = [
        found.select("*", F.lit(share).alias("share"), F.lit(shares).alias("shares"))
        for share in range(shares)
    ]
    return reduce(DataFrame.unionAll, each)


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
        for path, content, share, shares in zip(*batch.columns, strict=True):
            try:
                yield from _rows(content.as_buffer(), schema, share.as_py(), shares.as_py())
            except (pa.ArrowException, ValueError, KeyError, OSError) as error:
                raise ValueError(f"{path}: {error}") from error


def _rows(file: pa.Buffer, schema: pa.Schema, share: int, shares: int) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(pa.BufferReader(file))
    groups = list(range(share, parquet.num_row_groups, shares))
    names = schema.names
    for batch in parquet.iter_batches(_ROWS, row_groups=groups, columns=names, use_threads=False):
        rows = batch.select(names).cast(schema)
        if any(column.null_count for column in rows.columns):
            raise ValueError(f"a value of {', '.join(names)} is missing")
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
