"""Ratings as chunks: a row of a few arrays in place of a million rows.

Between the source and the table ratings travel as binary columns of numbers, one row a bucket of
users and a million lines. A shuffle or a scratch copy of them is then a copy of bytes, and what
looks at single ratings is a compiled kernel. Only whole-number ids travel so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.movielens.layout import RATING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.movielens.layout import Layout
    from recpipe.movielens.times import Period
    from recpipe.settings import Scale

IDS, LINE = -1, -2
"""In the place of a bucket: a row of the distinct ids of some lines; a line that is not clean."""

SCHEMA = (
    "file int, block long, place long, bucket int, lines long, clean long, others long,"
    " users long, items long, user_id binary, item_id binary, rating binary, rated_at binary,"
    " places binary, value string"
)
"""Of chunks (bucket >= 0), ids (IDS) and lines (LINE).

Ids and instants are int64, or int32 where all fit; instants are seconds if int32, else
microseconds. Of a chunk's rows the places are `place` and up, or those in `places` (int64). A row
of ids says of its `lines` lines how many were `clean` and how many are for `others` to judge, and
how many `users` and `items` it holds.
"""

ROWS = (
    "user_id long, item_id long, rating float, rated_at timestamp, file int, block long, place long"
)
_ROW = ("user_id", "item_id", "rating", "rated_at", "file", "block", "place")
LATEST = "user_id long, item_id long, rating float, rated_at timestamp, superseded long"

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


def rules(layout: Layout, scale: Scale, period: Period) -> dict[str, Any]:
    """What a clean line of this layout is: the fields of `kernels.lines.Rules`.

    As a mapping, because the driver has no use for Numba, which takes a second to load.
    """
    factor = 1000 if layout.time == "milliseconds" else 1
    return {
        "delimiter": np.array(list(layout.delimiter.encode()), np.uint8),
        "header": np.array(list((layout.header or "").encode()), np.uint8),
        "width": layout.width,
        "at": np.array([layout.columns[name] for name in RATING_COLUMNS], np.int64),
        "scale": np.array([scale.min, scale.max, scale.step], np.float64),
        "period": np.array(
            [int(t.timestamp()) * factor for t in (period.first, period.end)], np.int64
        ),
    }


class Ratings(NamedTuple):
    """Some ratings, in the order of the source.

    Args:
        users: ids.
        items: ids.
        ratings: on the scale.
        times: microseconds since 1970, or seconds where `seconds` says so.
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


def parse_lines(
    lines: DataFrame, rules: Mapping[str, Any], *, buckets: int, milliseconds: bool
) -> DataFrame:
    """`SCHEMA`: chunks of the clean lines, their ids, and the lines that are for others to judge.

    Args:
        lines: (value, file, block), each block in its order within one partition.
        rules: of `rules`.
        buckets: of users.
        milliseconds: whether instants are written in those.
    """

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _parse(batches, rules, buckets=buckets, milliseconds=milliseconds)

    return lines.select("value", "file", "block").mapInArrow(parse, SCHEMA)


def pack(rows: DataFrame, *, buckets: int) -> DataFrame:
    """`ROWS` as `SCHEMA`: chunks and their ids, for rows that were parsed in another way."""

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _pack(batches, buckets=buckets)

    return rows.select(*_ROW).mapInArrow(parse, SCHEMA)


def unpack(chunks: DataFrame) -> DataFrame:
    """The ratings of chunks as `ROWS`."""
    return chunks.where("bucket >= 0").mapInArrow(_unpack, ROWS)


def latest(chunks: DataFrame, *, buckets: int) -> DataFrame:
    """`LATEST`: one row a (user, item), and how many it supersedes; a partition a bucket."""
    chunks = chunks.where("bucket >= 0")
    if buckets == 1:
        placed = chunks.coalesce(1)
    else:
        placed = chunks.repartitionById(buckets, F.col("bucket"))
    return placed.mapInArrow(_latest, LATEST)


def distinct_ids(chunks: DataFrame, name: str) -> DataFrame:
    """The ids of chunks, each once: ascending and in one partition, by one task.

    Args:
        chunks: few enough rows of ids for the memory of that task: see `Summary`.
        name: user_id or item_id.
    """

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from recpipe.kernels.ids import distinct_of_runs

        found = list(_id_arrays(batches))
        merged = (
            distinct_of_runs(np.sort(np.concatenate(found))) if found else np.empty(0, np.int64)
        )
        yield from _batches([merged], [name])

    return _id_rows(chunks, name).coalesce(1).mapInArrow(merge, f"{name} long")


