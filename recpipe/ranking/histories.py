"""What users have taken up, as sparse rows to score from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.spark.arrow import gathered
from recpipe.spark.columns import arrow_row, arrow_schema, as_array, batch_of
from recpipe.spark.interactions import (
    HELD,
    Kinds,
    Value,
    arrays_of,
    frame_of,
    map_pairs,
    packed,
    unpaired,
)
from recpipe.storage import Stored
from recpipe.storage.encoded import WRITTEN_FILES, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.spark.columns import Batches
    from recpipe.spark.interactions import Arrays, Interactions
    from recpipe.storage import Folder

HISTORY = "user int, item int, value float"
"""What users are scored from: a row for each item, or other source, of each user."""
HISTORY_KINDS = Kinds(np.int64, np.float32)
"""The types of packed histories: pairs, and a value each."""


class Histories(NamedTuple):
    """A sparse matrix in compressed rows: a row a user.

    Args:
        offsets: (rows + 1,) where in `items` each row starts.
        items: item numbers of all rows, ascending in each.
        values: (n,) of each item.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]

    def rows(self, wanted: slice | NDArray[np.int64]) -> Histories:
        """The rows at some places."""
        if isinstance(wanted, slice):
            offsets = self.offsets[wanted.start : wanted.stop + 1]
            own = slice(offsets[0], offsets[-1])
            return Histories(offsets - offsets[0], self.items[own], self.values[own])
        sizes = np.diff(self.offsets)
        chosen = np.zeros(len(sizes), bool)
        chosen[wanted] = True
        kept = np.repeat(chosen, sizes)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[wanted])])
        return Histories(offsets, self.items[kept], self.values[kept])


PARTS = "source int, users binary, offsets binary, items binary, values binary"
"""`Part`, as a cache keeps it."""


class Part(NamedTuple):
    """The histories of all users of one bucket.

    Args:
        source: the number of the bucket.
        users: (rows,) of the rows, ascending.
        rows: their histories.
    """

    source: int
    users: NDArray[np.int32]
    rows: Histories


def write_histories(
    scratch: Folder, name: str, histories: Interactions, *, value: str = "value"
) -> Stored:
    """Write HISTORY of all rows as a table, and return it.

    Where tasks can decode the files of a table at rest, they also encode those of the new one, in a
    third of the time that rows of Spark take.

    Args:
        scratch: where; its tables are Parquet.
        name: of the table.
        histories: (user int, item int, number, ...), one row a pair, without nulls.
        value: the column of the number.
    """
    number = Value(value, "float")
    # Where Parquet encrypts there are no files to decode, and so Spark writes as well.
    if isinstance(histories, Stored) and histories.files(["user", "item", value]) is not None:
        files = map_pairs(histories, _encoded, WRITTEN_FILES, value=number)
        scratch.write_encoded(name, files, HISTORY)
    else:
        rows = frame_of(histories).select("user", "item", number.column().alias("value"))
        scratch.write_table(name, rows)
    return scratch.stored(name, schema=HISTORY)


def _encoded(batches: Batches) -> Batches:
    """In a task: WRITTEN_FILES of the pairs and values of its batches, in one row."""
    yield encode(_rows_of(batches), arrow_schema(HISTORY), dictionary=["user", "item", "value"])


def _rows_of(batches: Batches) -> Iterator[pa.RecordBatch]:
    for held in gathered(batches, rows=HELD):
        pairs, values = (
            np.concatenate([batch.column(at).to_numpy() for batch in held]) for at in range(2)
        )
        yield batch_of(HISTORY, *unpaired(pairs), values)


def packed_histories(histories: Interactions, *, buckets: int, value: str = "value") -> DataFrame:
    """`interactions.PACKED` of (user int, item int, float), the last in the column `value`."""
    return packed(histories, buckets=buckets, value=Value(value, "float"))


def histories_of(arrays: Arrays, users: NDArray[np.int32]) -> Histories:
    """In a task: the histories of some users of its bucket.

    The order within a row, and so the order of every sum over it, is that of the items, however
    the rows came.

    Args:
        arrays: what `packed_histories` sent, of all users of the bucket.
        users: distinct, ascending.
    """
    rows = ids.positions(users, unpaired(arrays.keys)[0])
    wanted = np.flatnonzero(rows >= 0)
    # A pair is the user above the item, so the order of pairs is that of rows and items.
    wanted = wanted[np.argsort(arrays.keys[wanted], kind="stable")]
    sizes = np.bincount(rows[wanted], minlength=len(users))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    items = arrays.keys[wanted].astype(np.int32)
    return Histories(offsets, items, arrays.values[wanted])


def part_of(batches: Batches) -> Part | None:
    """In a task: the one bucket that it has of `packed_histories`; None for a bucket of nobody."""
    from pyspark import TaskContext

    (arrays,) = arrays_of(batches, [HISTORY_KINDS])
    if not len(arrays.keys):
        return None
    users = ids.distinct(unpaired(arrays.keys)[0])
    context = TaskContext.get()
    return Part(context.partitionId() if context else 0, users, histories_of(arrays, users))


def as_part(batches: Batches) -> Batches:
    """In a task: PARTS of the one bucket that it has; no row for a bucket of nobody."""
    if part := part_of(batches):
        yield arrow_row(PARTS, part.source, part.users, *part.rows)


def parts_of(batches: Batches) -> Iterator[Part]:
    """In a task: what rows of PARTS hold."""
    for batch in batches:
        source, users, offsets, items, values = batch.columns
        for at in range(len(batch)):
            rows = Histories(
                as_array(offsets[at], np.int64),
                as_array(items[at], np.int32),
                as_array(values[at], np.float32),
            )
            yield Part(source[at].as_py(), as_array(users[at], np.int32), rows)


__all__ = [
    "HISTORY", "HISTORY_KINDS", "PARTS", "Histories", "Part", "as_part", "histories_of",
    "packed_histories", "part_of", "parts_of", "write_histories",
]  # fmt: skip
