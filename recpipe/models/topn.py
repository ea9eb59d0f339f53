"""Lists of the best items of every user: one shell for every model that scores all items.

Users fall into buckets, which meet what they have seen (`seen`) in one task each; the items are
broadcast once. Scores exist only as tiles of a few megabytes: no frame of users x items anywhere,
nothing that grows with ratings or users on the driver, and in a worker one bucket. There are as
many buckets as shuffle partitions, the cluster's own setting for how much a task can hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import MissingError
from recpipe.kernels import topn as kernel
from recpipe.models.seen import bucket_of, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

LISTS = "user int, item int, rank int, score float"
"""The schema of lists."""

# A tile of scores: 4 MiB. Every product has this many rows, the last of a batch padded with zeros,
# so that a user's scores do not depend on who shares the batch (BLAS picks its kernel by shape).
_ROWS, _COLUMNS = 128, 8192


class Scorer(Protocol):
    """Scores all items for some users: arrays and scalars only, sent to the workers once."""

    @property
    def items(self) -> NDArray[np.int32]:
        """The candidates, ascending."""
        ...

    def inputs(self, batch: pa.RecordBatch) -> NDArray[Any]:
        """What the scores of a batch's users come from: one row a user, in the batch's order."""
        ...

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Scores of `inputs` against items start..stop, written to `out` (rows, stop - start)."""
        ...

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores that people see: any function that keeps their order."""
        ...


@dataclass(frozen=True, eq=False)
class FactorScorer:
    """Scores by factors and biases: one matrix product.

    Args:
        items: (I,) item numbers, ascending.
        block: (I, rank + 2) item factors, item bias, 1: against user factors, 1, mean + user bias
            the product is the whole score, without another pass over it.
        mean: added to every score.
        logistic: (low, high) of a sigmoid that scores pass at the end, or None.
    """

    items: NDArray[np.int32]
    block: NDArray[np.float32]
    mean: float
    logistic: tuple[float, float] | None = None

    @staticmethod
    def size(*, items: int, rank: int) -> int:
        """Bytes of the arrays."""
        return items * (rank + 3) * 4

    def inputs(self, batch: pa.RecordBatch) -> NDArray[np.float32]:
        rank = self.block.shape[1] - 2
        rows = np.empty((batch.num_rows, rank + 2), np.float32)
        rows[:, :rank] = _matrix(batch.column("factors"), rank)
        rows[:, rank] = 1
        rows[:, rank + 1] = batch.column("bias").to_numpy() + np.float32(self.mean)
        return rows

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return np.matmul(inputs, self.block[start:stop].T, out=out)

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.logistic is None:
            return scores
        low, high = self.logistic
        # tanh does not overflow where exp would.
        share = 0.5 + 0.5 * np.tanh(scores.astype(np.float64) / 2)
        return (low + (high - low) * share).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RandomScorer:
    """Scores in [0, 1) that depend on nothing but the seed, the user and the item.

    Args:
        items: (I,) item numbers, ascending.
        seed: of the hash.
    """

    items: NDArray[np.int32]
    seed: int

    def inputs(self, batch: pa.RecordBatch) -> NDArray[np.int32]:
        users: NDArray[np.int32] = batch.column("user").to_numpy()
        return users

    def tile(
        self, inputs: NDArray[Any], start: int, stop: int, out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        kernel.hash_scores(np.uint64(self.seed % 2**64), inputs, self.items[start:stop], out)
        return out

    def present(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores


def factor_block(
    item_factors: DataFrame, *, rank: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Item factors on the driver: ids ascending, and the block of `FactorScorer`."""
    table = item_factors.select("item", "factors", "bias").toArrow().combine_chunks()
    ids = table.column("item").to_numpy().astype(np.int32)
    order = np.argsort(ids, kind="stable")
    block = np.empty((len(ids), rank + 2), np.float32)
    block[:, :rank] = _matrix(table.column("factors").combine_chunks(), rank)[order]
    block[:, rank] = table.column("bias").to_numpy()[order]
    block[:, rank + 1] = 1
    return ids[order], block


def _matrix(factors: pa.ListArray, rank: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = factors.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(factors), rank)


