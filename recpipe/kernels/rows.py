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
    return _counted(rows.astype(np.int32), columns, *shape)


@njit(int64[::1](_INTS, _INTS, int64, int64), cache=True, nogil=True)
def _counted(
    rows: NDArray[np.int32], columns: NDArray[np.int32], row_count: int, column_count: int
) -> NDArray[np.int64]:
    count = len(rows)
    next_of = np.zeros(column_count + 1, np.int64)
    for at in range(count):
        next_of[columns[at] + 1] += 1
    for column in range(column_count):
        next_of[column + 1] += next_of[column]
    by_column = np.empty(count, np.int64)
    for at in range(count):
        column = columns[at]
        by_column[next_of[column]] = at
        next_of[column] += 1
    next_in = np.zeros(row_count + 1, np.int64)
    for at in range(count):
        next_in[rows[at] + 1] += 1
    for row in range(row_count):
        next_in[row + 1] += next_in[row]
    order = np.empty(count, np.int64)
    for place in range(count):
        at = by_column[place]
        row = rows[at]
        order[next_in[row]] = at
        next_in[row] += 1
    return order


__all__ = ["order_of"]
