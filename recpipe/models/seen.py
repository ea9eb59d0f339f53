"""What every user has seen, as arrays by user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.kernels import ids
from recpipe.kernels import pairs as kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


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


__all__ = ["seen_by"]
