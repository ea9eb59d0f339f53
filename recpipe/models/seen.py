"""What every user has seen: by bucket of users on its way to a task, as arrays by user in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import pairs as kernel
from recpipe.kernels.topn import Seen
from recpipe.pairs import buckets_for, packed

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame


class Gathered(NamedTuple):
    """Seen pairs as `top_n` sends them.

    Args:
        pairs: `pairs.PACKED`, of all users who get a list; of others too, without harm.
        buckets: of users, in which lists are made as well.
    """

    pairs: DataFrame
    buckets: int


def gathered(seen: DataFrame | Gathered, *, users: int | None = None) -> Gathered:
    """Seen pairs (user, item), packed: persist `pairs` of it where many models are asked.

    Args:
        seen: what is gathered already comes back as it is.
        users: how many get a list at most, where that is known.
    """
    if isinstance(seen, Gathered):
        return seen
    buckets = buckets_for(seen.sparkSession, users=users)
    return Gathered(packed(seen, buckets=buckets), buckets)


def seen_by(users: NDArray[np.int32], packed: pa.Table) -> Seen:
    """The seen items of each of `users`.

    Args:
        users: distinct, in any order; pairs of other users are passed over.
        packed: `pairs.PACKED` rows of one bucket.
    """
    values = [np.frombuffer(value, np.int64) for value in packed.column("pairs").to_pylist()]
    pairs = np.concatenate([np.empty(0, np.int64), *values])
    order = np.argsort(users, kind="stable").astype(np.int32)
    at = ids.positions(users[order], kernel.users_of(pairs))
    # The last is for pairs of others, whose position is -1.
    rows = np.append(order, np.int32(-1))[at]
    offsets, items, _ = kernel.by_row(rows, pairs, kernel.NONE, len(users))
    return Seen(offsets, items)


__all__ = ["Gathered", "gathered", "seen_by"]
