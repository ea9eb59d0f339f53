"""Pairs of a user and an item on their way to their users' bucket: a few arrays, not a row a pair.

A pair costs one column to Python and a place in an array; what Spark then shuffles is a row for
some thousands of pairs. Grouping pairs by user in Spark costs several times as much.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.spark.arrow import VALUE_BYTES, gathered
from recpipe.spark.columns import batch_of
from recpipe.storage import Stored
from recpipe.storage.decoded import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Column, SparkSession

    Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

    Reader = Callable[[list[bytes], list[bytes]], Any]

PAIR = "pair"
PACKED = "bucket int, keys binary, values binary"
"""Some keys of a bucket of users, and what goes with them, each as the bytes of an array. `Kinds`
reads those that have so many numbers for each key, or none: keys are pairs as int64 (see
`kernels.pairs`), or users as int32. `ranking.pairs.runs_of` reads runs."""

_USER_HALF = int(sys.byteorder == "little")
"""Of a pair's two int32 in memory, which is the user."""

_FEW = 256
"""Users for whom a task of their own would cost more than the work."""

HELD = 1 << 20
"""Pairs that a task holds before it hands them on: 12 MiB."""


class Value(NamedTuple):
    """A column that goes with pairs.

    Args:
        name: of it.
        kind: what becomes of it: int32, float32, or microseconds since 1970 (int64).
        missing: what a row without one has: a number, or `skip` for no such row; None where there
            is none. What `mapped` made has all of them.
    """

    name: str
    kind: Literal["int", "float", "micros"]
    missing: int | Literal["skip"] | None = None

    def column(self) -> Column:
        """As Spark makes it."""
        value = F.col(self.name)
        return F.unix_micros(value) if self.kind == "micros" else value.cast(self.kind)


