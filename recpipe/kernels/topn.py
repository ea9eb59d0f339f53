"""The k best items of each user: no score is kept that is not among them.

Each row keeps its best k so far and the least of them as a threshold; each score is looked at once
and nearly all fall at that comparison, those of a product while they are still in registers. What
a user has seen is asked only of the few that pass it. Order is total: score descending, then item
ascending. Items must arrive in ascending order, so an equal score that comes later is the worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numba import float32, int32, int64, njit, types, uint8, uint64, void

from recpipe.kernels.tiles import LANES, ROWS, score_tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Users whose factors, and panels of LANES items whose factors, stay in a core's caches while each
# meets each: at rank 64, 64 and 128 KiB.
_BATCH = 256
_PANELS = 32

# Given outright: one compilation, cached, whether an array may be written to (NumPy's own) or not
# (Arrow's), and none in the middle of a task.
_MATRIX = types.Array(float32, 2, "C", readonly=True)
_VECTOR = types.Array(float32, 1, "C", readonly=True)
_INTS = types.Array(int32, 1, "C", readonly=True)
_LONGS = types.Array(int64, 1, "C", readonly=True)


class Top(NamedTuple):
    """The best k of each row so far.

    Args:
        scores: (rows, k) descending; only the first `sizes[row]` are filled.
        items: (rows, k) whose they are.
        sizes: (rows,) how many are filled.
    """

    scores: NDArray[np.float32]
    items: NDArray[np.int32]
    sizes: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int, k: int) -> Top:
        """Nothing yet for `rows` rows; k >= 1."""
        return cls(
            np.empty((rows, k), np.float32), np.empty((rows, k), np.int32), np.zeros(rows, np.int64)
        )

    def filled(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """(row, item, score) of every filled place, row by row, best first."""
        held = np.arange(self.scores.shape[1])[None, :] < self.sizes[:, None]
        return np.nonzero(held)[0], self.items[held], self.scores[held]


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

    def columns(
        self, columns: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, rank) factors and (n,) biases of some items, by their places in `items`."""
        panel, lane = np.divmod(columns, LANES)
        rank = len(self.factors) // max(1, len(self.biases))
        factors = self.factors.reshape(len(self.biases), rank, LANES)
        return factors[panel, :, lane], self.biases[panel, lane]


