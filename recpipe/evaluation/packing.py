"""Pairs of one bucket of users from several frames, in one task."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.pairs import Value, as_one, buckets_for, packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


class Source(NamedTuple):
    """A frame and what of it is wanted beside the pairs.

    Args:
        frame: (user, item, ...).
        value: a column of it.
    """

    frame: DataFrame
    value: Value | None = None


class Pairs(NamedTuple):
    """What a bucket has of a source.

    Args:
        pairs: (n,) user and item, as `kernels.pairs` has them.
        values: (n,) the column that goes with them; none where no column was wanted.
    """

    pairs: NDArray[np.int64]
    values: NDArray[Any]


def bucketed(sources: Sequence[Source], *, users: int | None = None) -> DataFrame:
    """All that is known of a user in one partition, as arrays: what `arrays_of` reads.

    Args:
        sources: at least one.
        users: how many there are at most, where that is known.
    """
    buckets = buckets_for(sources[0].frame.sparkSession, users=users)
    frames = [
        packed(source.frame, buckets=buckets, value=source.value).withColumn("source", F.lit(place))
        for place, source in enumerate(sources)
    ]
    return reduce(DataFrame.unionByName, frames).repartitionById(buckets, "bucket")


def arrays_of(
    batches: Iterator[pa.RecordBatch], *, sources: int, values: type[np.int32 | np.float32]
) -> list[Pairs]:
    """In a task: what one partition of `bucketed` has of each source, in their order.

    Args:
        batches: of the partition.
        sources: how many there were.
        values: the type of the columns that were wanted.
    """
    pairs: list[list[bytes]] = [[] for _ in range(sources)]
    beside: list[list[bytes]] = [[] for _ in range(sources)]
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("source", "pairs", "values"))
        for source, some, more in zip(*columns, strict=True):
            pairs[source].append(some)
            beside[source].append(more)
    return [
        Pairs(as_one(some, np.int64), as_one(more, values))
        for some, more in zip(pairs, beside, strict=True)
    ]


__all__ = ["Pairs", "Source", "arrays_of", "bucketed"]