S = TypeVar("S", bound=Scorer)


def broadcast_scorer(
    spark: SparkSession, collect: Callable[[], S], *, size: int, limit_mb: int, what: str
) -> Broadcast[S]:
    """Send a scorer to every worker, once its size has passed the guard.

    Args:
        spark: the session.
        collect: makes the scorer on the driver; not called if it is too large.
        size: its bytes.
        limit_mb: the most MiB that may be sent.
        what: for the error.

    Raises:
        MissingError: if `size` exceeds the limit.
    """
    if size > limit_mb * 2**20:
        raise MissingError(
            f"{what} take {size / 2**20:.0f} MiB in every worker,"
            f" above recommend.max_broadcast_mb = {limit_mb}",
            hint="raise recommend.max_broadcast_mb if driver and workers have the memory,"
            " or lower the rank",
        )
    return spark.sparkContext.broadcast(collect())


def top_n(users: DataFrame, *, scorer: Broadcast[Any], seen: DataFrame, n: int) -> DataFrame:
    """(user, item, rank, score): the n best items of every user that the user has not seen.

    Args:
        users: `user`, distinct, and the columns that the scorer's `inputs` reads.
        scorer: a broadcast `Scorer`.
        seen: (user, item) pairs to leave out; repeated pairs and unknown items do no harm.
        n: places a user. Where fewer items are left the list is shorter.

    Order is total: score descending, then item ascending. Equal inputs give equal lists, however
    users fall into buckets.

    Raises:
        ValueError: if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    spark = users.sparkSession
    # Said outright, because Spark would choose by the size of this input, which is small, and not
    # by the work that follows, which is large.
    parallelism = spark.sparkContext.defaultParallelism
    buckets = max(2 * parallelism, int(spark.conf.get("spark.sql.shuffle.partitions") or 0))
    people = users.withColumn("__bucket", bucket_of(F.col("user"), buckets))
    pairs = packed(seen, buckets=buckets)

    def lists(batch: pa.Table, seen: pa.Table) -> pa.Table:
        return _lists(batch.drop_columns("__bucket"), seen, scorer.value, n)

    return (
        people.repartitionById(buckets, "__bucket")
        .groupBy("__bucket")
        .cogroup(pairs.repartitionById(buckets, "bucket").groupBy("bucket"))
        .applyInArrow(lists, LISTS)
    )


def _lists(users: pa.Table, seen: pa.Table, scorer: Scorer, n: int) -> pa.Table:
    """The lists of the users of one bucket."""
    import pyarrow as pa

    (batch,) = users.combine_chunks().to_batches() or [_no_users(users.schema)]
    numbers = batch.column("user").to_numpy()
    top = _top(batch, scorer, unpacked(seen, numbers), min(n, len(scorer.items)))
    row, columns, scores = top.filled()
    items, shown = scorer.items[columns], scorer.present(scores)
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


def _top(
    batch: pa.RecordBatch,
    scorer: Scorer,
    seen: tuple[NDArray[np.int32], NDArray[np.int32]],
    k: int,
) -> kernel.Top:
    """The best k columns of every row of a batch, tile by tile, without what the row has seen."""
    count = len(scorer.items)
    places = kernel.places(scorer.items)
    seen_items, seen_offsets = seen
    inputs = scorer.inputs(batch)
    top = kernel.Top.empty(batch.num_rows, k)
    buffer = np.empty(_ROWS * min(_COLUMNS, count), np.float32)
    for first in range(0, batch.num_rows, _ROWS):
        last = min(first + _ROWS, batch.num_rows)
        block = inputs[first:last]
        if last - first < _ROWS:
            block = np.zeros((_ROWS, *inputs.shape[1:]), inputs.dtype)
            block[: last - first] = inputs[first:last]
        for start in range(0, count, _COLUMNS):
            stop = min(start + _COLUMNS, count)
            out = buffer[: _ROWS * (stop - start)].reshape(_ROWS, stop - start)
            scores = scorer.tile(block, start, stop, out)[: last - first]
            kernel.hide(scores, start, seen_items, seen_offsets[first : last + 1], places)
            kernel.update(scores, start, *top.rows(first, last))
    return top
