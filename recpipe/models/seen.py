"""What every user has seen, on its way to the users: a few large arrays, not a row a pair.

A pair costs its conversion to Arrow and a place in two arrays; what Spark then shuffles is one row
for every million pairs and bucket. Grouping pairs by user in Spark costs three times as much.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.kernels import topn as kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame

PACKED = "bucket int, users binary, items binary"
"""Seen pairs of a bucket of users: two int32 arrays of the same length."""

_PAIRS = 1 << 20
"""Pairs that a task holds before it hands them on: 8 MiB."""


def bucket_of(user: Column, buckets: int) -> Column:
    """The bucket of a user: its number modulo the buckets."""
    return F.pmod(user, F.lit(buckets))


def packed(seen: DataFrame, *, buckets: int) -> DataFrame:
    """PACKED: (user, item) pairs by bucket, in as many rows as the input has millions of pairs."""
    return seen.select("user", "item").mapInArrow(partial(_pack, buckets=buckets), PACKED)


def unpacked(
    packed: pa.Table, users: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(items, offsets): the seen items of each of `users`, one after the other.

    Args:
        packed: PACKED rows of one bucket.
        users: distinct, in any order; pairs of other users are passed over.

    Returns:
        Items (int32), and where each user's begin, (len(users) + 1,).
    """
    if not len(users):
        return np.empty(0, np.int32), np.zeros(1, np.int32)
    people, items = (
        np.concatenate([np.frombuffer(b, np.int32) for b in packed.column(name).to_pylist()])
        if packed.num_rows
        else np.empty(0, np.int32)
        for name in ("users", "items")
    )
    order = np.argsort(users, kind="stable")
    ranked = users[order]
    at = np.minimum(np.searchsorted(ranked, people), len(users) - 1)
    rows = np.where(ranked[at] == people, order[at], -1).astype(np.int32)
    return kernel.by_row(rows, items, len(users))


def _pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    held: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    size = 0
    for batch in batches:
        held.append((batch.column(0).to_numpy(), batch.column(1).to_numpy()))
        size += batch.num_rows
        if size >= _PAIRS:
            yield _by_bucket(held, buckets)
            held, size = [], 0
    if held:
        yield _by_bucket(held, buckets)


def _by_bucket(
    held: list[tuple[NDArray[np.int32], NDArray[np.int32]]], buckets: int
) -> pa.RecordBatch:
    users, items = (np.concatenate(side) for side in zip(*held, strict=True))
    bucket = users % buckets
    # Sorting 16 bits is counting them.
    order = np.argsort(bucket.astype(np.uint16) if buckets <= 1 << 16 else bucket, kind="stable")
    users, items = users[order], items[order]
    ends = np.cumsum(np.bincount(bucket, minlength=buckets))
    starts = np.concatenate([[0], ends[:-1]])
    full = np.flatnonzero(ends > starts)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(full.astype(np.int32)),
            pa.array([users[starts[b] : ends[b]].tobytes() for b in full], pa.binary()),
            pa.array([items[starts[b] : ends[b]].tobytes() for b in full], pa.binary()),
        ],
        names=["bucket", "users", "items"],
    )
