"""Pairs of users and items on their way to the tasks of their users' buckets, and in a task.

Such pairs are what users have seen, and those that a prediction is asked for. They travel in runs:
a run is a user and how many items follow. Where users have many items and no item needs more than
16 bits, a pair costs little more than two bytes on its way.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import runs as kernel
from recpipe.kernels.pairs import NONE, by_bucket, users_of
from recpipe.spark.arrow import VALUE_BYTES, gathered
from recpipe.spark.interactions import (
    HELD,
    PACKED,
    buckets_for,
    frame_of,
    map_pairs,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.spark.interactions import Interactions

_NARROW = np.uint16
_DENSE = 2
"""From so many pairs for each number in the range of users on, counting by user is faster."""
_PIECE = VALUE_BYTES // 8
"""The most items of a run. A row has less than twice as many: neither its runs nor its items take
more than `VALUE_BYTES`."""


class PackedPairs(NamedTuple):
    """Pairs that are packed by bucket of users, once for many models.

    Args:
        rows: `interactions.PACKED`, not yet shuffled; `runs_of` reads it. Persist it where many
            models are asked.
        buckets: of users, in which lists and predictions are made as well.
        source: what was packed.
    """

    rows: DataFrame
    buckets: int
    source: Interactions


class Runs(NamedTuple):
    """What a bucket has of `PackedPairs`.

    Args:
        users: (runs,) whose the next items are; a user may have several runs.
        sizes: (runs,) how many items each run has.
        items: of all runs, end to end.
    """

    users: NDArray[np.int32]
    sizes: NDArray[np.int32]
    items: NDArray[np.uint16 | np.int32]


def packed_pairs(pairs: Interactions | PackedPairs, *, users: int | None = None) -> PackedPairs:
    """Pairs (user int, item int, ...) by bucket; what is packed already comes back as it is.

    Args:
        pairs: without nulls.
        users: how many users are asked about at most, where that is known.
    """
    if isinstance(pairs, PackedPairs):
        return pairs
    buckets = buckets_of(pairs, users=users)
    return PackedPairs(packed_in(pairs, buckets=buckets), buckets, pairs)


def packed_in(pairs: Interactions, *, buckets: int) -> DataFrame:
    """`interactions.PACKED` of pairs (user int, item int, ...) without nulls, by bucket."""
    return map_pairs(pairs, partial(pack, buckets=buckets), PACKED)


def buckets_of(pairs: Interactions | PackedPairs, *, users: int | None = None) -> int:
    """How many buckets `packed_pairs` makes, without packing them."""
    if isinstance(pairs, PackedPairs):
        return pairs.buckets
    return buckets_for(frame_of(pairs).sparkSession, users=users)


def runs_of(keys: list[bytes], values: list[bytes]) -> Runs:
    """In a task: the runs in some packed rows; a reader for `interactions.arrays_of`."""
    parts = [np.frombuffer(key, np.int32).reshape(-1, 2) for key in keys]
    runs = np.concatenate([np.empty((0, 2), np.int32), *parts])
    items = [_items_of(part, value) for part, value in zip(parts, values, strict=True)]
    # Where their types differ, of the wider.
    joined = np.concatenate([np.empty(0, _NARROW), *items])
    return Runs(runs[:, 0].copy(), runs[:, 1].copy(), joined)


def _items_of(runs: NDArray[np.int32], items: bytes) -> NDArray[Any]:
    narrow = len(items) == int(runs[:, 1].sum()) * np.dtype(_NARROW).itemsize
    return np.frombuffer(items, _NARROW if narrow else np.int32)


class ItemsByUser(NamedTuple):
    """The items of some users.

    Args:
        offsets: (users + 1,) where in `items` those of each user start.
        items: of all users, those of one in the order in which they came.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(users,) how many items each has."""
        return np.diff(self.offsets)


def items_by_user(users: NDArray[np.int32], runs: Runs) -> ItemsByUser:
    """The items of each of `users`.

    Args:
        users: distinct, ascending; runs of other users are passed over.
        runs: of their bucket.
    """
    rows = ids.positions(users, runs.users)
    return ItemsByUser(*kernel.by_row(rows, runs.sizes, runs.items, len(users)))


def pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    """In a task: `interactions.PACKED` of pairs, for `runs_of`; a user's items in their order.

    Args:
        batches: of pairs, in one column.
        buckets: how many there are; a user's is its number modulo that.
    """
    for held in gathered(batches, rows=HELD):
        pairs = np.concatenate([batch.column(0).to_numpy() for batch in held])
        yield _by_bucket(pairs, buckets)


def _by_bucket(pairs: NDArray[np.int64], buckets: int) -> pa.RecordBatch:
    users, sizes, items = _runs(pairs, buckets)
    users, sizes = _no_longer_than(_PIECE, users, sizes)
    ends = np.cumsum(sizes, dtype=np.int64)
    starts, bucket = ends - sizes, users % buckets
    keys = np.column_stack([users, sizes])
    fresh = (np.diff(bucket, prepend=-1) != 0) | (np.diff(starts // _PIECE, prepend=0) != 0)
    first = np.flatnonzero(fresh)
    last = np.append(first, len(keys))[1:]
    return rows_of(
        (int(bucket[a]), keys[a:b], items[starts[a] : ends[b - 1]])
        for a, b in zip(first, last, strict=True)
    )


def _runs(pairs: NDArray[np.int64], buckets: int) -> Runs:
    """By bucket; the items of a user as they came."""
    lowest, highest = int(pairs.min()) >> 32, int(pairs.max()) >> 32
    items_bits = int(np.bitwise_or.reduce(pairs)) & 0xFFFFFFFF
    kind: type[Any] = np.int32 if items_bits >> 16 else _NARROW
    if highest - lowest < len(pairs) // _DENSE:
        users = np.arange(lowest, highest + 1, dtype=np.int32)
        users, sizes, begins = kernel.plan(pairs, users, buckets)
        items = np.empty(len(pairs), kind)
        kernel.fill(pairs, lowest, begins, items)
        return Runs(users, sizes, items)
    # A place for each user would cost more than the pairs. What stands together is one run.
    moved, _, _ = by_bucket(pairs, NONE, buckets)
    users = users_of(moved)
    first = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    sizes = np.diff(np.append(first, len(users))).astype(np.int32)
    return Runs(users[first], sizes, moved.astype(np.int32).astype(kind))


def _no_longer_than(
    max_items: int, users: NDArray[np.int32], sizes: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The same runs, those of more than `max_items` items cut."""
    times = -(-sizes // max_items)
    rest = sizes - (times - 1) * max_items
    cut = np.full(times.sum(), max_items, np.int32)
    cut[np.cumsum(times) - 1] = rest
    return np.repeat(users, times), cut


__all__ = [
    "ItemsByUser", "PackedPairs", "Runs", "buckets_of", "items_by_user", "pack", "packed_in",
    "packed_pairs", "runs_of",
]  # fmt: skip
