"""Lists of the best items of every user: one shell for every model that scores all items.

Users fall into buckets, which meet what they have seen (`seen`) in one task each; the items are
sent to the workers once (`candidates`). Scores exist only as tiles of a few megabytes: no frame of
users x items anywhere, nothing that grows with ratings or users on the driver, and in a worker one
bucket. There are as many buckets as shuffle partitions, the cluster's own setting for how much a
task can hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from recpipe.kernels import topn as kernel
from recpipe.models.candidates import TILE_COLUMNS
from recpipe.models.seen import buckets_of, gathered, seen_by

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.candidates import Candidates
    from recpipe.models.scorers import Scorer

LISTS = "user int, item int, rank int, score float"
"""The schema of lists."""

# With TILE_COLUMNS a tile of scores: 4 MiB. Every product has this many rows, the last of a batch
# padded with zeros, so that a user's scores do not depend on who shares the batch (BLAS picks its
# kernel by shape).
_ROWS = 256


def top_n(users: DataFrame, *, candidates: Candidates[Any], seen: DataFrame, n: int) -> DataFrame:
    """(user, item, rank, score): the n best items of every user that the user has not seen.

    Args:
        users: `user`, distinct, and the columns that the scorers' `inputs` read.
        candidates: all items, of `candidates.send`.
        seen: (user, item) pairs to leave out, or `seen.gathered` ones; repeated pairs and unknown
            users and items do no harm.
        n: places a user. Where fewer items are left the list is shorter.

    Order is total: score descending, then item ascending. Equal inputs give equal lists, however
    users fall into buckets and items into blocks. Write the lists within `arrow.narrow_rows`.

    Raises:
        ValueError: if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    buckets = buckets_of(users.sparkSession)
    people = users.withColumn("__bucket", F.pmod(F.col("user"), F.lit(buckets)))
    pairs = gathered(seen)

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
    seen_offsets, seen_items = seen_by(numbers, seen)
    top = kernel.Top.empty(len(numbers), min(n, candidates.items))
    for scorer in candidates.scorers():
        _take(batch, scorer, seen_offsets, seen_items, top)
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


def _take(
    batch: pa.RecordBatch,
    scorer: Scorer,
    seen_offsets: NDArray[np.int64],
    seen_items: NDArray[np.int32],
    top: kernel.Top,
) -> None:
    """Take the scorer's items into the best of every user, tile by tile, but for what was seen."""
    count = len(scorer.items)
    places = kernel.places(scorer.items)
    inputs = scorer.inputs(batch)
    buffer = np.empty(_ROWS * min(TILE_COLUMNS, count), np.float32)
    for first in range(0, batch.num_rows, _ROWS):
        last = min(first + _ROWS, batch.num_rows)
        block = inputs[first:last]
        if last - first < _ROWS:
            block = np.zeros((_ROWS, *inputs.shape[1:]), inputs.dtype)
            block[: last - first] = inputs[first:last]
        for start in range(0, count, TILE_COLUMNS):
            stop = min(start + TILE_COLUMNS, count)
            out = buffer[: _ROWS * (stop - start)].reshape(_ROWS, stop - start)
            scores = scorer.tile(block, start, stop, out)[: last - first]
            kernel.hide(scores, start, seen_items, seen_offsets[first : last + 1], places)
            kernel.update(scores, scorer.items[start:stop], *top.rows(first, last))
