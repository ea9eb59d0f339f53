"""The k best items of each user: no score is kept that is not among them.

Each row keeps its best k so far and the least of them as a threshold; each score is looked at once
and nearly all fall at that comparison, those of a product while they are still in registers, or
before it where bytes say that it cannot pass (`score_bounds`). What a user may not get is asked
only of the few that pass it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, int64, njit, types, uint16, void

from recpipe.kernels import ids
from recpipe.kernels.best import (
    INTS,
    LEFT_OUT,
    MATRIX,
    TOP,
    VECTOR,
    LeftOut,
    Top,
    constant,
    hidden_always,
    hide,
    insert,
    least_of,
)
from recpipe.kernels.score_bounds import ITEM_BOUNDS, NO_BOUNDS, ItemBounds, best_of_bounds
from recpipe.kernels.score_tiles import score_tile
from recpipe.kernels.vectors import LANES, ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Users whose factors, and panels of LANES items whose factors, stay in a core's caches while each
# meets each: at rank 64, 64 and 128 KiB.
_BATCH = 256
_PANELS = 32
_ALL_HIDDEN = (1 << LANES) - 1
_PASSED = 4096
"""What a score that passes its bound costs, in factors of scores that are all computed."""


class Panels(NamedTuple):
    """Items as `best_of_products` reads them.

    Args:
        items: (I,) item numbers, ascending.
        factors: (panels * rank, LANES): of LANES items in turn, the first factor of each, then the
            second, and so on; zeros after the last item.
        biases: (panels, LANES), -inf after the last item.
    """

    items: NDArray[np.int32]
    factors: NDArray[np.float32]
    biases: NDArray[np.float32]

    @classmethod
    def of(
        cls, items: NDArray[np.int32], factors: NDArray[np.float32], biases: NDArray[np.float32]
    ) -> Panels:
        """Panels of (I,) ascending items, their (I, rank) factors and (I,) biases."""
        count, rank = factors.shape
        panels = -(-count // LANES)
        padded = np.zeros((panels * LANES, rank), np.float32)
        padded[:count] = factors
        turned = padded.reshape(panels, LANES, rank).transpose(0, 2, 1)
        ends = np.full(panels * LANES, -np.inf, np.float32)
        ends[:count] = biases
        return cls(
            items,
            np.ascontiguousarray(turned).reshape(panels * rank, LANES),
            ends.reshape(panels, LANES),
        )

    @property
    def rank(self) -> int:
        return len(self.factors) // max(1, len(self.biases))

    def columns(
        self, columns: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, rank) factors and (n,) biases of some items, by their places in `items`."""
        panel, lane = np.divmod(columns, LANES)
        factors = self.factors.reshape(len(self.biases), self.rank, LANES)
        return factors[panel, :, lane], self.biases[panel, lane]


_PANELS_TYPE = types.NamedTuple((INTS, MATRIX, MATRIX), Panels)


def best_of_products(
    panels: Panels,
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    left_out: LeftOut,
    top: Top,
    item_bounds: ItemBounds = NO_BOUNDS,
) -> None:
    """Take base + item bias + user factors . item factors into the best of each row.

    The bits of a score depend on its user and item alone: the sums of every fourth factor, in the
    order of the factors, are added to the rest one by one.

    Args:
        panels: the items, all above those that `top` has taken before.
        users: (rows, rank) factors.
        base: (rows,) what is added to all scores of a row.
        left_out: what is left out.
        top: changed in place; scores that are -inf or NaN are never taken.
        item_bounds: of the items; the lists are the same without.
    """
    left_out, columns = _found(panels.items, left_out)
    _best_of_products(
        constant(panels), columns, users, base, constant(left_out), top, constant(item_bounds)
    )


