"""The k best so far, of each of some rows, and what each row may not take.

Order is total: score descending, then item ascending. Items must arrive in ascending order, so an
equal score that comes later is the worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numba import float32, int32, int64, njit, types, uint16, void

from recpipe.kernels.vectors import LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Given outright: one compilation, cached, whether an array may be written to (NumPy's own) or not
# (Arrow's), and none in the middle of a task.
MATRIX = types.Array(float32, 2, "C", readonly=True)
VECTOR = types.Array(float32, 1, "C", readonly=True)
INTS = types.Array(int32, 1, "C", readonly=True)
SHORTS = types.Array(uint16, 1, "C", readonly=True)
LONGS = types.Array(int64, 1, "C", readonly=True)


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


class LeftOut(NamedTuple):
    """What each row may not take; make one with `of`.

    Args:
        offsets: (rows + 1,) where in `items` each row starts.
        items: item numbers of all rows, in any order; repeated and unknown ones do no harm.
        only: (rows,) whether the items of a row are the only ones that it may take; else they are
            those that it may not take.
        always: (any,) item numbers that no row may take.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    only: NDArray[np.bool_]
    always: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        *,
        only: NDArray[np.bool_] | None = None,
        always: NDArray[np.int32] | None = None,
    ) -> LeftOut:
        """Arguments as in the class; by default no row is restricted to its items."""
        return cls(
            offsets,
            items,
            np.zeros(len(offsets) - 1, np.bool_) if only is None else only,
            np.empty(0, np.int32) if always is None else always,
        )


T = TypeVar("T", bound=tuple[Any, ...])


def constant(arrays: T) -> T:
    """A named tuple of the same arrays, read-only: inside a tuple Numba takes no other for it."""
    return type(arrays)(*(read_only(array) for array in arrays))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, not to be written to through this array."""
    view = array.view()
    view.flags.writeable = False
    return view


_BOOLS = types.Array(types.boolean, 1, "C", readonly=True)
LEFT_OUT = types.NamedTuple((LONGS, INTS, _BOOLS, INTS), LeftOut)
TOP = types.NamedTuple((float32[:, ::1], int32[:, ::1], int64[::1]), Top)


@njit(int64(float32[::1], int32[::1], int64, float32, int32), cache=True, nogil=True)
def insert(
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


@njit(float32(TOP, int64), cache=True, nogil=True)
def least_of(top: Top, row: int) -> float:
    """What a score must be above to be among the best of a row."""
    k = top.scores.shape[1]
    if top.sizes[row] < k:
        return -np.inf
    least: float = top.scores[row, k - 1]
    return least


@njit(void(uint16[::1], INTS, int64, int64, INTS), cache=True, nogil=True)
def _set_bits(
    bits: NDArray[np.uint16],
    items: NDArray[np.int32],
    first: int,
    end: int,
    places: NDArray[np.int32],
) -> None:
    """Set the bits of the columns of `items[first:end]`."""
    for at in range(first, end):
        item = items[at]
        if 0 <= item < places.shape[0]:
            column = places[item]
            if column >= 0:
                bits[column // LANES] |= np.uint16(1 << column % LANES)


@njit(uint16[::1](LEFT_OUT, int64, INTS), cache=True, nogil=True)
def hidden_always(left_out: LeftOut, panels: int, places: NDArray[np.int32]) -> NDArray[np.uint16]:
    """(panels,) the bits of the columns that no row may take: a number for LANES columns.

    Args:
        left_out: it.
        panels: how many numbers all columns take.
        places: the column of each item by its number, -1 for none.
    """
    bits = np.zeros(panels, np.uint16)
    _set_bits(bits, left_out.always, 0, len(left_out.always), places)
    return bits


@njit(void(uint16[::1], LEFT_OUT, int64, INTS, uint16[::1]), cache=True, nogil=True)
def hide(
    hidden: NDArray[np.uint16],
    left_out: LeftOut,
    row: int,
    places: NDArray[np.int32],
    always: NDArray[np.uint16],
) -> None:
    """The bits of the columns that a row may not take, and no other.

    Args:
        hidden: (panels,) overwritten.
        left_out: of all rows.
        row: it.
        places: as for `hidden_always`.
        always: what that gave.
    """
    first, end = left_out.offsets[row], left_out.offsets[row + 1]
    if not left_out.only[row]:
        hidden[:] = always
        _set_bits(hidden, left_out.items, first, end, places)
        return
    hidden[:] = 0
    _set_bits(hidden, left_out.items, first, end, places)
    for panel in range(hidden.shape[0]):
        hidden[panel] = ~hidden[panel] | always[panel]


__all__ = [
    "INTS", "LEFT_OUT", "LONGS", "MATRIX", "SHORTS", "TOP", "VECTOR", "LeftOut", "Top", "constant",
    "hidden_always", "hide", "insert", "least_of", "read_only",
]  # fmt: skip
