"""A Delta table: the rows that its log says are in it, deleted ones not among them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recpipe.errors import MissingError
from recpipe.ingest.formats.parquet import look_by_schema, typed_rows
from recpipe.ingest.lines import read_delta, spark_errors_as_input_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ingest.formats.base import GivenColumns, Look
    from recpipe.ingest.layout import Layout, Sample
    from recpipe.storage.filesystem import FileSystem

LOG = "_delta_log"
_COMMIT = re.compile(r"[0-9]{20}\.json")


class DeltaFormat:
    """See the module."""

    name = "Delta"

    def look(self, sample: Sample, given: GivenColumns) -> Look | None:
        if sample.table != "delta":
            return None
        import pyarrow as pa

        # The schema, as Arrow writes it: its columns are not in any one file.
        schema = pa.ipc.read_schema(pa.py_buffer(sample.head))
        return look_by_schema(self.name, schema, sample, given)

    def read(
        self, spark: SparkSession, uris: Sequence[str], layout: Layout, numbers: Sequence[int]
    ) -> DataFrame:
        rows, schema = read_delta(spark, uris[0], number=numbers[0])
        return typed_rows(rows, schema, layout, source=uris[0])


FORMAT = DeltaFormat()


def newest_commit(fs: FileSystem, uri: str) -> str:
    """The file of the log that made the newest version of a table."""
    log = f"{uri}/{LOG}"
    names = fs.list(log)
    commits = [name for name in names if _COMMIT.fullmatch(name)]
    # Where old commits were cleaned up, a checkpoint has what they had.
    return f"{log}/{(commits or names)[-1]}"


def schema_of(spark: SparkSession, uri: str) -> bytes:
    """The schema of a Delta table, as Arrow writes it.

    Raises:
        MissingError: if this session cannot read Delta.
        InputError: if the table is damaged.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    extensions = spark.conf.get("spark.sql.extensions", "") or ""
    if "delta" not in extensions.lower():
        raise MissingError(
            f"{uri} is a Delta table, and this session has no Delta",
            hint="give --format delta, which loads Delta's jars, or export the table to Parquet",
        )
    with spark_errors_as_input_errors(uri, "Delta"):
        schema = spark.read.format("delta").load(uri).schema
    return bytes(to_arrow_schema(schema).serialize())
