"""Ratings as chunks: a row of a few arrays in place of a million rows.

Between the source and the table ratings travel as binary columns of numbers, one row a million
lines. A cache, a shuffle or a broadcast of them is then a copy of bytes, and what looks at single
ratings is a compiled kernel. Only whole-number ids travel so.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.storage.encoded import FILES, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

WHOLE, LINE = -1, -2
"""In the place of a bucket: all clean lines of some lines; one line that is not clean."""

SCHEMA = (
    "file int, block long, place long, bucket int, lines long, size long, clean long, others long,"
    " ascending boolean, first_user long, first_item long, last_user long, last_item long,"
    " users long, items long, user_ids binary, item_ids binary,"
    " user_id binary, item_id binary, rating binary, rated_at binary, places binary, value string"
)
"""Of chunks (WHOLE, or a bucket of users from 0) and lines (LINE).

Ids and instants are int64, or int32 where all fit; instants are seconds if int32, else
microseconds. Of a chunk's rows the places are `place` and up, or those in `places` (int64). A
chunk that is WHOLE says of its `lines` lines of `size` bytes how many were `clean` and how many are
for `others` to judge, which ids it has, each once (`users` and `items` are how many), whether it
is `ascending` by user, then item, each pair once, and its first and last pair.
"""

KEPT = "clean long, superseded long, user_id binary, item_id binary, rating binary, rated_at binary"
"""Chunks of which all rows go to the table, and how many others they supersede."""

ROWS = (
    "user_id long, item_id long, rating float, rated_at timestamp, file int, block long, place long"
)
_ROW = ("user_id", "item_id", "rating", "rated_at", "file", "block", "place")
VALUES = "user_id long, item_id long, rating float, rated_at timestamp"
NUMBERED = "user_id long, item_id long, user int, item int, rating float, rated_at timestamp"

_LINES = 1 << 20
_BATCH = 1 << 16
_BUCKET_BYTES = (16 << 20, 64 << 20)
_SECOND = 1_000_000
_PLACE_BITS = 40
"""Of a sort key of the order in the source: lines of a block, below the number of the block."""


def bucket_count(size: int, parallelism: int) -> int:
    """Buckets for `size` bytes of source: two a core, but neither slivers nor loads of memory."""
    least, most = _BUCKET_BYTES
    share = min(max(size // max(2 * parallelism, 1), least), most)
    return min(max(1, -(-size // share)), 1 << 16)


class Ratings(NamedTuple):
    """Some ratings, in the order of the source.

    Args:
        users: ids.
        items: ids.
        ratings: on the scale.
        times: microseconds since 1970; seconds, where that is said.
        places: increasing within the block.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    places: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Ratings:
        return self.each(lambda column: column[rows])

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Ratings:
        return Ratings(
            change(self.users),
            change(self.items),
            change(self.ratings),
            change(self.times),
            change(self.places),
        )

    @classmethod
    def joined(cls, parts: Iterable[Ratings]) -> Ratings:
        users, items, ratings, times, places = map(np.concatenate, zip(*parts, strict=True))
        return cls(users, items, ratings, times, places)


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
    return rows.select(*_ROW).mapInArrow(_pack, SCHEMA)


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


