"""How rows go from the JVM to Python and back."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from pyspark.sql import SparkSession

_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
_NO_LIMIT = str(2**31 - 1)

_changes = Lock()
_inside: dict[SparkSession, tuple[int, str | None]] = {}
"""By session: the blocks that its threads are in, and the limit before the first."""

VALUE_BYTES = 1 << 16
"""The largest binary value of a frame that `narrow_rows` is for: 10,000 of them, Spark's batch,
stay well below the 2 GiB of a column."""


@contextmanager
def narrow_rows(spark: SparkSession) -> Iterator[None]:
    """Twice as fast to Python: for actions on frames whose rows are small, the block's length.

    Spark measures a batch after each row, to end it at so many bytes, and that takes as long as
    writing it. Inside the block a batch ends at `spark.sql.execution.arrow.maxRecordsPerBatch` rows
    alone, so none may hold more than a few numbers or `VALUE_BYTES`; or there must be few, as of
    files that tasks decode. Blocks of several threads may overlap: the last to end sets the limit
    again.
    """
    with _changes:
        blocks, before = _inside.get(spark) or (0, spark.conf.get(_BYTES))
        spark.conf.set(_BYTES, _NO_LIMIT)
        _inside[spark] = blocks + 1, before
    try:
        yield
    finally:
        with _changes:
            blocks, before = _inside.pop(spark)
            if blocks > 1:
                _inside[spark] = blocks - 1, before
            elif before is not None:
                spark.conf.set(_BYTES, before)


def names_of(schema: str) -> list[str]:
    """The columns of a schema such as `bucket int, keys binary`."""
    return [field.split()[0] for field in schema.split(", ")]


def gathered(batches: Iterable[pa.RecordBatch], *, rows: int) -> Iterator[list[pa.RecordBatch]]:
    """In a task: batches by as many as it takes to have `rows` rows, and the rest."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.num_rows
        if size >= rows:
            yield held
            held, size = [], 0
    if size:
        yield held


__all__ = ["VALUE_BYTES", "gathered", "names_of", "narrow_rows"]
