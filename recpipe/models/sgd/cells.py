"""Ratings of a user block sorted into cells: NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import weighed
from recpipe.kernels.ids import distinct, positions
from recpipe.kernels.rows import order_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recpipe.models.sgd.grid import Grid, ItemTable

    Ints = NDArray[np.int32]
    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cell:
    """Ratings of one user block and one item block, sorted by user, then item.

    Args:
        user: (n,) int32, row of each rating's user in its block.
        item: (n,) int32, row of each rating's item in its block.
        rating: (n,) float32, or (2 n,) with what each weighs behind it.
    """

    user: Ints
    item: Ints
    rating: Floats

    @property
    def sums(self) -> tuple[float, float]:
        """The sum of the ratings, each times what it weighs, and of the weights."""
        count = len(self.user)
        if len(self.rating) == count:
            return float(self.rating.sum(dtype=np.float64)), float(count)
        ratings, weights = self.rating.astype(np.float64).reshape(2, count)
        return float(ratings @ weights), float(weights.sum())

    @classmethod
    def empty(cls) -> Cell:
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True)
class Ratings:
    """Ratings as they arrive, in any order.

    Args:
        user: (n,) int32, ids.
        place: (n,) int32, where each item is in the table of items.
        rating: (n,) of either kind of `kernels.weighed`.
    """

    user: Ints
    place: Ints
    rating: NDArray[Any]

    @classmethod
    def joined(cls, parts: Sequence[Ratings]) -> Ratings:
        """Concatenates the parts; no parts give an empty result."""
        none = Cell.empty()
        return cls(
            np.concatenate([none.user, *(part.user for part in parts)]),
            np.concatenate([none.item, *(part.place for part in parts)]),
            weighed.joined(part.rating for part in parts),
        )

    def at(self, places: NDArray[np.int64]) -> Ratings:
        return Ratings(self.user[places], self.place[places], self.rating[places])


@dataclass(frozen=True)
class Block:
    """One user block.

    Args:
        users: (m,) int32, the ids of its users, ascending: row r is users[r].
        train: the cell of each step.
        validation: the same of the ratings held out, as far as their user is one of `users`.
        duplicate: the first pair that occurs twice in one part, in words; empty if none does.
    """

    users: Ints
    train: list[Cell]
    validation: list[Cell]
    duplicate: str

    @classmethod
    def of(
        cls, block: int, train: Ratings, validation: Ratings, *, grid: Grid, items: ItemTable
    ) -> Block:
        """Sort the ratings of user block `block` into the cells of `grid`."""
        users = distinct(train.user)
        row = positions(users, validation.user)
        known = validation.at(np.flatnonzero(row >= 0))
        fitted, twice = _cells(block, train, users, grid, items)
        held_out, held_out_twice = _cells(block, known, users, grid, items)
        return cls(users, fitted, held_out, twice or held_out_twice)


def _cells(
    block: int, ratings: Ratings, users: Ints, grid: Grid, items: ItemTable
) -> tuple[list[Cell], str]:
    row = positions(users, ratings.user)
    number = items.number[ratings.place]
    step = grid.step_of(block, items.block)[ratings.place]
    # The cells one after the other, and the users of each.
    line = step * np.int64(len(users)) + row
    width = int(number.max(initial=-1)) + 1
    order = order_of(line, number, shape=(grid.item_blocks * len(users), width))
    lines, numbers = line[order], number[order]
    again = np.flatnonzero((lines[1:] == lines[:-1]) & (numbers[1:] == numbers[:-1]))
    twice = ""
    if len(again):
        at = order[again[0]]
        item = items.item[ratings.place[at]]
        twice = f"user {ratings.user[at]} has more than one rating of item {item}"
    row, number, rating = row[order], number[order], ratings.rating[order]
    bounds = np.searchsorted(step[order], np.arange(grid.item_blocks + 1))
    cells = [Cell(row[a:z], number[a:z], weighed.flat(rating[a:z])) for a, z in pairwise(bounds)]
    return cells, twice
