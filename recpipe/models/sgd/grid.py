"""Which user and which item falls into which block, and in what order the blocks meet.

Ratings fall into a grid of cells, user blocks by item blocks. Cells that share neither a block of
users nor one of items can be worked on at once and in any order, with the same result: they form
a stratum (Gemulla, Haas, Nijkamp and Sismanis 2011, "Large-scale matrix factorization with
distributed stochastic gradient descent").
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from recpipe.errors import MissingError
from recpipe.kernels.ids import positions
from recpipe.kernels.splitmix import GOLDEN, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

SLICES = 2
"""Item blocks for each user block: while one is computed with, the other can be on its way."""

WORK_PER_CELL = 128_000_000
"""Ratings x rank of a user block and as many item blocks: about 0.05 s of arithmetic, which is
what starting a stage of Spark costs. Smaller cells would cost more than they gain."""

AUTO_RATINGS_PER_BLOCK = 40_000_000
MAX_RATINGS_PER_BLOCK = 100_000_000
"""A user block is packed by one task (36 bytes a rating) and a cell's column is one Arrow value of
less than 2 GiB."""

HEAVY_SHARE = 1 / 1000
"""Share of a block's ratings from which a user is placed by count rather than by hash."""


@dataclass(frozen=True)
class Grid:
    """The blocks and the order of their meetings.

    In step t user block b meets item block (b * slices + t) mod item_blocks, so the item blocks
    of one step are all different, an item block goes from user block b to b - 1, and the steps
    [s * slices, (s + 1) * slices) make stratum s.

    Args:
        blocks: user blocks, each the work of one task.
        slices: item blocks for each user block.
    """

    blocks: int
    slices: int = SLICES

    @property
    def item_blocks(self) -> int:
        return self.blocks * self.slices

    def item_block(self, block: int, step: int) -> int:
        """The item block that user block `block` meets in `step`."""
        return (block * self.slices + step) % self.item_blocks

    def step_of(self, block: int, item_blocks: Ints) -> Ints:
        """The steps in which user block `block` meets each of `item_blocks`."""
        steps: Ints = ((item_blocks - block * self.slices) % self.item_blocks).astype(np.int32)
        return steps

    def slices_of(self, block: int) -> range:
        """The item blocks that user block `block` meets first, and that are home with it."""
        return range(block * self.slices, (block + 1) * self.slices)

    def steps_of(self, stratum: int) -> range:
        return range(stratum * self.slices, (stratum + 1) * self.slices)


def number_of_blocks(
    setting: Literal["auto", "cores"] | int, *, ratings: int, rank: int, cores: int
) -> int:
    """How many user blocks a fit has.

    `auto` is the square root of ratings x rank / 128 million, rounded, from 1, and enough that a
    block has no more than 40 million ratings. It looks at nothing else, so a model does not
    depend on where it was fitted: 1 block for a million ratings at rank 32, 2 for 8 million at
    rank 64, 4 for 32 million at rank 64, 25 for a thousand million.

    Args:
        setting: `sgd.blocks`.
        ratings: rows to be fitted.
        rank: number of factors.
        cores: the session's parallelism; read with `cores` only.

    Raises:
        MissingError: if a block would hold more ratings than one task can pack.
    """
    if setting == "auto":
        by_work = round(math.sqrt(ratings * rank / WORK_PER_CELL))
        return max(1, by_work, math.ceil(ratings / AUTO_RATINGS_PER_BLOCK))
    blocks = max(1, cores) if setting == "cores" else setting
    if ratings > blocks * MAX_RATINGS_PER_BLOCK:
        need = math.ceil(ratings / AUTO_RATINGS_PER_BLOCK)
        raise MissingError(
            f"sgd.blocks = {setting}: {ratings} ratings in {blocks} blocks are more than one task"
            f" can hold ({MAX_RATINGS_PER_BLOCK})",
            hint=f"set sgd.blocks to {need} or more, or to auto",
        )
    return blocks