class Seen(NamedTuple):
    """What each row has seen.

    Args:
        offsets: (rows + 1,) where in `items` each row starts.
        items: item numbers of all rows, in any order; repeated and unknown ones do no harm.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]


def places(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """The column of each item number, -1 where there is none: `places(items)[items[c]] == c`."""
    table = np.full(int(items.max(initial=-1)) + 1, -1, np.int32)
    table[items] = np.arange(len(items), dtype=np.int32)
    return table


_PANELS_TYPE = types.NamedTuple((_INTS, _MATRIX, _MATRIX), Panels)
_SEEN_TYPE = types.NamedTuple((_LONGS, _INTS), Seen)
_TOP_TYPE = types.NamedTuple((float32[:, ::1], int32[:, ::1], int64[::1]), Top)


T = TypeVar("T", Panels, Seen)


def best_of_products(
    panels: Panels,
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    seen: Seen,
    top: Top,
) -> None:
    """Take base + item bias + user factors . item factors into the best of each row.

    Each score is summed in the order of the factors, whatever users and items it is computed
    beside, so that its bits depend on nothing else.

    Args:
        panels: the items, all above those that `top` has taken before.
        users: (rows, rank) factors.
        base: (rows,) what is added to all scores of a row.
        seen: what is left out.
        top: changed in place; scores that are -inf or NaN are never taken.
    """
    columns = places(panels.items)
    _best_of_products(_constant(panels), columns, users, base, _constant(seen), top)


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
    start = np.uint64(seed % 2**64)
    _best_of_hashes(start, users, items, places(items), _constant(seen), top)


def _constant(arrays: T) -> T:
    """The same arrays, read-only: inside a tuple Numba takes no other for it."""
    views: list[Any] = [array.view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return type(arrays)(*views)


@njit(int64(float32[::1], int32[::1], int64, float32, int32), cache=True, nogil=True)
def _insert(
    best: NDArray[np.float32], items: NDArray[np.int32], size: int, score: float, item: int
) -> int:
    """Put a score that belongs there among the best of a row; how many these are then."""
    k: int = best.shape[0]
    at = size if size < k else k - 1
    while at > 0 and best[at - 1] < score:
        best[at] = best[at - 1]
        items[at] = items[at - 1]
        at -= 1
    best[at] = score
    items[at] = item
    return min(size + 1, k)


@njit(float32(_TOP_TYPE, int64), cache=True, nogil=True)
def _threshold(top: Top, row: int) -> float:
    """What a score must be above to be among the best of a row."""
    k = top.scores.shape[1]
    if top.sizes[row] < k:
        return -np.inf
    threshold: float = top.scores[row, k - 1]
    return threshold


@njit(void(uint8[::1], _SEEN_TYPE, int64, _INTS), cache=True, nogil=True)
def _hide(hidden: NDArray[np.uint8], seen: Seen, row: int, places: NDArray[np.int32]) -> None:
    """The bits of the columns of what a row has seen, and no other."""
    hidden[:] = 0
    for at in range(seen.offsets[row], seen.offsets[row + 1]):
        item = seen.items[at]
        if 0 <= item < places.shape[0]:
            column = places[item]
            if column >= 0:
                hidden[column >> 3] |= np.uint8(1 << (column & 7))


@njit(float32(float32[::1], int64, _INTS, uint8[::1], _TOP_TYPE, int64), cache=True, nogil=True)
def _take(
    scores: NDArray[np.float32],
    first: int,
    candidates: NDArray[np.int32],
    hidden: NDArray[np.uint8],
    top: Top,
    row: int,
) -> float:
    """Take the scores of LANES columns from `first` on; the threshold of the row after them."""
    threshold = _threshold(top, row)
    for lane in range(LANES):
        column = first + lane
        if scores[lane] > threshold and not hidden[column >> 3] >> (column & 7) & 1:
            top.sizes[row] = _insert(
                top.scores[row], top.items[row], top.sizes[row], scores[lane], candidates[column]
            )
            threshold = _threshold(top, row)
    return threshold


@njit(void(_MATRIX, float32[:, ::1]), cache=True, nogil=True)
def _turn(users: NDArray[np.float32], turned: NDArray[np.float32]) -> None:
    """Factors of users as `score_tile` reads them: of ROWS users in turn, factor by factor."""
    count, rank = users.shape
    for row in range(count):
        for factor in range(rank):
            turned[row // ROWS * rank + factor, row % ROWS] = users[row, factor]


@njit(void(_PANELS_TYPE, _INTS, _MATRIX, _VECTOR, _SEEN_TYPE, _TOP_TYPE), cache=True, nogil=True)
def _best_of_products(
    panels: Panels,
    places: NDArray[np.int32],
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    seen: Seen,
    top: Top,
) -> None:
    rows, rank = users.shape
    count = panels.biases.shape[0]
    most = min(rows, _BATCH)
    tiles = (most + ROWS - 1) // ROWS
    turned = np.zeros((tiles * rank, ROWS), np.float32)
    added = np.zeros(tiles * ROWS, np.float32)
    thresholds = np.empty(tiles * ROWS, np.float32)
    hidden = np.empty((most, count * (LANES // 8)), np.uint8)
    scores = np.empty((ROWS, LANES), np.float32)
    for first in range(0, rows, _BATCH):
        last = min(first + _BATCH, rows)
        _turn(users[first:last], turned)
        # No score is above the threshold of a row that is not there.
        thresholds[:] = np.inf
        for row in range(last - first):
            added[row] = base[first + row]
            thresholds[row] = _threshold(top, first + row)
            _hide(hidden[row], seen, first + row, places)
        for block in range(0, count, _PANELS):
            for row in range(0, last - first, ROWS):
                for panel in range(block, min(block + _PANELS, count)):
                    above = score_tile(
                        turned, row // ROWS * rank, panels.factors, panel * rank, rank,
                        added, thresholds, row, panels.biases, panel, scores,
                    )  # fmt: skip
                    here = row
                    while above:
                        if above & 1:
                            thresholds[here] = _take(
                                scores[here - row], panel * LANES, panels.items, hidden[here],
                                top, first + here,
                            )  # fmt: skip
                        above >>= 1
                        here += 1


@njit(uint64(uint64), cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(void(uint64, _INTS, _INTS, _INTS, _SEEN_TYPE, _TOP_TYPE), cache=True, nogil=True)
def _best_of_hashes(
    seed: np.uint64,
    users: NDArray[np.int32],
    candidates: NDArray[np.int32],
    places: NDArray[np.int32],
    seen: Seen,
    top: Top,
) -> None:
    step = np.uint64(0x9E3779B97F4A7C15)
    panels = (len(candidates) + LANES - 1) // LANES
    hidden = np.empty(panels * (LANES // 8), np.uint8)
    scores = np.empty(LANES, np.float32)
    for row in range(len(users)):
        _hide(hidden, seen, row, places)
        start = _mix(_mix(seed + step) + step * (np.uint64(users[row]) + np.uint64(1)))
        for panel in range(panels):
            scores[:] = -np.inf
            for lane in range(min(LANES, len(candidates) - panel * LANES)):
                item = candidates[panel * LANES + lane]
                mixed = _mix(start + step * (np.uint64(item) + np.uint64(1)))
                # 24 bits: all that float32 tells apart in [0, 1).
                scores[lane] = np.float32(mixed >> np.uint64(40)) * np.float32(2.0**-24)
            _take(scores, panel * LANES, candidates, hidden, top, row)


__all__ = ["Panels", "Seen", "Top", "best_of_hashes", "best_of_products", "places"]
