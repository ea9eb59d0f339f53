"""What may be in the lists of users: items for nobody, and for some users some items alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from recpipe.ranking.pairs import items_by_user, packed_in

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.kernels.best import LeftOut
    from recpipe.ranking.pairs import Runs

    Ints = NDArray[np.int32]

NO_ITEM = 2**31 - 1
"""Stands for an item that nobody can get: a user whose only item it is gets an empty list."""


def _no_items() -> Ints:
    return np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class ListRules:
    """What may be in lists, beside what their users have seen.

    Args:
        never: item numbers that are in no list.
        only: (user int, item int), without nulls: these users get no other items. None: all may
            get any.
        blocked: (user int, item int), without nulls: these users do not get these items.
    """

    never: Ints = field(default_factory=_no_items)
    only: DataFrame | None = None
    blocked: DataFrame | None = None

    def with_blocked(self, seen: DataFrame, *, buckets: int) -> DataFrame:
        """`interactions.PACKED` of what users have seen, and of what they do not get."""
        if self.blocked is None:
            return seen
        return seen.unionByName(packed_in(self.blocked, buckets=buckets))

    def packed(self, *, buckets: int) -> list[DataFrame]:
        """`interactions.PACKED` of `only` by bucket of users; no frame where there is none."""
        return [] if self.only is None else [packed_in(self.only, buckets=buckets)]


def left_out_of(users: Ints, seen: Runs, only: Runs | None, never: Ints) -> LeftOut:
    """In a task: what each of some users may not get.

    Args:
        users: distinct, ascending; what is said of others is passed over.
        seen: items that a user may not get.
        only: the items that each user may get; users without a run, and all users if None, may get
            any.
        never: items that nobody may get.
    """
    from recpipe.kernels import runs as kernel
    from recpipe.kernels.best import LeftOut

    left_out = items_by_user(users, seen)
    if only is None:
        return LeftOut.of(*left_out, always=never)
    allowed = items_by_user(users, only)
    return LeftOut.of(
        *kernel.allowed_or_taken(*left_out, *allowed), only=allowed.sizes > 0, always=never
    )


__all__ = ["NO_ITEM", "ListRules", "left_out_of"]
