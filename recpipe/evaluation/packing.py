"""The lists of all models and the relevant items of one bucket of users, in one task."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.pairs import buckets_for, packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.kernels.ranking import Places

_RELEVANT = -1


def bucketed(
    lists: Mapping[str, DataFrame], relevant: DataFrame, *, users: int | None = None
) -> DataFrame:
    """All that is known of a user in one partition, as arrays: what `places_of` reads.

    Args:
        lists: by model, (user, item, rank, ...).
        relevant: (user, item, ...).
        users: how many there are at most, where that is known.
    """
    buckets = buckets_for(relevant.sparkSession, users=users)
    # A rank that is missing is as wrong as one below 1.
    rank = F.coalesce(F.col("rank"), F.lit(0)).cast("int")
    frames = [packed(frame, buckets=buckets, value=rank) for frame in lists.values()]
    together = [packed(relevant, buckets=buckets).withColumn("model", F.lit(_RELEVANT))] + [
        frame.withColumn("model", F.lit(model)) for model, frame in enumerate(frames)
    ]
    return reduce(DataFrame.unionByName, together).repartitionById(buckets, "bucket")


def places_of(
    batches: Iterator[pa.RecordBatch], *, models: int
) -> tuple[NDArray[np.int64], list[Places]]:
    """The relevant pairs and the places of each model, of one partition of `bucketed`."""
    from recpipe.kernels.ranking import Places

    # The relevant pairs are the last, as -1 says.
    pairs: list[list[NDArray[np.int64]]] = [[np.empty(0, np.int64)] for _ in range(models + 1)]
    ranks: list[list[NDArray[np.int32]]] = [[np.empty(0, np.int32)] for _ in range(models + 1)]
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("model", "pairs", "values"))
        for model, some, beside in zip(*columns, strict=True):
            pairs[model].append(np.frombuffer(some, np.int64))
            ranks[model].append(np.frombuffer(beside, np.int32))
    places = [
        Places(np.concatenate(pairs[model]), np.concatenate(ranks[model]))
        for model in range(models)
    ]
    return np.concatenate(pairs[_RELEVANT]), places


__all__ = ["bucketed", "places_of"]
