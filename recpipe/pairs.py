"""Pairs of a user and an item on their way to their users' bucket: a few arrays, not a row a pair.

A pair costs one column to Python and a place in an array; what Spark then shuffles is a row for
some thousands of pairs. Grouping pairs by user in Spark costs several times as much.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from recpipe.arrow import VALUE_BYTES, gathered

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame, SparkSession

PAIR = "pair"
PACKED = "bucket int, pairs binary, values binary"
"""Pairs of a bucket of users, as an int64 array (see `kernels.pairs`), and what goes with them, as
an int32 array of the same length or an empty one."""

_FEW = 256
"""Users for whom a task of their own would cost more than the work."""

_HELD = 1 << 20
"""Pairs that a task holds before it hands them on: 12 MiB."""


def buckets_for(spark: SparkSession, *, users: int | None = None) -> int:
    """How many buckets of users there are; fewer where there is no work for so many tasks.

    As many as shuffle partitions, the cluster's own setting for how much a task can hold, and two a
    core.

    Args:
        spark: whose settings count.
        users: how many there are at most, where that is known.
    """
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
    # Not left to Spark, which would choose by the size of the users, which is small, and not by the
    # work that follows, which is large.
    most = max(2 * spark.sparkContext.defaultParallelism, partitions)
    return most if users is None else max(1, min(most, users // _FEW))


def pair_of() -> Column:
    """PAIR: the int of column `user` above 32 bits, that of `item` below (see `kernels.pairs`)."""
    # An item's sign must not reach the user's half.
    item = F.col("item").cast("long").bitwiseAND(0xFFFFFFFF)
    return F.shiftleft(F.col("user").cast("long"), 32).bitwiseOR(item).alias(PAIR)


def unpaired(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(users, items) of PAIR."""
    return (pairs >> 32).astype(np.int32), pairs.astype(np.int32)


def packed(pairs: DataFrame, *, buckets: int, value: Column | None = None) -> DataFrame:
    """PACKED: pairs by bucket, which is the user's number modulo `buckets`.

    Args:
        pairs: (user int, item int, ...).
        buckets: how many there are.
        value: an int that goes with a pair.
    """
    columns = [pair_of(), *([] if value is None else [value.alias("value")])]
    return pairs.select(*columns).mapInArrow(partial(_pack, buckets=buckets), PACKED)


def _pack(batches: Iterator[pa.RecordBatch], *, buckets: int) -> Iterator[pa.RecordBatch]:
    for held in gathered(batches, rows=_HELD):
        yield _by_bucket(held, buckets)


def _by_bucket(batches: list[pa.RecordBatch], buckets: int) -> pa.RecordBatch:
    import pyarrow as pa

    # Numba need not be loaded where no pair is packed.
    from recpipe.kernels import pairs as kernel

    pairs, *beside = (
        np.concatenate([batch.column(at).to_numpy() for batch in batches])
        for at in range(batches[0].num_columns)
    )
    pairs, values, starts = kernel.by_bucket(pairs, beside[0] if beside else kernel.NONE, buckets)
    most = VALUE_BYTES // pairs.itemsize
    pieces = [
        (bucket, slice(start, min(start + most, starts[bucket + 1])))
        for bucket in range(buckets)
        for start in range(starts[bucket], starts[bucket + 1], most)
    ]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([bucket for bucket, _ in pieces], pa.int32()),
            pa.array([pairs[piece].tobytes() for _, piece in pieces], pa.binary()),
            pa.array([values[piece].tobytes() for _, piece in pieces], pa.binary()),
        ],
        names=["bucket", "pairs", "values"],
    )


__all__ = ["PACKED", "PAIR", "buckets_for", "packed", "pair_of", "unpaired"]
