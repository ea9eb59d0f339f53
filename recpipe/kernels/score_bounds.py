"""Bounds of scores from factors as bytes: what cannot be among the best need not be computed.

A vector x is written as s q + e, where q are integers from -127 to 127. Then

    u . v <= s t (q . r) + |s q| |e of v| + |e of u| |v|

for v = t r + its e (Cauchy and Schwarz, twice). Machines multiply bytes four times as fast as
float32, and at rank 64 the bound is about a hundredth of |u| |v| above the product, so few scores
but the best pass it. Those are computed in float32: no list depends on a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import float32, int32, int64, njit, types, uint8, uint16

from recpipe.kernels.best import INTS, MATRIX, TOP, VECTOR, Top, insert, least_of
from recpipe.kernels.bound_tiles import (
    BOUNDS,
    BYTE_PRODUCTS,
    BYTES,
    SIDES,
    bound_tile,
    floor_tile,
)  # fmt: skip
from recpipe.kernels.score_tiles import lowest_bit, score_one
from recpipe.kernels.vectors import LANES, ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Panels whose bytes stay in a core's caches while a batch of users meets them: at rank 64, 64 KiB.
_PANELS = 64
_SAMPLE = 8
"""Of so many panels one is looked at before all are."""
_MIN_RANK, _MIN_USERS = 24, 256
"""Below them all scores are computed before bounds are made."""
_LARGEST = 1e15
"""Of factors and biases: beyond it, bounds could overflow where scores do not."""

_ROUNDED = np.float32(2.0**-21)
"""What float32 may lose of a number in a few additions, and more."""
_LEAST = np.float32(1e-30)
"""Below it a vector is taken for its error: 127 / its largest number would overflow."""


class ItemBounds(NamedTuple):
    """Items as `bound_tile` reads them.

    Args:
        items: (panels * groups, LANES * BYTES): of LANES items in turn, BYTES factors of each, as
            integers + 128.
        bounds: (panels * BOUNDS, LANES): scale, highest and lowest bias, norm of the error, norm.
        factors: (panels * LANES, groups * BYTES): of each, for `score_one`.
    """

    items: NDArray[np.uint8]
    bounds: NDArray[np.float32]
    factors: NDArray[np.float32]


ITEM_BOUNDS = types.NamedTuple(
    (types.Array(uint8, 2, "C", readonly=True), MATRIX, MATRIX), ItemBounds
)

NO_BOUNDS = ItemBounds(
    np.empty((0, LANES * BYTES), np.uint8),
    np.empty((0, LANES), np.float32),
    np.empty((0, BYTES), np.float32),
)
"""For scores that are all computed."""


def pays(*, users: int, rank: int) -> bool:
    """Whether to make bounds for so many users, on this machine."""
    return BYTE_PRODUCTS and rank >= _MIN_RANK and users >= _MIN_USERS


def item_bytes(*, rank: int) -> int:
    """What the arrays take for one item."""
    return _padded(rank) * 5 + BOUNDS * 4


def _padded(rank: int) -> int:
    return -(-rank // BYTES) * BYTES


def bounds_of_items(factors: NDArray[np.float32], biases: NDArray[np.float32]) -> ItemBounds:
    """The bounds of items, or none where there are numbers that bounds cannot be made of.

    Args:
        factors: (panels * rank, LANES), see `topn.Panels`.
        biases: (panels, LANES), -inf where there is no item.
    """
    panels = len(biases)
    rank = len(factors) // max(1, panels)
    found = ItemBounds(
        np.full((panels * (_padded(rank) // BYTES), LANES * BYTES), 128, np.uint8),
        np.empty((panels * BOUNDS, LANES), np.float32),
        np.zeros((panels * LANES, _padded(rank)), np.float32),
    )
    return found if _bound_items(factors, biases, rank, *found) else NO_BOUNDS


_THREE = types.UniTuple(float32, 3)


@njit(_THREE(VECTOR, int32[::1]), cache=True, nogil=True)
def _quantised(
    x: NDArray[np.float32], q: NDArray[np.int32]
) -> tuple[np.float32, np.float32, np.float32]:
    """Write x as scale q + error: scale, norm of the error, norm of x; both norms rounded up."""
    largest = np.float32(0)
    for value in x:
        largest = max(largest, abs(value))
    scale = np.float32(0)
    inverse = np.float32(0)
    if largest > _LEAST:
        scale = largest / np.float32(127)
        inverse = np.float32(127) / largest
    errors, squares = 0.0, 0.0
    for at in range(len(x)):
        q[at] = np.int32(np.rint(x[at] * inverse))
        error = np.float64(x[at]) - np.float64(scale) * q[at]
        errors += error * error
        squares += np.float64(x[at]) * np.float64(x[at])
    up = 1 + 2.0**-20
    return scale, np.float32(np.sqrt(errors) * up), np.float32(np.sqrt(squares) * up)


@njit(
    types.boolean(MATRIX, MATRIX, int64, uint8[:, ::1], float32[:, ::1], float32[:, ::1]),
    cache=True,
    nogil=True,
)
def _bound_items(
    factors: NDArray[np.float32],
    biases: NDArray[np.float32],
    rank: int,
    items: NDArray[np.uint8],
    bounds: NDArray[np.float32],
    rows: NDArray[np.float32],
) -> bool:
    good: Any = True
    count = (rank + BYTES - 1) // BYTES
    slack = np.float32((rank + 16) * 2.0**-22)
    x, q = np.empty(rank, np.float32), np.empty(rank, np.int32)
    for panel in range(biases.shape[0]):
        for lane in range(LANES):
            for factor in range(rank):
                x[factor] = factors[panel * rank + factor, lane]
                rows[panel * LANES + lane, factor] = x[factor]
            scale, error, norm = _quantised(x, q)
            for factor in range(rank):
                place = lane * BYTES + factor % BYTES
                items[panel * count + factor // BYTES, place] = np.uint8(q[factor] + 128)
            bias = biases[panel, lane]
            good = good and norm <= _LARGEST and bias <= _LARGEST
            bounds[panel * BOUNDS, lane] = scale
            lost = abs(bias) * _ROUNDED + _LEAST
            bounds[panel * BOUNDS + 1, lane] = bias + lost
            bounds[panel * BOUNDS + 2, lane] = bias - lost
            bounds[panel * BOUNDS + 3, lane] = error + slack * norm
            bounds[panel * BOUNDS + 4, lane] = norm
    return bool(good)


@njit(
    types.boolean(MATRIX, VECTOR, float32[:, ::1], int32[:, ::1], float32[:, ::1]),
    cache=True,
    nogil=True,
)
def _bound_users(
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    padded: NDArray[np.float32],
    packed: NDArray[np.int32],
    sides: NDArray[np.float32],
) -> bool:
    """Users as `bound_tile` reads them, but for their limits.

    Args:
        users: (rows, rank) factors.
        base: (rows,) what is added to their scores.
        padded: (rows, groups * BYTES) overwritten: factors for `score_one`.
        packed: (tiles * (groups + 1), ROWS) overwritten.
        sides: (tiles * SIDES, ROWS) overwritten, limits left as they are.

    Returns:
        Whether all are numbers that bounds can be made of.
    """
    rows, rank = users.shape
    height = (rank + BYTES - 1) // BYTES + 1
    q = np.empty(rank, np.int32)
    packed[:] = 0
    padded[:] = 0
    good: Any = True
    for row in range(rows):
        tile, column = row // ROWS, row % ROWS
        scale, error, norm = _quantised(users[row], q)
        good = good and norm <= _LARGEST and abs(base[row]) <= _LARGEST
        total = 0
        for factor in range(rank):
            total += q[factor]
            shifted = (q[factor] & 255) << 8 * (factor % BYTES)
            packed[tile * height + 1 + factor // BYTES, column] |= shifted
            padded[row, factor] = users[row, factor]
        # Items come as integers + 128.
        packed[tile * height, column] = -128 * total
        sides[tile * SIDES, column] = scale
        if column == 0:
            sides[tile * SIDES + 2, 0] = 0
            sides[tile * SIDES + 2, 1] = 0
        sides[tile * SIDES + 2, 0] = max(sides[tile * SIDES + 2, 0], norm + error)
        sides[tile * SIDES + 2, 1] = max(sides[tile * SIDES + 2, 1], error)
    return bool(good)


@njit(float32(float32, float32, float32), cache=True, nogil=True)
def _limit(threshold: float, base: float, floor: float) -> float:
    """What a bound must be above where base + score must be above a threshold."""
    lost: Any = (abs(threshold) + abs(base)) * _ROUNDED
    limit: float = max(threshold - base - lost, floor)
    return limit


@njit(float32(float32[::1], int64, float32[::1]), cache=True, nogil=True)
def _kth(numbers: NDArray[np.float32], k: int, best: NDArray[np.float32]) -> float:
    """The k-th largest of a few numbers; `best`, of k, is overwritten."""
    best[:] = -np.inf
    for number in numbers:
        at = k
        while at > 0 and best[at - 1] < number:
            if at < k:
                best[at] = best[at - 1]
            at -= 1
        if at < k:
            best[at] = number
    kth: float = best[k - 1]
    return kth


_PACKED, _SIDES = int32[:, ::1], float32[:, ::1]


@njit(
    float32[::1](ITEM_BOUNDS, _PACKED, _SIDES, int64, VECTOR, uint16[:, ::1], int64),
    cache=True,
    nogil=True,
)
def _floors(
    item_bounds: ItemBounds,
    packed: NDArray[np.int32],
    sides: NDArray[np.float32],
    k: int,
    base: NDArray[np.float32],
    hidden: NDArray[np.uint16],
    first: int,
) -> NDArray[np.float32]:
    """What the bounds of the k best of each row are above, by some of the items.

    The best of k of some disjoint sets of items are k different items: where k of them are at least
    so good, nothing below is among the best.
    """
    rows = min(len(hidden), len(base) - first)
    tiles = sides.shape[0] // SIDES
    height = packed.shape[0] // tiles
    count = item_bounds.bounds.shape[0] // BOUNDS
    # Of half as many sets again as there are places, the k-th best is not far from the k-th item.
    sets = (3 * k + 2 * LANES - 1) // (2 * LANES)
    floors = np.full(rows, -np.inf, np.float32)
    if count < _SAMPLE * sets:
        return floors
    lanes = np.empty((ROWS, sets * LANES), np.float32)
    best = np.empty(k, np.float32)
    seen = np.zeros((1, ROWS), np.uint16)
    for tile in range(tiles):
        lanes[:] = -np.inf
        here = min(ROWS, rows - tile * ROWS)
        for panel in range(0, count, _SAMPLE):
            for column in range(here):
                seen[0, column] = hidden[tile * ROWS + column, panel]
            floor_tile(
                packed, tile * height, sides, tile * SIDES, item_bounds.items, panel * (height - 1),
                item_bounds.bounds, panel, seen, height - 1, lanes, panel // _SAMPLE % sets * LANES,
            )  # fmt: skip
        for column in range(here):
            least = _kth(lanes[column], k, best)
            lost = (abs(least) + abs(base[first + tile * ROWS + column])) * _ROUNDED
            floors[tile * ROWS + column] = least - 4 * lost
    return floors


@njit(
    int64(ITEM_BOUNDS, INTS, MATRIX, MATRIX, VECTOR, uint16[:, ::1], int64, TOP),
    cache=True,
    nogil=True,
)
def best_of_bounds(
    item_bounds: ItemBounds,
    items: NDArray[np.int32],
    biases: NDArray[np.float32],
    users: NDArray[np.float32],
    base: NDArray[np.float32],
    hidden: NDArray[np.uint16],
    first: int,
    top: Top,
) -> int:
    """Take scores into the best of some rows: those are computed whose bounds pass.

    Args:
        item_bounds: of the items.
        items: their numbers.
        biases: (panels, LANES) theirs.
        users: (rows, rank) factors of these rows.
        base: what is added to the scores of each row of `top`.
        hidden: (rows or more, panels) of `best.hide`, of these rows.
        first: the first of them in `top`.
        top: changed in place.

    Returns:
        How many scores were computed, or -1 where nothing was done, because there are numbers that
        bounds cannot be made of.
    """
    rows, rank = users.shape
    k = top.scores.shape[1]
    count = biases.shape[0]
    tiles = (rows + ROWS - 1) // ROWS
    groups = (rank + BYTES - 1) // BYTES
    packed = np.empty((tiles * (groups + 1), ROWS), np.int32)
    # No bound is above the limit of a row that is not there.
    sides = np.full((tiles * SIDES, ROWS), np.inf, np.float32)
    padded = np.empty((rows, groups * BYTES), np.float32)
    if not _bound_users(users, base[first : first + rows], padded, packed, sides):
        return -1
    floors = _floors(item_bounds, packed, sides, k, base, hidden, first)
    thresholds = np.empty(rows, np.float32)
    for row in range(rows):
        thresholds[row] = least_of(top, first + row)
        limit = _limit(thresholds[row], base[first + row], floors[row])
        sides[row // ROWS * SIDES + 1, row % ROWS] = limit
    masks = np.empty((1, ROWS), np.uint16)
    passed = 0
    for block in range(0, count, _PANELS):
        for tile in range(tiles):
            for panel in range(block, min(block + _PANELS, count)):
                found = bound_tile(
                    packed, tile * (groups + 1), sides, tile * SIDES,
                    item_bounds.items, panel * groups, item_bounds.bounds, panel, masks, groups,
                )  # fmt: skip
                while found:
                    column = lowest_bit(found)
                    found &= found - 1
                    row = tile * ROWS + column
                    lanes = np.int64(masks[0, column] & ~hidden[row, panel])
                    while lanes:
                        lane = lowest_bit(lanes)
                        lanes &= lanes - 1
                        passed += 1
                        at = panel * LANES + lane
                        start = biases[panel, lane] + base[first + row]
                        score = score_one(padded, row, item_bounds.factors, at, start)
                        if not score > thresholds[row]:
                            continue
                        top.sizes[first + row] = insert(
                            top.scores[first + row],
                            top.items[first + row],
                            top.sizes[first + row],
                            score,
                            items[at],
                        )
                        thresholds[row] = least_of(top, first + row)
                        limit = _limit(thresholds[row], base[first + row], floors[row])
                        sides[tile * SIDES + 1, column] = limit
    return passed


__all__ = [
    "ITEM_BOUNDS",
    "NO_BOUNDS",
    "ItemBounds",
    "best_of_bounds",
    "bounds_of_items",
    "item_bytes",
    "pays",
]
