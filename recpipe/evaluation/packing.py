"""Pairs of one bucket of users from several frames, in one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recpipe.spark.interactions import Value, buckets_for, packed, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


class Source(NamedTuple):
    """A frame and what of it is wanted beside the pairs.

    Args:
        frame: (user, item, ...).
        value: a column of it.
    """

    frame: DataFrame
    value: Value | None = None


def bucketed(sources: Sequence[Source], *, users: int | None = None) -> DataFrame:
    """All that is known of a user in one partition, as arrays: see `pairs.together`.

    Args:
        sources: at least one.
        users: how many there are at most, where that is known.
    """
    buckets = buckets_for(sources[0].frame.sparkSession, users=users)
    frames = [packed(source.frame, buckets=buckets, value=source.value) for source in sources]
    return together(frames, buckets=buckets)


__all__ = ["Source", "bucketed"]
