"""Parquet files that Python tasks have encoded, written by Spark to whatever store it knows.

Arrow encodes a table of numbers some five times faster than Spark's writer, which takes a row at a
time; but a task in Python has no client for HDFS or an object store. So it hands over the finished
file as one value, and Spark's text sink writes it: through the committer, with the credentials of
any other table and the encryption of its store. Parquet's own encryption has keys that only the JVM
has, so where it is on Spark's writer is taken (`Folder.takes_encoded`). The sink ends each value
with a separator, and a Parquet file ends with `PAR1`: that is taken off the value and given as the
separator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.storage.footers import MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.storage.filesystem import FileSystem

WRITTEN_FILES = "content string"
"""One row a file: its bytes but for the last four. They are no text."""

_SINK_ENDING, _ENDING = ".txt", ".zstd.parquet"


def encode(
    row_groups: Iterable[pa.RecordBatch], schema: pa.Schema, *, dictionary: Sequence[str]
) -> pa.RecordBatch:
    """One row of `WRITTEN_FILES`: a Parquet file (zstd) of some row groups, or of none.

    Args:
        row_groups: in their order; held in memory one at a time, the encoded file as a whole.
        schema: of each.
        dictionary: the columns in which values repeat.

    Raises:
        ValueError: for a file of 2 GiB or more.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, schema, compression="zstd", use_dictionary=list(dictionary), store_schema=False
    ) as writer:
        for batch in row_groups:
            writer.write_batch(batch, row_group_size=max(batch.num_rows, 1))
    content = sink.getvalue()
    size = content.size - len(MAGIC)
    if size > np.iinfo(np.int32).max:
        raise ValueError(f"a file of {content.size} bytes: more partitions make smaller ones")
    offsets = pa.py_buffer(np.array([0, size], np.int32))
    values = pa.StringArray.from_buffers(1, offsets, content.slice(0, size))
    return pa.RecordBatch.from_arrays([values], names=["content"])


def write_files(files: DataFrame, path: str, fs: FileSystem) -> None:
    """Write `WRITTEN_FILES` into a new folder, complete once its `_SUCCESS` is there.

    Args:
        files: one row or more in each partition.
        path: of the folder.
        fs: of `path`.
    """
    # Else one file had all rows of a task, end to end.
    writer = files.write.option("maxRecordsPerFile", "1").option("lineSep", MAGIC.decode())
    writer = writer.option("compression", "none")
    # Whatever the cluster's own settings say: the marker is how a table is complete, and it is
    # set when the files have their names.
    writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").text(path)
    for name in fs.list(path):
        # With a checksum beside it, on a local disk.
        stem, ending, crc = name.partition(_SINK_ENDING)
        if ending:
            fs.rename(f"{path}/{name}", f"{path}/{stem}{_ENDING}{crc}")
    fs.replace(f"{path}/_SUCCESS", b"")