def latest(chunks: DataFrame, *, buckets: int) -> DataFrame:
    """`KEPT`: one row a (user, item), the latest; a partition a bucket."""
    chunks = chunks.where((F.col("bucket") == WHOLE) & (F.col("clean") > 0))
    if buckets == 1:
        placed = chunks.coalesce(1)
    else:

        def scatter(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return _scatter(batches, buckets)

        placed = chunks.mapInArrow(scatter, SCHEMA).repartitionById(buckets, F.col("bucket"))
    return placed.mapInArrow(_latest, KEPT)


def values(kept: DataFrame) -> DataFrame:
    """`KEPT` as `VALUES`, a row a rating."""

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for users, items, ratings, times in _kept_rows(batches):
            yield from _batches([users, items, ratings, times], _ROW[:4])

    return kept.mapInArrow(rows, VALUES)


def numbered(kept: DataFrame, users: Numbers, items: Numbers) -> DataFrame:
    """`KEPT` as `NUMBERED`: the table of ratings, sorted as the chunks are.

    Args:
        kept: chunks.
        users: every user among them.
        items: every item among them.
    """

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _numbered(batches, users, items, size=_BATCH)

    return kept.mapInArrow(rows, NUMBERED)


def encoded(kept: DataFrame, users: Numbers, items: Numbers) -> DataFrame:
    """`numbered` as Parquet files, one a partition: `storage.encoded.FILES`."""

    def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        kinds = _fields(NUMBERED)
        repeating = [name for name in kinds if name != "rated_at"]
        row_groups = _numbered(batches, users, items, size=_LINES)
        yield encode(row_groups, pa.schema(list(kinds.items())), dictionary=repeating)

    return kept.mapInArrow(files, FILES)


def _numbered(
    batches: Iterator[pa.RecordBatch], users: Numbers, items: Numbers, *, size: int
) -> Iterator[pa.RecordBatch]:
    from recpipe.kernels import ids as kernel

    for user_ids, item_ids, ratings, times in _kept_rows(batches):
        user = kernel.numbers(user_ids, *users)
        item = kernel.numbers(item_ids, *items)
        columns: list[NDArray[Any]] = [user_ids, item_ids, user, item, ratings, times]
        yield from _batches(columns, list(_fields(NUMBERED)), size=size)


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
        yield from _batches([distinct_of_many(np.concatenate(found))], [name])

    return _id_rows(chunks, name).coalesce(1).mapInArrow(merge, f"{name} long")


def ids(chunks: DataFrame, name: str) -> DataFrame:
    """The ids of chunks, some of them repeatedly, in as many partitions as there are."""

    def explode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for array in _id_arrays(batches):
            yield from _batches([array], [name])

    return _id_rows(chunks, name).mapInArrow(explode, f"{name} long")


def _id_rows(chunks: DataFrame, name: str) -> DataFrame:
    arrays, counts = {"user_id": ("user_ids", "users"), "item_id": ("item_ids", "items")}[name]
    return chunks.where(F.col("bucket") == WHOLE).select(arrays, counts)


def _id_arrays(batches: Iterable[pa.RecordBatch]) -> Iterator[NDArray[np.int64]]:
    for batch in batches:
        for buffer, count in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield _wide(buffer, count)


def chunk(
    rows: Ratings,
    *,
    file: int,
    block: int,
    place: int,
    lines: int,
    size: int,
    others: int,
    seconds: bool,
) -> pa.RecordBatch:
    """The clean ones of some lines as one WHOLE row of `SCHEMA`.

    Where none of the lines is for others, nothing falls between their places: they are counted up
    instead of kept.

    Args:
        rows: the clean lines; their places are not read unless there are `others`.
        file: of the lines.
        block: of the lines.
        place: of the first of them.
        lines: how many there are.
        size: bytes of them.
        others: how many are for others to judge.
        seconds: whether the times of `rows` are seconds, not microseconds.
    """  # fmt: skip
    from recpipe.kernels import ids as kernel
    from recpipe.kernels.latest import ascending

    users, items = kernel.distinct_of_runs(rows.users), kernel.distinct_of_many(rows.items)
    ends: list[int | None] = [None] * 4
    if len(rows.users):
        ends = [int(column[at]) for at in (0, -1) for column in (rows.users, rows.items)]
    return record(
        1, file=file, block=block, bucket=WHOLE, lines=lines, size=size, others=others,
        ascending=ascending(rows.users, rows.items),
        first_user=ends[0], first_item=ends[1], last_user=ends[2], last_item=ends[3],
        users=len(users), items=len(items), user_ids=_narrow(users), item_ids=_narrow(items),
        place=place, **_columns(rows, seconds=seconds),
        places=rows.places.tobytes() if others else None,
    )  # fmt: skip


def _columns(rows: Ratings, *, seconds: bool) -> dict[str, object]:
    times = rows.times
    if not seconds:
        # Whole seconds in half of the room.
        whole = times // _SECOND
        seconds = bool((whole * _SECOND == times).all())
        times = whole if seconds else times
    if seconds and not _fits(times):
        times, seconds = times * _SECOND, False
    return {
        "clean": len(rows.users),
        "user_id": _narrow(rows.users),
        "item_id": _narrow(rows.items),
        "rating": rows.ratings.tobytes(),
        "rated_at": times.astype(np.int32 if seconds else np.int64).tobytes(),
    }


def _pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        times = columns["rated_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        rows = Ratings(
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

    for file, block, place, rows in _chunk_rows(batches):
        bucket = kernel.buckets(rows.users, buckets)
        sorted_rows = rows.take(np.argsort(bucket, kind="stable"))
        ends = np.cumsum(np.bincount(bucket, minlength=buckets)).tolist()
        for number, (start, stop) in enumerate(pairwise([0, *ends])):
            if start == stop:
                continue
            part = sorted_rows.each(itemgetter(slice(start, stop)))
            yield record(
                1, file=file, block=block, place=place, bucket=number,
                **_columns(part, seconds=False), places=part.places.tobytes(),
            )  # fmt: skip


def _chunk_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, int, int, Ratings]]:
    """(file, block, place, ratings) of every chunk."""
    names = ("file", "block", "place", "clean", "user_id", "item_id", "rating", "rated_at")
    for batch in batches:
        columns = [batch.column(batch.schema.get_field_index(n)) for n in (*names, "places")]
        for row in range(batch.num_rows):
            file, block, place, count = (column[row].as_py() for column in columns[:4])
            buffers = [column[row].as_buffer() for column in columns[4:8]]
            places = columns[8][row].as_buffer()
            yield (
                file,
                block,
                place,
                Ratings(
                    *_decoded(buffers, count),
                    np.arange(place, place + count)
                    if places is None
                    else np.frombuffer(places, np.int64),
                ),
            )


