"""Which users and which items make a block: ranges of ids with equal work. NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recpipe.errors import MissingError
from recpipe.kernels.ids import positions

if TYPE_CHECKING:
    from typing import TypeVar

    from numpy.typing import NDArray

    from recpipe.models.blocks import Blocks

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    _Number = TypeVar("_Number", int, Longs)

WORK_OF_A_BLOCK = 16_000_000
"""Ratings x rank of a block under `auto`: 32 blocks for 8 million ratings at rank 64. So small that
a million ratings keep a few cores busy; a task takes as many as it needs to be worth its start."""
MAX_BLOCKS = 1000
MAX_RATINGS = 100_000_000
"""Ratings of a block: it is packed by one task, and a column is one value of less than 2 GiB."""


@dataclass(frozen=True, eq=False)
class Side:
    """The users, or the items, of a fit. O(ids), on the driver and in every task.

    The position of an id is its place among the ids in ascending order, and a block is a range of
    positions, so the factors of all blocks one after the other are those of the side.

    Args:
        ids: (n,) int32, ascending.
        starts: (blocks + 1,) the position that each block starts with, and n.
        tasks: among which the blocks are shared out, as many neighbours to each.
    """

    ids: Ints
    starts: Longs
    tasks: int = 1

    @classmethod
    def of(cls, ids: Ints, counts: Longs, *, blocks: int, tasks: int, rank: int) -> Side:
        """Blocks with nearly the same work.

        Args:
            ids: (n,) distinct, in any order.
            counts: (n,) ratings of each.
            blocks: number of blocks; some are empty where there are fewer ids.
            tasks: at most `blocks`.
            rank: number of factors: a rating costs about rank^2 / 2, a solve rank^3 / 6 and,
                in short rows, as much again.
        """
        order = np.argsort(ids)
        work = np.cumsum(counts[order] + rank / 1.5)
        goals = work[-1] * np.arange(1, blocks) / blocks
        starts = np.concatenate([[0], np.searchsorted(work, goals), [len(ids)]])
        return cls(np.ascontiguousarray(ids[order], np.int32), starts.astype(np.int64), tasks)

    @property
    def blocks(self) -> int:
        return len(self.starts) - 1

    def find(self, ids: Ints) -> Ints:
        """The position of each id; -1 where there is none."""
        return positions(self.ids, ids)

    def block_of(self, at: Ints) -> Ints:
        """The block of each position."""
        block: Ints = (np.searchsorted(self.starts, at, side="right") - 1).astype(np.int32)
        return block

    def blocks_of(self, task: int) -> range:
        """The blocks of a task."""
        return range(*(-(-at * self.blocks // self.tasks) for at in (task, task + 1)))

    def task_of(self, block: _Number) -> _Number:
        """The task of a block, or of each."""
        return block * self.tasks // self.blocks

    def range_of(self, block: int) -> slice:
        return slice(int(self.starts[block]), int(self.starts[block + 1]))

    def size(self, width: int) -> int:
        """Bytes of the side's factors."""
        return len(self.ids) * width * 4


def number_of_blocks(setting: Blocks, *, ratings: int, rank: int, cores: int) -> int:
    """How many blocks each side has.

    `auto` is one for every 16 million of ratings x rank, at most 1000, and enough that a block has
    no more than half of what a task can hold; it looks at nothing else.

    Args:
        setting: `blocks`.
        ratings: rows to be fitted.
        rank: number of factors.
        cores: the session's parallelism; read with `cores` only, for twice as many blocks.

    Raises:
        MissingError: if a block would hold more ratings than one task can pack.
    """
    if setting == "auto":
        by_work = min(MAX_BLOCKS, math.ceil(ratings * rank / WORK_OF_A_BLOCK))
        return max(1, by_work, math.ceil(2 * ratings / MAX_RATINGS))
    blocks = 2 * max(1, cores) if setting == "cores" else setting
    if ratings > blocks * MAX_RATINGS:
        raise MissingError(
            f"blocks = {setting}: {ratings} ratings in {blocks} blocks are more than one task can"
            f" hold ({MAX_RATINGS})",
            hint="set blocks to auto",
        )
    return blocks


__all__ = ["Side", "number_of_blocks"]
