"""What is done with chunks: passes over whole tables of them, from what was parsed to the table."""

from __future__ import annotations

from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.ingest.fast.chunks import (
    BATCH,
    KEPT,
    LINE,
    NO_TIME,
    NUMBERED,
    ROW,
    ROWS,
    SCHEMA,
    VALUES,
    WHOLE,
    ChunkRatings,
    chunk,
    chunk_rows,
    columns_of,
    in_batches,
    kept_rows,
    record,
    segments,
    wide,
)
from recpipe.spark.columns import arrow_schema
from recpipe.storage.encoded import WRITTEN_FILES, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

_LINES = 1 << 20
"""Rows that a task has in hand at a time, and of a row group."""
_BUCKET_BYTES = (16 << 20, 64 << 20)
_BITS_OF_LINES = 40
"""Of a sort key of the order in the source: lines of a block, below the number of the block."""


def bucket_count(size: int, parallelism: int) -> int:
    """Buckets for `size` bytes of source: two a core, but neither slivers nor loads of memory."""
    smallest, largest = _BUCKET_BYTES
    share = min(max(size // max(2 * parallelism, 1), smallest), largest)
    return min(max(1, -(-size // share)), 1 << 16)


class Numbers(NamedTuple):
    """Ids and their numbers, for a task.

    Args:
        ids: distinct, ascending.
        numbers: of `ids`.
    """

    ids: NDArray[np.int64]
    numbers: NDArray[np.int32]

    @classmethod
    def of(cls, table: DataFrame) -> Numbers:
        """A table (id, number) brought to the driver: O(ids)."""
        found = table.toArrow()
        ids, numbers = (column.to_numpy() for column in found.columns)
        order = np.argsort(ids)
        return cls(ids[order].astype(np.int64), numbers[order].astype(np.int32))


def pack(rows: DataFrame) -> DataFrame:
    """`ROWS` as `SCHEMA`, for rows that were parsed in another way."""
    return rows.select(*ROW).mapInArrow(_pack, SCHEMA)


def unpack(chunks: DataFrame) -> DataFrame:
    """The ratings of chunks as `ROWS`."""
    return chunks.where(F.col("bucket") != LINE).mapInArrow(_unpack, ROWS)


def kept_as_they_are(chunks: DataFrame) -> DataFrame:
    """`KEPT`, of chunks that have every (user, item) once."""
    whole = chunks.where((F.col("bucket") == WHOLE) & (F.col("clean") > 0))
    return whole.select(
        "clean", F.lit(0).cast("long").alias("superseded"),
        "user_id", "item_id", "rating", "rated_at",
    )  # fmt: skip


def latest(
    chunks: DataFrame, *, buckets: int, value: Literal["latest", "sum", "count"] = "latest"
) -> DataFrame:
    """`KEPT`: one row a (user, item), the latest; a partition a bucket.

    Args:
        chunks: of all ratings.
        buckets: of users.
        value: of each pair: that of the latest, the sum of all, or their number.
    """

    def keep(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _latest(batches, value)

    chunks = chunks.where((F.col("bucket") == WHOLE) & (F.col("clean") > 0))
    if buckets == 1:
        placed = chunks.coalesce(1)
    else:

        def scatter(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return _scatter(batches, buckets)

        placed = chunks.mapInArrow(scatter, SCHEMA).repartitionById(buckets, F.col("bucket"))
    return placed.mapInArrow(keep, KEPT)


def values(kept: DataFrame) -> DataFrame:
    """`KEPT` as `VALUES`, a row a rating."""

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for users, items, ratings, times in kept_rows(batches):
            yield from in_batches([users, items, ratings, times], ROW[:4])

    return kept.mapInArrow(rows, VALUES)


def numbered(kept: DataFrame, users: Numbers, items: Numbers) -> DataFrame:
    """`KEPT` as `NUMBERED`: the table of ratings, sorted as the chunks are.

    Args:
        kept: chunks.
        users: every user among them.
        items: every item among them.
    """

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _numbered(batches, users, items, size=BATCH)

    return kept.mapInArrow(rows, NUMBERED)


def encoded(kept: DataFrame, users: Numbers, items: Numbers) -> DataFrame:
    """`numbered` as Parquet files, one a partition: `storage.encoded.WRITTEN_FILES`."""

    def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        schema = arrow_schema(NUMBERED)
        repeating = [name for name in schema.names if name != "rated_at"]
        row_groups = _numbered(batches, users, items, size=_LINES)
        yield encode(row_groups, schema, dictionary=repeating)

    return kept.mapInArrow(files, WRITTEN_FILES)


def _numbered(
    batches: Iterator[pa.RecordBatch], users: Numbers, items: Numbers, *, size: int
) -> Iterator[pa.RecordBatch]:
    from recpipe.kernels import ids as kernel

    for user_ids, item_ids, ratings, times in kept_rows(batches):
        user = kernel.numbers(user_ids, *users)
        item = kernel.numbers(item_ids, *items)
        columns: list[NDArray[Any]] = [user_ids, item_ids, user, item, ratings, times]
        yield from in_batches(columns, arrow_schema(NUMBERED).names, size=size)


def distinct_ids(chunks: DataFrame, name: str) -> DataFrame:
    """The ids of chunks, each once: ascending and in one partition, by one task.

    Args:
        chunks: with few enough ids for the memory of that task: see `parsing.Summary`.
        name: user_id or item_id.
    """

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from recpipe.kernels.ids import distinct_of_many

        found, held = [np.empty(0, np.int64)], 0
        for array in _id_arrays(batches):
            found.append(array)
            held += len(array)
            if held > _LINES:
                found, held = [distinct_of_many(np.concatenate(found))], 0
        yield from in_batches([distinct_of_many(np.concatenate(found))], [name])

    return _id_rows(chunks, name).coalesce(1).mapInArrow(merge, f"{name} long")


def ids(chunks: DataFrame, name: str) -> DataFrame:
    """The ids of chunks, some of them repeatedly, in as many partitions as there are."""

    def explode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for array in _id_arrays(batches):
            yield from in_batches([array], [name])

    return _id_rows(chunks, name).mapInArrow(explode, f"{name} long")


def _id_rows(chunks: DataFrame, name: str) -> DataFrame:
    arrays, counts = {"user_id": ("user_ids", "users"), "item_id": ("item_ids", "items")}[name]
    return chunks.where(F.col("bucket") == WHOLE).select(arrays, counts)


def _id_arrays(batches: Iterable[pa.RecordBatch]) -> Iterator[NDArray[np.int64]]:
    for batch in batches:
        for buffer, count in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield wide(buffer, count)


def _pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        times = columns["rated_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        times = times.fill_null(NO_TIME)
        rows = ChunkRatings(
            columns["user_id"].to_numpy(zero_copy_only=False),
            columns["item_id"].to_numpy(zero_copy_only=False),
            columns["rating"].to_numpy(zero_copy_only=False),
            times.to_numpy(zero_copy_only=False),
            columns["place"].to_numpy(zero_copy_only=False),
        )
        for start, stop, file, block in segments(batch):
            yield chunk(
                rows.each(itemgetter(slice(start, stop))), file=file, block=block, place=0,
                lines=stop - start, size=0, others=stop - start, seconds=False,
            )  # fmt: skip


def _scatter(batches: Iterable[pa.RecordBatch], buckets: int) -> Iterator[pa.RecordBatch]:
    """Chunks, each as one for every bucket of users that it has ratings of."""
    from recpipe.kernels import ids as kernel

    for file, block, place, rows in chunk_rows(batches):
        bucket = kernel.buckets(rows.users, buckets)
        sorted_rows = rows.take(np.argsort(bucket, kind="stable"))
        ends = np.cumsum(np.bincount(bucket, minlength=buckets)).tolist()
        for number, (start, stop) in enumerate(pairwise([0, *ends])):
            if start == stop:
                continue
            part = sorted_rows.each(itemgetter(slice(start, stop)))
            yield record(
                1, file=file, block=block, place=place, bucket=number,
                **columns_of(part, seconds=False), places=part.places.tobytes(),
            )  # fmt: skip


def _unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for file, block, _, rows in chunk_rows(batches):
        count = len(rows.users)
        files, blocks = np.full(count, file, np.int32), np.full(count, block, np.int64)
        yield from in_batches(
            [rows.users, rows.items, rows.ratings, rows.times, files, blocks, rows.places], ROW
        )


def histogram(chunks: DataFrame) -> dict[float, int]:
    """How often each rating is in chunks: O(distinct ratings) on the driver."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            for buffer in batch.column(0):
                found, counts = np.unique(
                    np.frombuffer(buffer.as_buffer(), np.float32), return_counts=True
                )
                yield pa.RecordBatch.from_arrays(
                    [pa.array(found), pa.array(counts)], names=["rating", "count"]
                )

    whole = chunks.where((F.col("bucket") == WHOLE) & (F.col("clean") > 0)).select("rating")
    counted = whole.mapInArrow(count, "rating float, count long").groupBy("rating").sum("count")
    return {round(row[0], 6): row[1] for row in counted.collect()}


def _latest(
    batches: Iterator[pa.RecordBatch], value: Literal["latest", "sum", "count"]
) -> Iterator[pa.RecordBatch]:
    from recpipe.kernels import latest as kernel

    found = sorted(chunk_rows(batches), key=lambda chunk: chunk[:3])
    if not found:
        return
    # Spark's positions start anywhere in a partition: counted from the lowest of their block, they
    # leave the high bits free for the number of the block.
    first: dict[tuple[int, int], int] = {}
    for file, block, _, rows in found:
        least = int(rows.places.min())
        first[file, block] = min(first.get((file, block), least), least)
    base = {key: (n << _BITS_OF_LINES) - first[key] for n, key in enumerate(sorted(first))}
    positions = [rows.places + base[file, block] for file, block, _, rows in found]
    rows = ChunkRatings.joined(chunk[3] for chunk in found)
    del found
    kept = kernel.latest(rows.users, rows.items, rows.times, np.concatenate(positions))
    superseded = len(rows.users) - len(kept)
    if value != "latest":
        rows.ratings[kept] = _of_pairs(rows, sums=value == "sum")
    for start in range(0, len(kept), _LINES):
        part = rows.take(kept[start : start + _LINES])
        yield record(
            1, KEPT, superseded=superseded if start == 0 else 0, **columns_of(part, seconds=False)
        )


def _of_pairs(rows: ChunkRatings, *, sums: bool) -> NDArray[np.float32]:
    """The sum, or the number, of the ratings of each pair, by user, then item."""
    order = np.lexsort((rows.items, rows.users))
    users, items = rows.users[order], rows.items[order]
    new = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    starts = np.concatenate(([0], np.flatnonzero(new) + 1))
    if not sums:
        return np.diff(np.append(starts, len(order))).astype(np.float32)
    return np.add.reduceat(rows.ratings[order].astype(np.float64), starts).astype(np.float32)
