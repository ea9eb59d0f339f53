"""The items of a top-N on their way to the workers: whole, or in blocks where they are many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import MissingError
from recpipe.ranking.scorers import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark import Broadcast
    from pyspark.sql import DataFrame

LEAST_ITEMS = 4096
"""Items of the smallest block: with fewer, their way to the workers would cost more than they."""

S = TypeVar("S", bound=Scorer)


@dataclass(frozen=True, eq=False)
class Candidates(Generic[S]):
    """Scorers of all items, in the workers' reach.

    Args:
        blocks: one for each block of items, ascending; together they hold each item once.
        items: how many items there are.
        width: numbers of a user that the scorers read.
    """

    blocks: tuple[Broadcast[S], ...]
    items: int
    width: int

    def scorers(self) -> Iterator[S]:
        """In a task: one scorer after the other; two are held while one takes another's place."""
        for block in self.blocks:
            yield block.value
            if len(self.blocks) > 1:
                # Spark has no public way to let go of a value in a worker; the next use reads it
                # again from the executor's disk.
                vars(block).pop("_value", None)


def send(
    items: DataFrame,
    collect: Callable[[DataFrame], S],
    *,
    count: int,
    item_bytes: int,
    limit_mb: int,
    what: str,
) -> Candidates[S]:
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
        MissingError: if not even a block of `LEAST_ITEMS` fits, or blocks are needed where
            `spark.io.encryption.enabled` has every worker read all of them at once.
    """
    context = items.sparkSession.sparkContext
    room = limit_mb * 2**20 // item_bytes
    if count <= room:
        whole = collect(items)
        return Candidates((context.broadcast(whole),), count, whole.width)
    encrypted = context.getConf().get("spark.io.encryption.enabled", "false") == "true"
    if room < LEAST_ITEMS or encrypted:
        least = count if encrypted else LEAST_ITEMS
        raise MissingError(
            f"{what}: {least} of them take {least * item_bytes / 2**20:.0f} MiB in every worker,"
            f" above recommend.max_broadcast_mb = {limit_mb}",
            hint="raise recommend.max_broadcast_mb if driver and workers have the memory,"
            " or lower the rank"
            + (", or leave out spark.io.encryption.enabled" if encrypted else ""),
        )
    numbers = np.sort(items.select("item").toArrow().column("item").to_numpy())
    blocks = [numbers[start : start + room] for start in range(0, len(numbers), room)]
    sent: list[Broadcast[S]] = []
    for block in blocks:
        scorer = collect(items.where(F.col("item").between(int(block[0]), int(block[-1]))))
        sent.append(context.broadcast(scorer))
    return Candidates(tuple(sent), count, scorer.width)


__all__ = ["LEAST_ITEMS", "Candidates", "send"]