def ids(chunks: DataFrame, name: str) -> DataFrame:
    """The ids of chunks, some of them repeatedly, in as many partitions as there are."""

    def explode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for array in _id_arrays(batches):
            yield from _batches([array], [name])

    return _id_rows(chunks, name).mapInArrow(explode, f"{name} long")


def _id_rows(chunks: DataFrame, name: str) -> DataFrame:
    counted = {"user_id": "users", "item_id": "items"}[name]
    return chunks.where(F.col("bucket") == IDS).select(name, counted)


def _id_arrays(batches: Iterable[pa.RecordBatch]) -> Iterator[NDArray[np.int64]]:
    for batch in batches:
        for buffer, count in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield _wide(buffer, count)


@dataclass(frozen=True)
class Summary:
    """What chunks hold, told by their rows of ids.

    Args:
        blocks: (file, block, lines) in no order.
        clean: clean lines of each file by its number.
        others: lines that are for others to judge, the blank ones not among them.
        users: ids of users, those of several chunks counted in each.
        items: ids of items, likewise.
    """

    blocks: Sequence[tuple[int, int, int]]
    clean: dict[int, int]
    others: int
    users: int
    items: int


def summarise(chunks: DataFrame) -> Summary:
    """Read the rows of ids but not the ids: O(blocks and millions of lines) on the driver."""
    rows = chunks.where(F.col("bucket") == IDS)
    found = rows.select("file", "block", "lines", "clean", "others", "users", "items").collect()
    clean: dict[int, int] = {}
    for row in found:
        clean[row["file"]] = clean.get(row["file"], 0) + row["clean"]
    return Summary(
        blocks=[(row["file"], row["block"], row["lines"]) for row in found],
        clean=clean,
        others=sum(row["others"] for row in found),
        users=sum(row["users"] for row in found),
        items=sum(row["items"] for row in found),
    )


def _parse(
    batches: Iterator[pa.RecordBatch], given: Mapping[str, Any], *, buckets: int, milliseconds: bool
) -> Iterator[pa.RecordBatch]:
    """Lines to chunks: a chunk ends with its block, or when it has enough lines."""
    import pyarrow as pa

    from recpipe.kernels import lines as kernel

    rules = kernel.Rules(**given)
    factor = 1000 if milliseconds else _SECOND
    now: tuple[int, int] | None = None
    place = begun = others = 0
    held: list[Ratings] = []

    def flush() -> Iterator[pa.RecordBatch]:
        if now is not None and place > begun:
            rows = Ratings.joined(held)
            yield from _chunks(
                rows, *now, begun, lines=place - begun, others=others, buckets=buckets
            )

    for batch in batches:
        data, offsets = _bytes(batch.column(0))
        for start, stop, file, block in _segments(batch):
            if (file, block) != now or place - begun >= _LINES:
                yield from flush()
                held, others = [], 0
                place = place if (file, block) == now else 0
                now, begun = (file, block), place
            parsed = kernel.parse(data, offsets[start : stop + 1], rules)
            at = place + np.flatnonzero(parsed.kinds == kernel.CLEAN)
            held.append(
                Ratings(parsed.users, parsed.items, parsed.ratings, parsed.times * factor, at)
            )
            other = np.flatnonzero(parsed.kinds == kernel.OTHER)
            if len(other):
                others += len(other)
                values = batch.column(0).slice(start, stop - start).take(pa.array(other))
                yield _record(
                    len(other), file=file, block=block, place=place + other, bucket=LINE,
                    value=values,
                )  # fmt: skip
            place += stop - start
    yield from flush()


def _pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
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
        for start, stop, file, block in _segments(batch):
            part = rows.take(np.arange(start, stop))
            yield from _chunks(
                part, file, block, 0, lines=stop - start, others=stop - start, buckets=buckets
            )


