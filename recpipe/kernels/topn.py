"""The k best items of each user: no score is kept that is not among them.

Each row keeps its best k so far and the least of them as a threshold; each score is looked at once
and nearly all fall at that comparison, those of a product while they are still in registers, or
before it where bytes say that it cannot pass (`screen`). What a user has seen is asked only of the
few that pass it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numba import float32, int64, njit, types, uint16, uint64, void

from recpipe.kernels import ids
from recpipe.kernels.best import (
    INTS,
    MATRIX,
    SEEN,
    TOP,
    VECTOR,
    Seen,
    Top,
    hide,
    insert,
    least_of,
)
from recpipe.kernels.score_bounds import NO_SCREEN, SCREEN, Screen, best_of_bounds
from recpipe.kernels.splitmix import GOLDEN, mixed
from recpipe.kernels.tiles import LANES, ROWS, score_tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Users whose factors, and panels of LANES items whose factors, stay in a core's caches while each
# meets each: at rank 64, 64 and 128 KiB.
_BATCH = 256
_PANELS = 32
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

T = TypeVar("T", Panels, Seen, Screen)


def best_of_products(
    panels: Panels,
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    seen: Seen,
    top: Top,
    screen: Screen = NO_SCREEN,
) -> None:
    """Take base + item bias + user factors . item factors into the best of each row.

    The bits of a score depend on its user and item alone: the sums of every fourth factor, in the
    order of the factors, are added to the rest one by one.

    Args:
        panels: the items, all above those that `top` has taken before.
        users: (rows, rank) factors.
        base: (rows,) what is added to all scores of a row.
        seen: what is left out.
        top: changed in place; scores that are -inf or NaN are never taken.
        screen: of the items; the lists are the same without.
    """
    seen, columns = _found(panels.items, seen)
    _best_of_products(
        _constant(panels), columns, users, base, _constant(seen), top, _constant(screen)
    )


def best_of_hashes(
    seed: int, users: NDArray[np.int32], items: NDArray[np.int32], seen: Seen, top: Top
) -> None:
    """Take uniform scores in [0, 1) that depend on (seed, user, item) alone into the best of rows.

    Args:
        seed: any integer.
        users: (rows,) user numbers.
        items: (I,) item numbers, ascending, above all that `top` has taken before.
        seen: what is left out.
        top: changed in place.
    """
    seen, columns = _found(items, seen)
    _best_of_hashes(np.uint64(seed % 2**64), users, items, columns, _constant(seen), top)


def _found(items: NDArray[np.int32], seen: Seen) -> tuple[Seen, NDArray[np.int32]]:
    """What was seen, and by its number the column of each item in it, or -1."""
    columns = ids.table(items)
    if columns is not None:
        return seen, columns
    # Numbers far apart, such as hashes, have no table: what was seen is a column from here on.
    places = ids.positions(items, seen.items)
    return Seen(seen.offsets, places), np.arange(len(items), dtype=np.int32)


def _constant(arrays: T) -> T:
    """The same arrays, read-only: inside a tuple Numba takes no other for it."""
    views: list[Any] = [array.view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return type(arrays)(*views)


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
    void(_PANELS_TYPE, INTS, MATRIX, VECTOR, SEEN, TOP, SCREEN),
    cache=True,
    nogil=True,
)
def _best_of_products(
    panels: Panels,
    places: NDArray[np.int32],
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    seen: Seen,
    top: Top,
    screen: Screen,
) -> None:
    rows, rank = users.shape
    count = panels.biases.shape[0]
    hidden = np.empty((min(rows, _BATCH), count), np.uint16)
    screened = len(screen.bounds) > 0
    for first in range(0, rows, _BATCH):
        batch = users[first : first + _BATCH]
        for row in range(len(batch)):
            hide(hidden[row], seen, first + row, places)
        if screened:
            passed = best_of_bounds(
                screen, panels.items, panels.biases, batch, base, hidden, first, top
            )
            # Beyond it bounds cost more than they spare.
            screened = passed * _PASSED < len(batch) * count * LANES * rank
            if passed >= 0:
                continue
        _best_of_batch(panels, batch, base, hidden, first, top)


_mix: Any = njit(uint64(uint64), cache=True, nogil=True)(mixed)


@njit(void(uint64, INTS, INTS, INTS, SEEN, TOP), cache=True, nogil=True)
def _best_of_hashes(
    seed: np.uint64,
    users: NDArray[np.int32],
    candidates: NDArray[np.int32],
    places: NDArray[np.int32],
    seen: Seen,
    top: Top,
) -> None:
    panels = (len(candidates) + LANES - 1) // LANES
    hidden = np.empty(panels, np.uint16)
    scores = np.empty(LANES, np.float32)
    for row in range(len(users)):
        hide(hidden, seen, row, places)
        start = _mix(_mix(seed + GOLDEN) + GOLDEN * (np.uint64(users[row]) + np.uint64(1)))
        for panel in range(panels):
            scores[:] = -np.inf
            for lane in range(min(LANES, len(candidates) - panel * LANES)):
                item = candidates[panel * LANES + lane]
                bits = _mix(start + GOLDEN * (np.uint64(item) + np.uint64(1)))
                # 24 bits: all that float32 tells apart in [0, 1).
                scores[lane] = np.float32(bits >> np.uint64(40)) * np.float32(2.0**-24)
            _take(scores, panel, candidates, hidden, top, row)


__all__ = ["Panels", "Seen", "Top", "best_of_hashes", "best_of_products"]
