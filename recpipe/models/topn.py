"""Lists of the best items of every user: one shell for every model that scores all items.

Users fall into buckets, which meet what they have seen (`seen`) in one task each; the items are
sent to the workers once (`candidates`). No score is kept but the best: no frame of users x items
anywhere, nothing that grows with ratings or users on the driver, and in a worker one bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.kernels import topn as kernel
from recpipe.models.seen import gathered, seen_by

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.models.candidates import Candidates
    from recpipe.models.seen import Gathered

LISTS = "user int, item int, rank int, score float"
"""The schema of lists."""


def top_n(
    users: DataFrame,
    *,
    candidates: Candidates[Any],
    seen: DataFrame | Gathered,
    n: int,
    most: int | None = None,
) -> DataFrame:
    """(user, item, rank, score): the n best items of every user that the user has not seen.

    Args:
        users: `user`, distinct, and the columns that the scorers' `inputs` read.
        candidates: all items, of `candidates.send`.
        seen: (user, item) pairs to leave out, or `seen.gathered` ones; repeated pairs and unknown
            users and items do no harm.
        n: places a user. Where fewer items are left the list is shorter.
        most: how many users there are at most, where that is known.

    Order is total: score descending, then item ascending. Equal inputs give equal lists, however
    users fall into buckets and items into blocks. Write the lists within `arrow.narrow_rows`.

    Raises:
        ValueError: if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    pairs, buckets = gathered(seen, users=most)
    people = users.withColumn("__bucket", F.pmod(F.col("user"), F.lit(buckets)))

    def lists(batch: pa.Table, seen: pa.Table) -> pa.Table:
        return _lists(batch, seen, candidates, n)

    return (
        people.repartitionById(buckets, "__bucket")
        .groupBy("__bucket")
        .cogroup(pairs.repartitionById(buckets, "bucket").groupBy("bucket"))
        .applyInArrow(lists, LISTS)
    )


def _lists(users: pa.Table, seen: pa.Table, candidates: Candidates[Any], n: int) -> pa.Table:
    """The lists of the users of one bucket."""
    import pyarrow as pa

    (batch,) = users.combine_chunks().to_batches() or [_no_users(users.schema)]
    numbers = batch.column("user").to_numpy()
    left_out = seen_by(numbers, seen)
    top = kernel.Top.empty(len(numbers), min(n, candidates.items))
    for scorer in candidates.scorers():
        scorer.take(batch, left_out, top)
    row, items, scores = top.filled()
    shown = scorer.present(scores)
    if shown is not scores:
        # What people see may tie where the scores did not: order such items by number.
        order = np.lexsort((items, -shown, row))
        items, shown = items[order], shown[order]
    starts = np.cumsum(top.sizes) - top.sizes
    ranks = np.arange(1, len(row) + 1) - np.repeat(starts, top.sizes)
    return pa.table(
        {
            "user": numbers[row],
            "item": items,
            "rank": ranks.astype(np.int32),
            "score": shown,
        }
    )


def _no_users(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema)
