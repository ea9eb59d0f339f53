"""Ratings as chunks: a row of a few arrays in place of a million rows.

Between the source and the table ratings travel as binary columns of numbers, one row a million
lines. A cache, a shuffle or a broadcast of them is then a copy of bytes, and what looks at single
ratings is a compiled kernel. Only whole-number ids travel so.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.spark.columns import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

WHOLE, LINE = -1, -2
"""Values of `bucket` before rows are in buckets: the clean lines of some lines; one other line."""

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
left to the general way (`others`), which ids it has, each once (`users` and `items` are how many),
whether it is `ascending` by user, then item, each pair once, and its first and last pair.
"""

KEPT = "clean long, superseded long, user_id binary, item_id binary, rating binary, rated_at binary"
"""Chunks of which all rows go to the table, and how many others they supersede."""

ROWS = (
    "user_id long, item_id long, rating float, rated_at timestamp, file int, block long, place long"
)
ROW = ("user_id", "item_id", "rating", "rated_at", "file", "block", "place")
VALUES = "user_id long, item_id long, rating float, rated_at timestamp"
NUMBERED = "user_id long, item_id long, user int, item int, rating float, rated_at timestamp"

BATCH = 1 << 16
"""Rows that Spark takes at once without much memory."""
_SECOND = 1_000_000
NO_TIME = -_SECOND
"""The instant of ratings without one: none is before 1970, where numbers in order begin."""


class ChunkRatings(NamedTuple):
    """Some ratings, in the order of the source.

    Args:
        users: ids.
        items: ids.
        ratings: on the scale.
        times: microseconds since 1970; seconds, where that is said; `NO_TIME` without one.
        places: increasing within the block.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    places: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> ChunkRatings:
        return self.each(lambda column: column[rows])

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> ChunkRatings:
        return ChunkRatings(
            change(self.users),
            change(self.items),
            change(self.ratings),
            change(self.times),
            change(self.places),
        )

    @classmethod
    def joined(cls, parts: Iterable[ChunkRatings]) -> ChunkRatings:
        users, items, ratings, times, places = map(np.concatenate, zip(*parts, strict=True))
        return cls(users, items, ratings, times, places)


def chunk(
    rows: ChunkRatings,
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
        others: how many are left to the general way.
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
        place=place, **columns_of(rows, seconds=seconds),
        places=rows.places.tobytes() if others else None,
    )  # fmt: skip


def columns_of(rows: ChunkRatings, *, seconds: bool) -> dict[str, object]:
    """The values of `KEPT`, and how many; `seconds`: the times of `rows` are, not microseconds."""
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


def chunk_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, int, int, ChunkRatings]]:
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
                ChunkRatings(
                    *_decoded(buffers, count),
                    np.arange(place, place + count)
                    if places is None
                    else np.frombuffer(places, np.int64),
                ),
            )


def kept_rows(
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
    times = wide(buffers[3], count)
    if buffers[3].size == 4 * count:
        times *= _SECOND
    return (
        wide(buffers[0], count),
        wide(buffers[1], count),
        np.frombuffer(buffers[2], np.float32),
        times,
    )


def in_batches(
    columns: Sequence[NDArray[Any]], names: Sequence[str], *, size: int = BATCH
) -> Iterator[pa.RecordBatch]:
    """Arrays as batches of a size that Spark takes without much memory."""
    import pyarrow as pa

    arrays = [pa.array(column) for column in columns]
    if "rated_at" in names:
        at = list(names).index("rated_at")
        times = columns[at]
        arrays[at] = pa.array(times, mask=times == NO_TIME).cast(pa.timestamp("us", "UTC"))
    batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def record(rows: int, schema: str = SCHEMA, /, **columns: object) -> pa.RecordBatch:
    """Rows of `schema`: what is no array stands in each of them, what is not given is null."""
    import pyarrow as pa

    kinds, arrays = arrow_schema(schema), []
    for name, kind in zip(kinds.names, kinds.types, strict=True):
        value = columns.get(name)
        if isinstance(value, (np.ndarray, pa.Array)):
            arrays.append(pa.array(value, kind))
        else:
            arrays.append(pa.array([value] * rows, kind))
    return pa.RecordBatch.from_arrays(arrays, schema=kinds)


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


def wide(buffer: pa.Buffer | bytes, count: int) -> NDArray[np.int64]:
    """`count` ids, written as int32 or int64."""
    size = len(buffer) if isinstance(buffer, bytes) else buffer.size
    kind = np.int32 if size == 4 * count else np.int64
    return np.frombuffer(buffer, kind).astype(np.int64)
