"""Pairs of one bucket of users from several frames, in one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recpipe.kernels.groups import GROUPS
from recpipe.spark.interactions import Value, buckets_for, frame_of, packed, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from recpipe.spark.interactions import Interactions


class PairSource(NamedTuple):
    """Interactions and what of them is wanted beside the pairs.

    Args:
        rows: (user, item, ...).
        value: a column of them.
    """

    rows: Interactions
    value: Value | None = None


def bucketed(
    sources: Sequence[PairSource],
    *,
    users: int | None = None,
    packed_already: Sequence[DataFrame] = (),
) -> DataFrame:
    """All that is known of a user in one partition, as arrays: see `interactions.together`.

    So is all that is known of a group of users (`kernels.groups`), since the number of buckets
    divides that of groups: sums of a group are made in one task.

    Args:
        sources: at least one.
        users: how many there are at most, where that is known.
        packed_already: `interactions.PACKED` by `bucket_count` buckets, for the last places.
    """
    buckets = bucket_count(sources, users=users)
    frames = [packed(source.rows, buckets=buckets, value=source.value) for source in sources]
    return together([*frames, *packed_already], buckets=buckets)


def bucket_count(sources: Sequence[PairSource], *, users: int | None = None) -> int:
    """How many partitions `bucketed` makes; the arguments are the same."""
    wanted = buckets_for(frame_of(sources[0].rows).sparkSession, users=users)
    return min(GROUPS, 1 << (wanted - 1).bit_length())


__all__ = ["PairSource", "bucket_count", "bucketed"]
