"""Pairs by bucket of users on their way to a task, such as what each has seen, and in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import pairs as kernel
from recpipe.kernels.topn import Seen
from recpipe.pairs import buckets_for, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame


class Gathered(NamedTuple):
    """Pairs as `top_n` and `predictions` send them.

    Args:
        pairs: `pairs.PACKED`, not yet shuffled.
        buckets: of users, in which lists and predictions are made as well.
    """

    pairs: DataFrame
    buckets: int


def gathered(pairs: DataFrame | Gathered, *, users: int | None = None) -> Gathered:
    """Pairs (user, item, ...), packed: persist `pairs` of it where many models are asked.

    Args:
        pairs: what is gathered already comes back as it is.
        users: how many are asked about at most, where that is known.
    """
    if isinstance(pairs, Gathered):
        return pairs
    buckets = buckets_of(pairs, users=users)
    return Gathered(packed(pairs, buckets=buckets), buckets)


def buckets_of(pairs: DataFrame | Gathered, *, users: int | None = None) -> int:
    """Those of `gathered`, before it is asked."""
    if isinstance(pairs, Gathered):
        return pairs.buckets
    return buckets_for(pairs.sparkSession, users=users)


def rows_of(users: NDArray[np.int32], pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """Where the user of each pair is in `users` (distinct, in any order); -1 where it is not."""
    table = ids.table(users)
    if table is not None:
        return kernel.rows_of(table, pairs)
    order = np.argsort(users, kind="stable").astype(np.int32)
    at = ids.positions(users[order], kernel.users_of(pairs))
    # The last is for pairs of others, whose position is -1.
    return np.append(order, np.int32(-1))[at]


def seen_by(users: NDArray[np.int32], pairs: NDArray[np.int64]) -> Seen:
    """The seen items of each of `users`.

    Args:
        users: distinct, in any order; pairs of other users are passed over.
        pairs: of their bucket.
    """
    offsets, items, _ = kernel.by_row(rows_of(users, pairs), pairs, kernel.NONE, len(users))
    return Seen(offsets, items)


__all__ = ["Gathered", "buckets_of", "gathered", "rows_of", "seen_by"]
