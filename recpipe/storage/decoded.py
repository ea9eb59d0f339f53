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
    from pyspark.sql import DataFrame, SparkSession

FILES = "path string, content binary"
"""One row a file."""

_LEAST_BYTES = 4 << 20
"""Of all files: with less, rows are there before a plan for the files is."""
_MOST_FILES = 256
"""Each is asked for its length."""
_TASK_BYTES = 32 << 20
"""Of the files of a task, of which its JVM holds several copies for a moment."""
_FASTER = 8
"""Cores that a file may leave idle: what Arrow decodes on one, Spark's rows need as many for."""
_MOST_BYTES = "spark.sql.sources.binaryFile.maxLength"
_SKIPS = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")

_ROWS = 1 << 20


def files_of(frame: DataFrame, *, least_bytes: int = _LEAST_BYTES) -> DataFrame | None:
    """FILES of a frame, or None where its rows must come from Spark.

    Those of any frame but one that is some columns, under their own names, of whole folders of
    Parquet files that are not cached, not encrypted within, and neither too many, too few nor too
    large.

    Args:
        frame: asked for its plan; no job is run.
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
    if (
        # Delta's own format may leave out rows.
        _kind(relation.fileFormat()) != "ParquetFileFormat"
        or not relation.partitionSchema().isEmpty()
        # Spark takes a name in whatever case, Arrow does not.
        or not set(frame.columns) <= set(relation.dataSchema().fieldNames())
        or location.sizeInBytes() < least_bytes
        or not _readable(spark, relation)
        or not _sizes_fit(spark, location)
    ):
        return None
    paths = [literal(path.toString()) for path in _each(location.rootPaths())]
    found = spark.read.format("binaryFile").load(paths)
    java = found._jdf  # noqa: SLF001
    same = java.queryExecution().analyzed().relation().location()
    # The frame may have been read with options by which more or fewer files of a folder count.
    if same.allFiles().size() != location.allFiles().size():
        return None
    return found.select("path", "content")


def _readable(spark: SparkSession, relation: Any) -> bool:
    """Whether nothing but the bytes of the files is needed to read them."""
    session: Any = spark._jsparkSession  # noqa: SLF001
    conf = session.sessionState().newHadoopConfWithOptions(relation.options())
    if conf.get("parquet.crypto.factory.class") is not None:
        return False
    return not any(spark.conf.get(name) == "true" for name in _SKIPS)


def _sizes_fit(spark: SparkSession, location: Any) -> bool:
    """Whether tasks can hold their files, and there are enough of them."""
    session: Any = spark._jsparkSession  # noqa: SLF001
    conf = session.sessionState().conf()
    cores = spark.sparkContext.defaultParallelism
    files = location.allFiles()
    if (
        not cores / _FASTER <= files.size() <= _MOST_FILES
        or conf.filesMaxPartitionNum().isDefined()
    ):
        return False
    # As Spark packs files into tasks.
    parts = conf.filesMinPartitionNum()
    a_part = location.sizeInBytes() // (parts.get() if parts.isDefined() else cores)
    a_task = min(conf.filesMaxPartitionBytes(), max(conf.filesOpenCostInBytes(), a_part))
    most = min(_TASK_BYTES, int(spark.conf.get(_MOST_BYTES) or 0))
    return a_task <= _TASK_BYTES and all(file.getLen() <= most for file in _each(files))


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


def _kind(java: Any) -> str:
    return str(java.getClass().getSimpleName())


def _each(sequence: Any) -> Iterator[Any]:
    """The elements of one of Scala's."""
    return (sequence.apply(at) for at in range(sequence.size()))


__all__ = ["FILES", "decoded", "files_of"]
