"""What users have taken up, as sparse rows to score from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels import ids
from recpipe.spark.interactions import Kinds, Value, packed, unpaired

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.spark.interactions import Arrays, Interactions

HISTORY_KINDS = Kinds(np.int64, np.float32)
"""The types of packed histories: pairs, and a value each."""


class Histories(NamedTuple):
    """A sparse matrix in compressed rows: a row a user.

    Args:
        offsets: (rows + 1,) where in `items` each row starts.
        items: item numbers of all rows, ascending in each.
        values: (n,) of each item.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]

    def rows(self, wanted: slice | NDArray[np.int64]) -> Histories:
        """The rows at some places."""
        if isinstance(wanted, slice):
            offsets = self.offsets[wanted.start : wanted.stop + 1]
            own = slice(offsets[0], offsets[-1])
            return Histories(offsets - offsets[0], self.items[own], self.values[own])
        sizes = np.diff(self.offsets)
        chosen = np.zeros(len(sizes), bool)
        chosen[wanted] = True
        kept = np.repeat(chosen, sizes)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[wanted])])
        return Histories(offsets, self.items[kept], self.values[kept])


def packed_histories(histories: Interactions, *, buckets: int) -> DataFrame:
    """`interactions.PACKED` of (user int, item int, value float)."""
    return packed(histories, buckets=buckets, value=Value("value", "float"))


def histories_of(arrays: Arrays, users: NDArray[np.int32]) -> Histories:
    """In a task: the histories of some users of its bucket.

    The order within a row, and so the order of every sum over it, is that of the items, however
    the rows came.

    Args:
        arrays: what `packed_histories` sent, of all users of the bucket.
        users: distinct, ascending.
    """
    rows = ids.positions(users, unpaired(arrays.keys)[0])
    wanted = np.flatnonzero(rows >= 0)
    # A pair is the user above the item, so the order of pairs is that of rows and items.
    wanted = wanted[np.argsort(arrays.keys[wanted], kind="stable")]
    sizes = np.bincount(rows[wanted], minlength=len(users))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    items = arrays.keys[wanted].astype(np.int32)
    return Histories(offsets, items, arrays.values[wanted])


__all__ = ["HISTORY_KINDS", "Histories", "histories_of", "packed_histories"]
