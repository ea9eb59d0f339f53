"""Arrow's batches in a task: how large their values are, and how many are held."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

VALUE_BYTES = 1 << 16
"""The largest binary value of a frame that `held.narrow_rows` is for: 10,000 of them, Spark's
batch, stay well below the 2 GiB of a column."""


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


__all__ = ["VALUE_BYTES", "gathered"]