def buckets_for(spark: SparkSession, *, users: int | None = None) -> int:
    """How many buckets of users there are.

    The larger of `spark.sql.shuffle.partitions`, the cluster's own setting for how much a task can
    hold, and twice the number of cores; fewer where there are few users.

    Args:
        spark: whose settings count.
        users: how many there are at most, where that is known.
    """
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
    # Not left to Spark, which would choose by the size of the users, which is small, and not by the
    # work that follows, which is large.
    max_buckets = max(2 * spark.sparkContext.defaultParallelism, partitions)
    return max_buckets if users is None else max(1, min(max_buckets, users // _FEW))


def _pair_of() -> Column:
    """PAIR: the int of column `user` above 32 bits, that of `item` below (see `kernels.pairs`)."""
    # An item's sign must not reach the user's half.
    user, item = (F.col(name).cast("int").cast("long") for name in ("user", "item"))
    item = item.bitwiseAND(0xFFFFFFFF)
    return F.shiftleft(user, 32).bitwiseOR(item).alias(PAIR)


def paired(users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.int64]:
    """PAIR of users and items, none of which is negative."""
    return users.astype(np.int64) << 32 | items


def unpaired(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(users, items) of PAIR."""
    return (pairs >> 32).astype(np.int32), pairs.astype(np.int32)


@dataclass(frozen=True, eq=False)
class Mapped:
    """Pairs that a Python function makes, before Spark has made rows of them.

    Two functions of Python in one stage take two workers for each task, and what one makes becomes
    rows of Spark on its way to the other; `map_pairs` calls the second with what the first makes.

    Args:
        source: what `work` is given.
        work: what a task does.
        schema: of what it makes: user int, item int, ...
    """

    source: DataFrame
    work: Work
    schema: str

    @cached_property
    def frame(self) -> DataFrame:
        """The rows, for whoever writes, joins or caches them."""
        return self.source.mapInArrow(self.work, self.schema)


Interactions: TypeAlias = DataFrame | Stored | Mapped
"""(user int, item int, ...): rows of Spark, a table at rest, or what a function makes."""


def mapped(frame: DataFrame, work: Work, schema: str) -> Mapped:
    """Like `frame.mapInArrow`; a following `map_pairs` runs in the same worker.

    Args:
        frame: what `work` is given.
        work: what a task does; it makes no nulls, and the same again if it runs again.
        schema: of what it makes: user int, item int, ...
    """
    return Mapped(frame, work, schema)


def frame_of(rows: Interactions) -> DataFrame:
    """The rows as Spark's own, to filter, join or cache."""
    return rows if isinstance(rows, DataFrame) else rows.frame


def is_liked(lowest: float | None) -> Column:
    """Whether the column `rating` is at least `lowest`; every row is where that is None."""
    # Compared as floats: the float 3.3 is below the double 3.3.
    return F.lit(True) if lowest is None else F.col("rating") >= F.lit(lowest).cast("float")


def map_pairs(
    rows: Interactions,
    work: Work,
    schema: str,
    *,
    value: Value | None = None,
    weight: Column | None = None,
) -> DataFrame:
    """`work` on batches of (PAIR, value), as `mapInArrow` does; the way in is the shortest.

    Of a table at rest tasks decode the files, where `Stored.files` gives them; what a Python
    function makes goes on in the same worker; else rows come from Spark.

    Args:
        rows: (user int, item int, ...), users and items without nulls.
        work: what a task does.
        schema: of what it makes.
        value: a column of `rows` that goes with the pairs.
        weight: of `rows`, as a third column, float; they then come from Spark, which computes it.
    """
    if weight is not None:
        columns = [column.column().alias("value") for column in ([value] if value else [])]
        pairs = frame_of(rows).select(_pair_of(), *columns, weight.cast("float").alias("weight"))
        return pairs.mapInArrow(work, schema)
    if isinstance(rows, Mapped):
        take, made_by = partial(_from_rows, value=value), rows.work
        return rows.source.mapInArrow(lambda batches: work(take(made_by(batches))), schema)
    beside = [] if value is None else [value]
    # Decoded values must all be there, so a column that lacks some comes from Spark.
    if isinstance(rows, Stored) and (value is None or value.missing is None):
        files = rows.files(["user", "item", *[column.name for column in beside]])
        if files is not None:
            read = partial(_from_files, value=value)
            return files.mapInArrow(lambda batches: work(read(batches)), schema)
    frame = frame_of(rows)
    if value is not None and value.missing == "skip":
        frame = frame.where(F.col(value.name).isNotNull())
    elif value is not None and value.missing is not None:
        frame = frame.withColumn(value.name, F.coalesce(value.name, F.lit(value.missing)))
    columns = [column.column().alias("value") for column in beside]
    return frame.select(_pair_of(), *columns).mapInArrow(work, schema)


def _from_files(
    batches: Iterator[pa.RecordBatch], *, value: Value | None
) -> Iterator[pa.RecordBatch]:
    for rows in decoded(batches, _wanted(value)):
        yield _paired(rows, value)


def _from_rows(
    batches: Iterator[pa.RecordBatch], *, value: Value | None
) -> Iterator[pa.RecordBatch]:
    """What a function makes at once may be a whole bucket: it goes on a piece at a time."""
    import pyarrow as pa

    schema = pa.schema(_wanted(value))
    for batch in batches:
        for start in range(0, len(batch), HELD):
            piece = batch.slice(start, HELD)
            # Its own columns are of the types that Spark was told, these are as they are wanted.
            yield _paired(piece.select(schema.names).cast(schema), value)


def _wanted(value: Value | None) -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    columns = [("user", pa.int32()), ("item", pa.int32())]
    if value is not None:
        kinds = {"int": pa.int32(), "float": pa.float32(), "micros": pa.timestamp("us", "UTC")}
        columns.append((value.name, kinds[value.kind]))
    return columns


def _paired(rows: pa.RecordBatch, value: Value | None) -> pa.RecordBatch:
    """(PAIR, value) of columns as they are wanted."""
    import pyarrow as pa

    # Both halves in place: an item's sign must not reach the user's.
    pairs = np.empty((len(rows), 2), np.int32)
    pairs[:, _USER_HALF] = rows.column("user").to_numpy()
    pairs[:, 1 - _USER_HALF] = rows.column("item").to_numpy()
    columns = [pa.array(pairs.view(np.int64)[:, 0])]
    if value is not None:
        given = rows.column(value.name)
        columns.append(given.cast(pa.int64()) if value.kind == "micros" else given)
    return pa.RecordBatch.from_arrays(columns, names=[PAIR, "value"][: len(columns)])


def packed(pairs: Interactions, *, buckets: int, value: Value | None = None) -> DataFrame:
    """PACKED: pairs by bucket, which is the user's number modulo `buckets`.

    Args:
        pairs: (user int, item int, ...).
        buckets: how many there are.
        value: a column that goes with the pairs.
    """
    return map_pairs(pairs, partial(_pack, buckets=buckets), PACKED, value=value)


def _pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    for held in gathered(batches, rows=HELD):
        yield _by_bucket(held, buckets)


def together(frames: Sequence[DataFrame], *, buckets: int) -> DataFrame:
    """PACKED frames, what they have of a bucket in one partition: `arrays_of` reads it."""
    placed = [frame.withColumn("source", F.lit(place)) for place, frame in enumerate(frames)]
    return reduce(DataFrame.unionByName, placed).repartitionById(buckets, "bucket")


class Arrays(NamedTuple):
    """What a bucket has of a PACKED frame.

    Args:
        keys: (n,) pairs or users.
        values: what goes with them, end to end.
    """

    keys: NDArray[Any]
    values: NDArray[Any]


@dataclass(frozen=True)
class Kinds:
    """The types of `Arrays`."""

    keys: type[np.int32 | np.int64]
    values: type[np.int32 | np.int64 | np.float32]

    def __call__(self, keys: list[bytes], values: list[bytes]) -> Arrays:
        """What some rows have."""
        return Arrays(_as_one(keys, self.keys), _as_one(values, self.values))


def _as_one(values: list[bytes], kind: type[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *(np.frombuffer(value, kind) for value in values)])


def arrays_of(batches: Iterator[pa.RecordBatch], readers: Sequence[Reader]) -> list[Any]:
    """In a task: what one partition of `together` has of each frame, in their order.

    Args:
        batches: of the partition.
        readers: of each frame, such as `Kinds`; given the keys and the values of its rows.
    """
    found: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in readers]
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("source", "keys", "values"))
        for source, *arrays in zip(*columns, strict=True):
            for values, more in zip(found[source], arrays, strict=True):
                values.append(more)
    return [reader(*some) for some, reader in zip(found, readers, strict=True)]


def pieces(
    buckets: Iterable[tuple[int, NDArray[Any], NDArray[Any]]], *, width: int = 1
) -> pa.RecordBatch:
    """PACKED rows, their values no larger than `VALUE_BYTES`.

    Args:
        buckets: number, keys and values of each.
        width: bytes of the longer of a key and its values.
    """
    step = max(1, VALUE_BYTES // width)
    return rows_of(
        (bucket, keys[start : start + step], values[start : start + step])
        for bucket, keys, values in buckets
        for start in range(0, len(keys), step)
    )


def rows_of(pieces: Iterable[tuple[int, NDArray[Any], NDArray[Any]]]) -> pa.RecordBatch:
    """PACKED: bucket, keys and values of each row."""
    rows = list(pieces)
    return batch_of(
        PACKED,
        [bucket for bucket, _, _ in rows],
        [keys.tobytes() for _, keys, _ in rows],
        [values.tobytes() for _, _, values in rows],
    )


def _by_bucket(batches: list[pa.RecordBatch], buckets: int) -> pa.RecordBatch:
    # Numba need not be loaded where no pair is packed.
    from recpipe.kernels import pairs as kernel

    pairs, *beside = (
        np.concatenate([batch.column(at).to_numpy() for batch in batches])
        for at in range(batches[0].num_columns)
    )
    values = beside[0] if beside else kernel.NONE
    # As bits: the kernel moves them, and asks for no more than their size.
    values = values.view(f"i{values.itemsize}")
    pairs, values, starts = kernel.by_bucket(pairs, values, buckets)
    parts = [slice(*starts[bucket : bucket + 2]) for bucket in range(buckets)]
    return pieces(
        ((bucket, pairs[part], values[part]) for bucket, part in enumerate(parts)),
        width=pairs.itemsize,
    )


__all__ = [
    "HELD", "PACKED", "PAIR", "Arrays", "Interactions", "Kinds", "Mapped", "Value", "arrays_of",
    "buckets_for", "frame_of", "is_liked", "map_pairs", "mapped", "packed", "paired", "pieces",
    "rows_of", "together", "unpaired",
]  # fmt: skip
