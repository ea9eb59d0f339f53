"""Lines of ratings as bytes to numbers: the common clean line, and only that one.

A clean line has the fields of its layout, plain integer ids, a plain decimal on the scale and a
whole-number instant within the valid period. Anything else (quotes, spaces, string ids, faults)
is left to the rules of `movielens.ratings`, which read a clean line as exactly the same row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, float64, int32, int64, njit, types, uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAN, NO_ROW, OTHER = 0, 1, 2
"""What a line is: a rating; blank or a header; for the rules to judge."""

_ON_STEP = 1e-6
_MOST_DIGITS = 18
"""Of an integer: more may not fit 64 bits."""
_EXACT_DIGITS = 15
"""Of a decimal: up to here digits / power of ten is the nearest double, as a parser gives it."""
_SPACE, _RETURN, _MINUS, _POINT, _ZERO, _NINE = 32, 13, 45, 46, 48, 57

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(int32, 1, "C", readonly=True)


class Rules(NamedTuple):
    """What a clean line keeps to.

    Args:
        delimiter: of the fields.
        header: the line that is no row; empty where there is none.
        width: fields in a line.
        at: (4,) positions of user, item, rating and timestamp.
        scale: (3,) least and most rating, and the step.
        period: (2,) the first valid instant, and the first one after, in the unit of the source.
    """

    delimiter: NDArray[np.uint8]
    header: NDArray[np.uint8]
    width: int
    at: NDArray[np.int64]
    scale: NDArray[np.float64]
    period: NDArray[np.int64]


class Parsed(NamedTuple):
    """The clean lines of a batch in their order, and what each of all its lines was.

    Args:
        users: (clean,) ids.
        items: (clean,) ids.
        ratings: (clean,) on the scale.
        times: (clean,) in the unit of the source.
        kinds: (lines,) CLEAN, NO_ROW or OTHER.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    kinds: NDArray[np.uint8]


def parse(data: NDArray[np.uint8], offsets: NDArray[np.int32], rules: Rules) -> Parsed:
    """Parse lines that lie end to end: line i is data[offsets[i]:offsets[i + 1]]."""
    lines = len(offsets) - 1
    users, items = np.empty(lines, np.int64), np.empty(lines, np.int64)
    ratings, times = np.empty(lines, np.float32), np.empty(lines, np.int64)
    kinds = np.empty(lines, np.uint8)
    clean = _parse(
        data, offsets, rules.delimiter, rules.header, rules.width, rules.at, rules.scale,
        rules.period, users, items, ratings, times, kinds,
    )  # fmt: skip
    return Parsed(users[:clean], items[:clean], ratings[:clean], times[:clean], kinds)


@njit(int64(_BYTES, int64, int64, int64[::1]), cache=True, nogil=True)
def _integer(data: NDArray[np.uint8], start: int, stop: int, out: NDArray[np.int64]) -> int:
    """Read a plain integer, printed as it would be again: 1 if it is one."""
    sign, at = 1, start
    if at < stop and data[at] == _MINUS:
        sign, at = -1, at + 1
    digits = stop - at
    if digits < 1 or digits > _MOST_DIGITS:
        return 0
    if data[at] == _ZERO and (digits > 1 or sign < 0):
        return 0
    value = 0
    for i in range(at, stop):
        byte = data[i]
        if byte < _ZERO or byte > _NINE:
            return 0
        value = value * 10 + (int64(byte) - _ZERO)
    out[0] = sign * value
    return 1


@njit(int64(_BYTES, int64, int64, float64[::1]), cache=True, nogil=True)
def _decimal(data: NDArray[np.uint8], start: int, stop: int, out: NDArray[np.float64]) -> int:
    """Read digits, or digits, a point and digits: 1 if they are that."""
    mantissa, digits, power, seen_point = 0, 0, 1.0, False
    for i in range(start, stop):
        byte = data[i]
        if byte == _POINT and not seen_point and digits > 0 and i + 1 < stop:
            seen_point = True
            continue
        if byte < _ZERO or byte > _NINE:
            return 0
        mantissa = mantissa * 10 + (int64(byte) - _ZERO)
        digits += 1
        if seen_point:
            power *= 10.0
    if digits < 1 or digits > _EXACT_DIGITS:
        return 0
    out[0] = mantissa / power
    return 1


@njit(
    int64(
        _BYTES, _OFFSETS, uint8[::1], uint8[::1], int64, int64[::1], float64[::1], int64[::1],
        int64[::1], int64[::1], float32[::1], int64[::1], uint8[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _parse(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over bytes, compiled as a whole
    data: NDArray[np.uint8],
    offsets: NDArray[np.int32],
    delimiter: NDArray[np.uint8],
    header: NDArray[np.uint8],
    width: int,
    at: NDArray[np.int64],
    scale: NDArray[np.float64],
    period: NDArray[np.int64],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    ratings: NDArray[np.float32],
    times: NDArray[np.int64],
    kinds: NDArray[np.uint8],
) -> int:
    clean, between = 0, len(delimiter)
    starts, stops = np.empty(width, np.int64), np.empty(width, np.int64)
    integer, decimal = np.empty(1, np.int64), np.empty(1, np.float64)
    for line in range(len(offsets) - 1):
        start, stop = int64(offsets[line]), int64(offsets[line + 1])
        while stop > start and data[stop - 1] == _RETURN:
            stop -= 1
        kinds[line] = OTHER
        blank = True
        for i in range(start, stop):
            if data[i] != _SPACE:
                blank = False
                break
        same = not blank and stop - start == len(header)
        if same:
            for i in range(len(header)):
                if data[start + i] != header[i]:
                    same = False
                    break
        if blank or same:
            kinds[line] = NO_ROW
            continue
        # Bytes that are not of a number or a delimiter end this: no field that is not read may
        # hold a quote or a byte that is not ASCII.
        field, i, sound = 0, start, True
        starts[0] = start
        while i < stop:
            byte = data[i]
            if byte >= 128 or byte == 34:  # noqa: PLR2004 - ASCII; the quote
                sound = False
                break
            if byte == delimiter[0] and (
                between == 1 or (i + 1 < stop and data[i + 1] == delimiter[1])
            ):
                stops[field] = i
                field += 1
                if field == width:
                    sound = False
                    break
                i += between
                starts[field] = i
                continue
            i += 1
        if not sound or field != width - 1:
            continue
        stops[field] = stop
        if not _integer(data, starts[at[0]], stops[at[0]], integer):
            continue
        users[clean] = integer[0]
        if not _integer(data, starts[at[1]], stops[at[1]], integer):
            continue
        items[clean] = integer[0]
        if not _decimal(data, starts[at[2]], stops[at[2]], decimal):
            continue
        rating = decimal[0]
        if rating < scale[0] or rating > scale[1]:
            continue
        steps = (rating - scale[0]) / scale[2]
        if abs(steps - np.rint(steps)) >= _ON_STEP:
            continue
        ratings[clean] = rating
        if not _integer(data, starts[at[3]], stops[at[3]], integer):
            continue
        if integer[0] < period[0] or integer[0] >= period[1]:
            continue
        times[clean] = integer[0]
        kinds[line] = CLEAN
        clean += 1
    return clean