def all_products(
    panels: Panels, users: NDArray[np.float32], base: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(rows, I) base + item bias + user factors . item factors, with the bits of a list's scores.

    Args:
        panels: the items.
        users: (rows, rank) factors.
        base: (rows,) what is added to all scores of a row.
    """
    scores = np.empty((len(users), len(panels.items)), np.float32)
    _all_products(constant(panels), users, base, scores)
    return scores


def best_of_scores(
    scores: NDArray[np.float32],
    items: NDArray[np.int32],
    left_out: LeftOut,
    top: Top,
    *,
    first: int = 0,
) -> None:
    """Take scores that are there already into the best of some rows.

    Args:
        scores: (rows, I); what is -inf or NaN is never taken.
        items: (I,) item numbers, ascending, above all that `top` has taken before.
        left_out: what is left out, of all rows of `top`.
        top: changed in place.
        first: the row of `top` that is the first of `scores`.
    """
    left_out, columns = _found(items, left_out)
    _best_of_scores(scores, items, columns, constant(left_out), top, first)


def _found(items: NDArray[np.int32], left_out: LeftOut) -> tuple[LeftOut, NDArray[np.int32]]:
    """What is left out, and by its number the column of each item in it, or -1."""
    columns = ids.table(items)
    if columns is not None:
        return left_out, columns
    # Numbers far apart, such as hashes, have no table: an item left out is a column from here on.
    places, always = (ids.positions(items, some) for some in (left_out.items, left_out.always))
    return left_out._replace(items=places, always=always), np.arange(len(items), dtype=np.int32)


@njit(float32(float32[::1], int64, INTS, uint16[::1], TOP, int64), cache=True, nogil=True)
def _take(
    scores: NDArray[np.float32],
    panel: int,
    candidates: NDArray[np.int32],
    hidden: NDArray[np.uint16],
    top: Top,
    row: int,
) -> float:
    """Take the scores of the LANES columns of a panel; the threshold of the row after them."""
    threshold = least_of(top, row)
    if hidden[panel] == _ALL_HIDDEN:
        return threshold
    for lane in range(LANES):
        if scores[lane] > threshold and not hidden[panel] >> lane & 1:
            top.sizes[row] = insert(
                top.scores[row],
                top.items[row],
                top.sizes[row],
                scores[lane],
                candidates[panel * LANES + lane],
            )
            threshold = least_of(top, row)
    return threshold


@njit(void(MATRIX, float32[:, ::1]), cache=True, nogil=True)
def _turn(users: NDArray[np.float32], turned: NDArray[np.float32]) -> None:
    """Factors of users as `score_tile` reads them: of ROWS users in turn, factor by factor."""
    count, rank = users.shape
    for row in range(count):
        for factor in range(rank):
            turned[row // ROWS * rank + factor, row % ROWS] = users[row, factor]


@njit(void(_PANELS_TYPE, MATRIX, VECTOR, uint16[:, ::1], int64, TOP), cache=True, nogil=True)
def _best_of_batch(
    panels: Panels,
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    hidden: NDArray[np.uint16],
    first: int,
    top: Top,
) -> None:
    """Take all scores of some rows, `first` of `top` the first of them."""
    rows, rank = users.shape
    count = panels.biases.shape[0]
    tiles = (rows + ROWS - 1) // ROWS
    turned = np.zeros((tiles * rank, ROWS), np.float32)
    added = np.zeros(tiles * ROWS, np.float32)
    # No score is above the threshold of a row that is not there.
    thresholds = np.full(tiles * ROWS, np.inf, np.float32)
    scores = np.empty((ROWS, LANES), np.float32)
    _turn(users, turned)
    for row in range(rows):
        added[row] = base[first + row]
        thresholds[row] = least_of(top, first + row)
    for block in range(0, count, _PANELS):
        for row in range(0, rows, ROWS):
            for panel in range(block, min(block + _PANELS, count)):
                above = score_tile(
                    turned, row // ROWS * rank, panels.factors, panel * rank, rank,
                    added, thresholds, row, panels.biases, panel, scores,
                )  # fmt: skip
                here = row
                while above:
                    if above & 1:
                        thresholds[here] = _take(
                            scores[here - row], panel, panels.items, hidden[here],
                            top, first + here,
                        )  # fmt: skip
                    above >>= 1
                    here += 1


@njit(
    void(_PANELS_TYPE, INTS, MATRIX, VECTOR, LEFT_OUT, TOP, ITEM_BOUNDS),
    cache=True,
    nogil=True,
)
def _best_of_products(
    panels: Panels,
    places: NDArray[np.int32],
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    left_out: LeftOut,
    top: Top,
    item_bounds: ItemBounds,
) -> None:
    rows, rank = users.shape
    count = panels.biases.shape[0]
    hidden = np.empty((min(rows, _BATCH), count), np.uint16)
    always = hidden_always(left_out, count, places)
    bounded = len(item_bounds.bounds) > 0
    for first in range(0, rows, _BATCH):
        batch = users[first : first + _BATCH]
        for row in range(len(batch)):
            hide(hidden[row], left_out, first + row, places, always)
        if bounded:
            passed = best_of_bounds(
                item_bounds, panels.items, panels.biases, batch, base, hidden, first, top
            )
            # Beyond it bounds cost more than they spare.
            bounded = passed * _PASSED < len(batch) * count * LANES * rank
            if passed >= 0:
                continue
        _best_of_batch(panels, batch, base, hidden, first, top)


@njit(void(_PANELS_TYPE, MATRIX, VECTOR, float32[:, ::1]), cache=True, nogil=True)
def _all_products(
    panels: Panels,
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    rows, rank = users.shape
    count = panels.items.shape[0]
    tiles = (rows + ROWS - 1) // ROWS
    turned = np.zeros((tiles * rank, ROWS), np.float32)
    added = np.zeros(tiles * ROWS, np.float32)
    added[:rows] = base
    # Every score is above it, and so is stored.
    thresholds = np.full(tiles * ROWS, -np.inf, np.float32)
    scores = np.empty((ROWS, LANES), np.float32)
    _turn(users, turned)
    for row in range(0, rows, ROWS):
        for panel in range(panels.biases.shape[0]):
            score_tile(
                turned, row // ROWS * rank, panels.factors, panel * rank, rank,
                added, thresholds, row, panels.biases, panel, scores,
            )  # fmt: skip
            left = panel * LANES
            for r in range(min(ROWS, rows - row)):
                for lane in range(min(LANES, count - left)):
                    found[row + r, left + lane] = scores[r, lane]


@njit(void(MATRIX, INTS, INTS, LEFT_OUT, TOP, int64), cache=True, nogil=True)
def _best_of_scores(
    scores: NDArray[np.float32],
    candidates: NDArray[np.int32],
    places: NDArray[np.int32],
    left_out: LeftOut,
    top: Top,
    first: int,
) -> None:
    rows, count = scores.shape
    hidden = np.empty((count + LANES - 1) // LANES, np.uint16)
    always = hidden_always(left_out, len(hidden), places)
    for row in range(rows):
        here = first + row
        hide(hidden, left_out, here, places, always)
        threshold = least_of(top, here)
        for column in range(count):
            score = scores[row, column]
            if score > threshold and not hidden[column // LANES] >> (column % LANES) & 1:
                top.sizes[here] = insert(
                    top.scores[here], top.items[here], top.sizes[here], score, candidates[column]
                )
                threshold = least_of(top, here)


__all__ = [
    "LeftOut", "Panels", "Top", "all_products", "best_of_products", "best_of_scores",
]  # fmt: skip
