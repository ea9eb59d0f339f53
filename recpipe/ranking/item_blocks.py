"""The items of a model on their way to the workers: whole, or in blocks where they are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import MissingError
from recpipe.spark.workers import let_go

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ranking.reasons import Explainer
    from recpipe.ranking.scorer import Scorer

MIN_ITEMS = 4096
"""Items of the smallest block: sending a smaller one would cost more than scoring its items."""


class Items(Protocol):
    """The scorers of all items of a model, as workers get them."""

    @property
    def count(self) -> int:
        """How many items there are."""
        ...

    def scorers(self) -> Iterator[Scorer]:
        """One after the other, their items ascending; together they hold each item once."""
        ...


@dataclass(frozen=True, eq=False)
class ItemBlocks:
    """Scorers that were broadcast.

    Args:
        blocks: one for each block of items, ascending.
        count: how many items there are.
    """

    blocks: tuple[Broadcast[Scorer], ...]
    count: int

    def scorers(self) -> Iterator[Scorer]:
        """In a task: one scorer after the other; two are held while one takes another's place."""
        for block in self.blocks:
            yield block.value
            if len(self.blocks) > 1:
                let_go(block)


def sent_whole(spark: SparkSession, scorer: Scorer | Explainer) -> ItemBlocks:
    """One scorer, or explainer, of all items, on its way to the workers."""
    sent: Broadcast[Any] = spark.sparkContext.broadcast(scorer)
    return ItemBlocks((sent,), len(scorer.items))


def send_items(
    items: DataFrame,
    collect: Callable[[DataFrame], Scorer],
    *,
    count: int,
    item_bytes: int,
    limit_mb: int,
    what: str,
) -> ItemBlocks:
    """Send scorers of all items to the workers, none larger than the limit.

    Where one would be larger, the items go in blocks of ascending numbers. The driver holds one
    block at a time, and the numbers of all items; blocks wait on the disks of driver and executors.

    Args:
        items: (item int, ...), distinct; cheap to read again.
        collect: makes the scorer of some rows of `items` on the driver.
        count: rows of `items`.
        item_bytes: what an item takes in a scorer.
        limit_mb: the most MiB of a scorer.
        what: for the error.

    Raises:
        MissingError: if not even a block of `MIN_ITEMS` fits, or blocks are needed where
            `spark.io.encryption.enabled` has every worker read all of them at once.
    """
    context = items.sparkSession.sparkContext
    room = limit_mb * 2**20 // item_bytes
    if count <= room:
        whole = collect(items)
        return ItemBlocks((context.broadcast(whole),), count)
    encrypted = context.getConf().get("spark.io.encryption.enabled", "false") == "true"
    if room < MIN_ITEMS or encrypted:
        least = count if encrypted else MIN_ITEMS
        raise MissingError(
            f"{what}: {least} of them take {least * item_bytes / 2**20:.0f} MiB in every worker,"
            f" above recommend.max_broadcast_mb = {limit_mb}",
            hint="raise recommend.max_broadcast_mb if driver and workers have the memory,"
            " or fit a smaller model, such as one of a lower rank"
            + (", or leave out spark.io.encryption.enabled" if encrypted else ""),
        )
    numbers = np.sort(items.select("item").toArrow().column("item").to_numpy())
    blocks = [numbers[start : start + room] for start in range(0, len(numbers), room)]
    sent: list[Broadcast[Scorer]] = []
    for block in blocks:
        scorer = collect(items.where(F.col("item").between(int(block[0]), int(block[-1]))))
        sent.append(context.broadcast(scorer))
    return ItemBlocks(tuple(sent), count)


__all__ = ["MIN_ITEMS", "ItemBlocks", "Items", "send_items", "sent_whole"]