def balanced(counts: Longs, *, blocks: int, loads: Longs | None = None) -> Ints:
    """A block for each count, such that the blocks' sums are nearly equal.

    Greedy, largest first, into the block with the least so far (Graham 1969, "Bounds on
    multiprocessing timing anomalies": at most 4/3 of the best possible largest sum); ties go by
    position, then by block, so the answer depends on counts and loads alone.

    Args:
        counts: (n,) what each adds to its block.
        blocks: number of blocks.
        loads: (blocks,) what is in them already; default nothing.
    """
    place = np.empty(len(counts), np.int32)
    heap = [(int(loads[block]) if loads is not None else 0, block) for block in range(blocks)]
    heapq.heapify(heap)
    for at in np.argsort(-counts, kind="stable"):
        load, block = heap[0]
        place[at] = block
        heapq.heapreplace(heap, (load + int(counts[at]), block))
    return place


@dataclass(frozen=True)
class ItemTable:
    """Where each item is: `number` counts from 0 within its block. O(items), on the driver.

    Args:
        item: (items,) ids, ascending.
        block: (items,) item block of each.
        number: (items,) row of each in its block.
    """

    item: Ints
    block: Ints
    number: Ints

    @classmethod
    def of(cls, item: Ints, counts: Longs, *, blocks: int) -> ItemTable:
        """Items in `blocks` blocks with nearly equal numbers of ratings, numbered by id."""
        order = np.argsort(item)
        item, counts = item[order], counts[order]
        block = balanced(counts, blocks=blocks)
        number = np.empty(len(item), np.int32)
        for b in range(blocks):
            mine = np.flatnonzero(block == b)
            number[mine] = np.arange(len(mine), dtype=np.int32)
        return cls(np.ascontiguousarray(item, np.int32), block, number)

    def find(self, item: Ints) -> Ints:
        """The place of each id in this table; -1 where there is none."""
        return positions(self.item, item)

    def ids(self, block: int) -> Ints:
        """The ids of a block, in the order of their numbers."""
        ids: Ints = self.item[self.block == block]
        return ids

    def sizes(self, blocks: int) -> tuple[int, ...]:
        """Items of each block."""
        return tuple(int(n) for n in np.bincount(self.block, minlength=blocks))


@dataclass(frozen=True)
class UserRule:
    """The block of a user without a table of all users.

    All users are placed by a hash of their id but the few with many ratings: these go one by one to
    the block that has the fewest ratings. O(blocks) on the driver, however many users there are.

    Args:
        blocks: user blocks.
        heavy: (h,) ids with many ratings, ascending.
        heavy_block: (h,) their blocks.
    """

    blocks: int
    heavy: Ints
    heavy_block: Ints

    @staticmethod
    def threshold(ratings: int, *, blocks: int) -> int:
        """Number of ratings above which a user is placed by count."""
        return int(ratings / blocks * HEAVY_SHARE)

    @classmethod
    def hashed(cls, blocks: int) -> UserRule:
        """The rule before any user is heavy."""
        none = np.empty(0, np.int32)
        return cls(blocks, none, none)

    @classmethod
    def of(cls, heavy: Ints, counts: Longs, *, light: Longs) -> UserRule:
        """The rule that levels the blocks.

        Args:
            heavy: (h,) users with more ratings than `threshold`.
            counts: (h,) their ratings.
            light: (blocks,) ratings of all other users by the block of their hash.
        """
        order = np.argsort(heavy)
        heavy, counts = np.ascontiguousarray(heavy[order], np.int32), counts[order]
        blocks = len(light)
        return cls(blocks, heavy, balanced(counts, blocks=blocks, loads=light))

    def block(self, user: Ints) -> Ints:
        """The block of each of `user`."""
        if self.blocks == 1:
            return np.zeros(len(user), np.int32)
        # By a hash: neighbouring ids become unlike.
        block = (mixed(user.astype(np.uint64) + GOLDEN) % np.uint64(self.blocks)).astype(np.int32)
        at = positions(self.heavy, user)
        block[at >= 0] = self.heavy_block[at[at >= 0]]
        return block
