"""The best items of each row of a matrix of scores that arrives as tiles.

A row keeps its best k so far and the least of them as a threshold; each score is looked at once
and most fall at that comparison, a chunk at a time. Order is total: score descending, then item
ascending. Items must arrive in ascending order, so an equal score that comes later is the worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, int32, int64, njit, types, uint64, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 32

# Given outright: one compilation, cached, whether an array may be written to (NumPy's own) or not
# (Arrow's), and none in the middle of a task.
_TILE = float32[:, ::1]
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

    def rows(self, start: int, stop: int) -> Top:
        """A view of some rows."""
        return Top(self.scores[start:stop], self.items[start:stop], self.sizes[start:stop])

    def filled(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """(row, item, score) of every filled place, row by row, best first."""
        held = np.arange(self.scores.shape[1])[None, :] < self.sizes[:, None]
        return np.nonzero(held)[0], self.items[held], self.scores[held]


def places(items: NDArray[np.int32]) -> NDArray[np.int32]:
    """The column of each item number, -1 where there is none: `places(items)[items[c]] == c`."""
    table = np.full(int(items.max(initial=-1)) + 1, -1, np.int32)
    table[items] = np.arange(len(items), dtype=np.int32)
    return table


@njit(void(_TILE, int64, _INTS, _LONGS, _INTS), cache=True, nogil=True)
def hide(
    scores: NDArray[np.float32],
    first: int,
    seen: NDArray[np.int32],
    offsets: NDArray[np.int64],
    places: NDArray[np.int32],
) -> None:
    """Set the scores of seen items to -inf, which `update` never takes.

    Args:
        scores: (rows, columns) a tile, changed in place.
        first: the column that the tile starts with.
        seen: item numbers of all rows, in any order; unknown ones are passed over.
        offsets: (rows + 1,) where in `seen` each row starts.
        places: of `places`.
    """
    rows, columns = scores.shape
    for row in range(rows):
        for at in range(offsets[row], offsets[row + 1]):
            item = seen[at]
            if 0 <= item < places.shape[0]:
                column = places[item] - first
                if 0 <= column < columns:
                    scores[row, column] = -np.inf


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


@njit(void(_TILE, _INTS, _TILE, int32[:, ::1], int64[::1]), cache=True, nogil=True)
def update(
    scores: NDArray[np.float32],
    candidates: NDArray[np.int32],
    best: NDArray[np.float32],
    items: NDArray[np.int32],
    sizes: NDArray[np.int64],
) -> None:
    """Take the scores of a tile into the best of its rows.

    Args:
        scores: (rows, columns) a tile; -inf and NaN are never taken.
        candidates: (columns,) the item of each column, ascending, above those of all tiles before.
        best: of `Top`, changed in place, as are the next two.
        items: of `Top`.
        sizes: of `Top`.
    """
    k = best.shape[1]
    width = scores.shape[1]
    for row in range(scores.shape[0]):
        size = sizes[row]
        threshold = best[row, k - 1] if size == k else np.float32(-np.inf)
        whole = width - width % _CHUNK
        for start in range(0, width, _CHUNK):
            stop = width
            if start < whole:
                stop = start + _CHUNK
                # Of fixed length and without a branch: a few vector comparisons.
                above = np.uint8(0)
                for c in range(_CHUNK):
                    above |= np.uint8(scores[row, start + c] > threshold)
                if above == 0:
                    continue
            for c in range(start, stop):
                score = scores[row, c]
                if score > threshold:
                    size = _insert(best[row], items[row], size, score, candidates[c])
                    if size == k:
                        threshold = best[row, k - 1]
        sizes[row] = size


@njit(uint64(uint64), cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(void(uint64, _INTS, _INTS, _TILE), cache=True, nogil=True)
def hash_scores(
    seed: np.uint64,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Uniform numbers in [0, 1) that depend on (seed, user, item) alone.

    Args:
        seed: of the hash.
        users: (rows,) user numbers.
        items: (columns,) item numbers.
        out: (rows, columns), filled.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    for row in range(users.shape[0]):
        start = _mix(_mix(seed + step) + step * (np.uint64(users[row]) + np.uint64(1)))
        for column in range(items.shape[0]):
            mixed = _mix(start + step * (np.uint64(items[column]) + np.uint64(1)))
            # 24 bits: all that float32 tells apart in [0, 1).
            out[row, column] = np.float32(mixed >> np.uint64(40)) * np.float32(2.0**-24)


__all__ = ["Top", "hash_scores", "hide", "places", "update"]
