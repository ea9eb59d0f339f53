"""The items most similar to each item, or the users to each user, as lists of the engine.

What a list belongs to is its `user`, and what is similar to that its `item`, whichever of the two
they are. Vectors are sent to the workers as the items of a model are, and each is scored against
all by the same engine: nothing of vectors x vectors is held. Where a model has the weights of each
item for each other, the largest are taken. Ties are broken by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.compute as pc
from pyspark.sql import functions as F

from recpipe.ranking.engine import LISTS, Scoring, top_n
from recpipe.ranking.factor_scorer import FactorScorer, matrix_of
from recpipe.ranking.item_blocks import send_items
from recpipe.ranking.user_batch import UserInputs
from recpipe.spark.columns import batch_of, factor_rows, factor_schema
from recpipe.spark.interactions import mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.ranking.item_blocks import ItemBlocks
    from recpipe.ranking.rules import ListRules
    from recpipe.spark.interactions import Mapped, Work
    from recpipe.storage import Folder

    Ints = NDArray[np.int32]
    Rows = Iterable[tuple[int, Ints, NDArray[np.float32]]]

Measure = Literal["cosine", "euclidean", "dot"]
"""cosine: of the angle between two vectors, 0 where one of them is 0. euclidean: 1 / (1 + d) for
their distance d. dot: their inner product."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """Which lists are wanted.

    Args:
        k: places of a list; it is shorter where fewer are similar.
        measure: of similarity.
        asked: (user int): the items, or users, whose lists are wanted; None for all.
        rules: what may be in the lists; None: anything.
    """

    k: int
    measure: Measure
    asked: DataFrame | None = None
    rules: ListRules | None = None


@dataclass(frozen=True, eq=False)
class _Nearness(FactorScorer):
    """Scores of -d^2 / 2, that is u . v - |u|^2 / 2 - |v|^2 / 2, shown as 1 / (1 + d)."""

    def shown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        distances = np.sqrt(np.maximum(0.0, -2.0 * scores.astype(np.float64)))
        return (1 / (1 + distances)).astype(np.float32)


def most_similar(
    vectors: DataFrame,
    wanted: Wanted,
    *,
    rank: int,
    scratch: Folder,
    limit_mb: int,
) -> Mapped:
    """`engine.LISTS`: user is a vector, item one of the k most similar to it, itself left out.

    Each similarity is computed in float32. Time grows with the square of the number of vectors, as
    lists of as many users do; memory with one bucket of them, and with what `limit_mb` holds.

    Args:
        vectors: (item int, factors array<float>), one row a vector.
        wanted: of each.
        rank: numbers of each.
        scratch: where the vectors are kept as they are compared; the lists read from it.
        limit_mb: MiB of vectors above which they are sent in blocks.

    Raises:
        MissingError: if not even a block of vectors fits into a worker.
    """
    prepared = vectors.select("item", "factors").mapInArrow(
        partial(_prepared, rank=rank, measure=wanted.measure), factor_schema("item")
    )
    table = scratch.write_table("vectors", prepared)
    kind = _Nearness if wanted.measure == "euclidean" else FactorScorer
    count = table.count()

    def send() -> ItemBlocks:
        return send_items(
            table,
            partial(kind.of, rank=rank),
            count=count,
            item_bytes=kind.item_bytes(rank=rank),
            limit_mb=limit_mb,
            what=f"vectors ({count}, {rank} numbers each)",
        )

    as_users = table.withColumnRenamed("item", "user")
    scoring = Scoring(send, UserInputs(vectors=as_users, width=rank + 1), users=count)
    itself = table.select(F.col("item").alias("user"), "item")
    return top_n(scoring, wanted.asked, n=wanted.k, seen=itself, rules=wanted.rules)


def positive(lists: Mapped) -> Mapped:
    """LISTS without the places whose score is not above 0, which come last in each."""
    return mapped(lists.source, partial(_positive, work=lists.work), LISTS)


def _positive(batches: Iterator[pa.RecordBatch], *, work: Work) -> Iterator[pa.RecordBatch]:
    for batch in work(batches):
        yield batch.filter(pc.greater(batch.column("score"), 0))


def strongest(rows: DataFrame, read: Callable[[pa.RecordBatch], Rows], wanted: Wanted) -> Mapped:
    """`engine.LISTS`: user is an item, item one of the k with the largest weights above 0 for it.

    Args:
        rows: an item a row: item int, and what `read` takes.
        read: in a task: each item of some rows with other items, ascending, and their weights.
        wanted: of each; its measure is of no account.
    """
    if wanted.asked is not None:
        asked = wanted.asked.withColumnRenamed("user", "item")
        rows = rows.join(F.broadcast(asked), "item", "left_semi")
    never = np.empty(0, np.int32) if wanted.rules is None else wanted.rules.never
    return mapped(rows, partial(_strongest, read=read, k=wanted.k, never=never), LISTS)


def _strongest(
    batches: Iterator[pa.RecordBatch],
    *,
    read: Callable[[pa.RecordBatch], Rows],
    k: int,
    never: Ints,
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for item, known, given in read(batch):
            may = (given > 0) & (known != item) & ~np.isin(known, never)
            others, weights = known[may], given[may]
            if len(others) > k:
                # The k-th largest and what ties with it.
                least = np.partition(weights, len(weights) - k)[len(weights) - k]
                others, weights = others[weights >= least], weights[weights >= least]
            best = np.argsort(-weights, kind="stable")[:k]
            ranks = np.arange(1, len(best) + 1, dtype=np.int32)
            of = np.full(len(best), item, np.int32)
            yield batch_of(LISTS, of, others[best].astype(np.int32), ranks, weights[best])


def _prepared(
    batches: Iterator[pa.RecordBatch], *, rank: int, measure: Measure
) -> Iterator[pa.RecordBatch]:
    """Vectors and biases whose products are what the measure orders by."""
    for batch in batches:
        items = batch.column("item").to_numpy()
        factors = matrix_of(batch.column("factors"), rank)
        squares = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
        biases = np.zeros(len(items), np.float32)
        if measure == "cosine":
            norms = np.sqrt(squares)
            factors = (factors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32)
        elif measure == "euclidean":
            biases = (-squares / 2).astype(np.float32)
        yield factor_rows("item", items, factors, biases)


__all__ = ["Measure", "Wanted", "most_similar", "positive", "strongest"]