def _kept_rows(
    batches: Iterable[pa.RecordBatch],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]]:
    """Users, items, ratings and times of every chunk of `KEPT`."""
    for batch in batches:
        for row in range(batch.num_rows):
            count = batch.column(0)[row].as_py()
            yield _decoded([column[row].as_buffer() for column in batch.columns[2:]], count)


def _decoded(
    buffers: Sequence[pa.Buffer], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    times = _wide(buffers[3], count)
    if buffers[3].size == 4 * count:
        times *= _SECOND
    return (
        _wide(buffers[0], count),
        _wide(buffers[1], count),
        np.frombuffer(buffers[2], np.float32),
        times,
    )


def _unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for file, block, _, rows in _chunk_rows(batches):
        count = len(rows.users)
        files, blocks = np.full(count, file, np.int32), np.full(count, block, np.int64)
        yield from _batches(
            [rows.users, rows.items, rows.ratings, rows.times, files, blocks, rows.places], _ROW
        )


def _latest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from recpipe.kernels import latest as kernel

    found = sorted(_chunk_rows(batches), key=lambda chunk: chunk[:3])
    if not found:
        return
    # Spark's own places begin anywhere: taken from a block's first, they leave room for its number.
    first: dict[tuple[int, int], int] = {}
    for file, block, _, rows in found:
        least = int(rows.places.min())
        first[file, block] = min(first.get((file, block), least), least)
    base = {key: (n << _PLACE_BITS) - first[key] for n, key in enumerate(sorted(first))}
    positions = [rows.places + base[file, block] for file, block, _, rows in found]
    rows = Ratings.joined(chunk[3] for chunk in found)
    del found
    kept = kernel.latest(rows.users, rows.items, rows.times, np.concatenate(positions))
    superseded = len(rows.users) - len(kept)
    for start in range(0, len(kept), _LINES):
        part = rows.take(kept[start : start + _LINES])
        yield record(
            1, KEPT, superseded=superseded if start == 0 else 0, **_columns(part, seconds=False)
        )


def _batches(
    columns: Sequence[NDArray[Any]], names: Sequence[str], *, size: int = _BATCH
) -> Iterator[pa.RecordBatch]:
    """Arrays as batches of a size that Spark takes without much memory."""
    import pyarrow as pa

    arrays = [pa.array(column) for column in columns]
    if "rated_at" in names:
        at = list(names).index("rated_at")
        arrays[at] = arrays[at].cast(pa.timestamp("us", "UTC"))
    batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


@cache
def _fields(schema: str) -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    kinds = {
        "int": pa.int32(), "long": pa.int64(), "boolean": pa.bool_(), "binary": pa.binary(),
        "string": pa.string(), "float": pa.float32(), "timestamp": pa.timestamp("us", "UTC"),
    }  # fmt: skip
    return {name: kinds[kind] for name, kind in map(str.split, schema.split(", "))}


def record(rows: int, schema: str = SCHEMA, /, **columns: object) -> pa.RecordBatch:
    """Rows of `schema`: what is no array stands in each of them, what is not given is null."""
    import pyarrow as pa

    arrays = []
    for name, kind in _fields(schema).items():
        value = columns.get(name)
        if isinstance(value, (np.ndarray, pa.Array)):
            arrays.append(pa.array(value, kind))
        else:
            arrays.append(pa.array([value] * rows, kind))
    return pa.RecordBatch.from_arrays(arrays, names=list(_fields(schema)))


def segments(batch: pa.RecordBatch) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, file, block) of the runs of a batch that are of one block."""
    if batch.num_rows == 0:
        return
    file = batch.column(batch.schema.get_field_index("file")).to_numpy()
    block = batch.column(batch.schema.get_field_index("block")).to_numpy()
    changes = np.flatnonzero((file[1:] != file[:-1]) | (block[1:] != block[:-1])) + 1
    edges = [0, *changes.tolist(), batch.num_rows]
    for start, stop in pairwise(edges):
        yield start, stop, int(file[start]), int(block[start])


def as_bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The bytes of strings, end to end, and where each begins; nothing is copied."""
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data or b"", np.uint8), starts


def _fits(values: NDArray[np.int64]) -> bool:
    limits = np.iinfo(np.int32)
    return not len(values) or bool(values.min() >= limits.min and values.max() <= limits.max)


def _narrow(values: NDArray[np.int64]) -> bytes:
    """Integers as int32 where all fit: with their count, the length of the bytes says which."""
    return values.astype(np.int32 if _fits(values) else np.int64).tobytes()


def _wide(buffer: pa.Buffer | bytes, count: int) -> NDArray[np.int64]:
    size = len(buffer) if isinstance(buffer, bytes) else buffer.size
    kind = np.int32 if size == 4 * count else np.int64
    return np.frombuffer(buffer, kind).astype(np.int64)
