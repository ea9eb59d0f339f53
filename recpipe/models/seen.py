"""What every user has seen: by bucket of users on its way to a task, as arrays by user in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import pairs as kernel
from recpipe.pairs import PACKED, packed

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

_COLUMNS = [field.split()[0] for field in PACKED.split(", ")]


def buckets_of(spark: SparkSession) -> int:
    """How many buckets of users there are: as many as shuffle partitions, and two a core."""
    partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 0)
    # Said outright, because Spark would choose by the size of the users, which is small, and not
    # by the work that follows, which is large.
    return max(2 * spark.sparkContext.defaultParallelism, partitions)


def gathered(seen: DataFrame) -> DataFrame:
    """Seen pairs (user, item) as `recommend` sends them: persist it where many models are asked.

    What is gathered already comes back as it is, so both may be handed to `recommend`.
    """
    if seen.columns == _COLUMNS:
        return seen
    return packed(seen, buckets=buckets_of(seen.sparkSession))


def seen_by(
    users: NDArray[np.int32], packed: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(offsets, items): the seen items of each of `users`, one after the other.

    Args:
        users: distinct, in any order; pairs of other users are passed over.
        packed: `pairs.PACKED` rows of one bucket.

    Returns:
        Where each user's items begin, (len(users) + 1,), and the items.
    """
    values = [np.frombuffer(value, np.int64) for value in packed.column("pairs").to_pylist()]
    pairs = np.concatenate([np.empty(0, np.int64), *values])
    order = np.argsort(users, kind="stable").astype(np.int32)
    at = ids.positions(users[order], kernel.users_of(pairs))
    # The last is for pairs of others, whose position is -1.
    rows = np.append(order, np.int32(-1))[at]
    offsets, items, _ = kernel.by_row(rows, pairs, kernel.NONE, len(users))
    return offsets, items


__all__ = ["buckets_of", "gathered", "seen_by"]
