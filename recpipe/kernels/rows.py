"""Ratings sorted by row, and within a row by column: by counting, since both are small numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import int32, int64, njit, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTS = types.Array(int32, 1, "C", readonly=True)
# Places to count in, beside the ratings: above it sorting by comparison is as quick.
_FEW = 1 << 22


def order_of(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.int32], *, shape: tuple[int, int]
) -> NDArray[np.int64]:
    """The places of ratings in the order of their row, then column, then place.

    Args:
        rows: (n,) from 0, of any integer type.
        columns: (n,) from 0.
        shape: above all rows, above all columns.
    """
    if max(shape) > 4 * len(rows) + _FEW:
        return np.lexsort((columns, rows))
    by_column = _by(columns, np.arange(len(columns)), shape[1])
    return _by(rows.astype(np.int32), by_column, shape[0])


@njit(int64[::1](_INTS, int64[::1], int64), cache=True, nogil=True)
def _by(keys: NDArray[np.int32], places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The places in the order of their keys, all below `count`; of equal ones as they came."""
    next_of = np.zeros(count + 1, np.int64)
    for at in range(len(keys)):
        next_of[keys[at] + 1] += 1
    for key in range(count):
        next_of[key + 1] += next_of[key]
    order = np.empty(len(places), np.int64)
    for at in range(len(places)):
        place = places[at]
        key = keys[place]
        order[next_of[key]] = place
        next_of[key] += 1
    return order


__all__ = ["order_of"]