def _chunks(
    rows: Ratings, file: int, block: int, place: int, *, lines: int, others: int, buckets: int
) -> Iterator[pa.RecordBatch]:
    """A row of ids, and a chunk for each bucket that has ratings.

    Where no line of a chunk is for others, nothing falls between its places: they are counted up
    instead of kept.
    """
    from recpipe.kernels import ids as kernel

    users, items = kernel.distinct_of_runs(rows.users), kernel.distinct_of_runs(np.sort(rows.items))
    yield _record(
        1, file=file, block=block, bucket=IDS, lines=lines, clean=len(rows.users), others=others,
        users=len(users), items=len(items), user_id=_narrow(users), item_id=_narrow(items),
    )  # fmt: skip
    if not len(rows.users):
        return
    # Whole seconds in half of the room.
    seconds = rows.times // _SECOND
    whole = bool((seconds * _SECOND == rows.times).all()) and _fits(seconds)
    rows = rows._replace(times=seconds if whole else rows.times)
    bucket = kernel.buckets(rows.users, buckets)
    order = np.argsort(bucket, kind="stable") if buckets > 1 else None
    rows = rows if order is None else rows.take(order)
    ends = np.cumsum(np.bincount(bucket, minlength=buckets))
    for number, stop in enumerate(ends.tolist()):
        start = int(ends[number - 1]) if number else 0
        if start == stop:
            continue
        part = rows.each(itemgetter(slice(start, stop)))
        yield _record(
            1, file=file, block=block, place=place, bucket=number, clean=stop - start,
            user_id=_narrow(part.users), item_id=_narrow(part.items),
            rating=part.ratings.tobytes(),
            rated_at=part.times.astype(np.int32 if whole else np.int64).tobytes(),
            places=part.places.tobytes() if others else None,
        )  # fmt: skip


def _chunk_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, int, int, Ratings]]:
    """(file, block, place, ratings) of every chunk."""
    names = ("file", "block", "place", "clean", "user_id", "item_id", "rating", "rated_at")
    for batch in batches:
        columns = [batch.column(batch.schema.get_field_index(n)) for n in (*names, "places")]
        for row in range(batch.num_rows):
            file, block, place, count = (column[row].as_py() for column in columns[:4])
            buffers = [column[row].as_buffer() for column in columns[4:8]]
            times = _wide(buffers[3], count)
            if buffers[3].size == 4 * count:
                times = times * _SECOND
            places = columns[8][row].as_buffer()
            yield (
                file,
                block,
                place,
                Ratings(
                    _wide(buffers[0], count),
                    _wide(buffers[1], count),
                    np.frombuffer(buffers[2], np.float32),
                    times,
                    np.arange(place, place + count)
                    if places is None
                    else np.frombuffer(places, np.int64),
                ),
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
    superseded = np.zeros(len(kept), np.int64)
    superseded[0] = len(rows.users) - len(kept)
    names = ["user_id", "item_id", "rating", "rated_at", "superseded"]
    columns = rows if len(kept) == len(rows.users) and _is_range(kept) else rows.take(kept)
    yield from _batches([*columns[:4], superseded], names)


def _is_range(kept: NDArray[np.int64]) -> bool:
    return bool((kept[1:] > kept[:-1]).all()) if len(kept) else True


def _batches(columns: Sequence[NDArray[Any]], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Arrays as batches of a size that Spark takes without much memory."""
    import pyarrow as pa

    arrays = [pa.array(column) for column in columns]
    if "rated_at" in names:
        at = list(names).index("rated_at")
        arrays[at] = arrays[at].cast(pa.timestamp("us", "UTC"))
    batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    for start in range(0, batch.num_rows, _BATCH):
        yield batch.slice(start, _BATCH)


@cache
def _fields() -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    kinds = {
        "int": pa.int32(), "long": pa.int64(), "binary": pa.binary(), "string": pa.string()
    }  # fmt: skip
    return {name: kinds[kind] for name, kind in map(str.split, SCHEMA.split(", "))}


def _record(rows: int, **columns: object) -> pa.RecordBatch:
    """Rows of `SCHEMA`: what is no array stands in each of them, what is not given is null."""
    import pyarrow as pa

    arrays = []
    for name, kind in _fields().items():
        value = columns.get(name)
        if isinstance(value, (np.ndarray, pa.Array)):
            arrays.append(pa.array(value, kind))
        else:
            arrays.append(pa.array([value] * rows, kind))
    return pa.RecordBatch.from_arrays(arrays, names=list(_fields()))


def _segments(batch: pa.RecordBatch) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, file, block) of the runs of a batch that are of one block."""
    if batch.num_rows == 0:
        return
    file = batch.column(batch.schema.get_field_index("file")).to_numpy()
    block = batch.column(batch.schema.get_field_index("block")).to_numpy()
    changes = np.flatnonzero((file[1:] != file[:-1]) | (block[1:] != block[:-1])) + 1
    edges = [0, *changes.tolist(), batch.num_rows]
    for start, stop in pairwise(edges):
        yield start, stop, int(file[start]), int(block[start])


def _bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
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
