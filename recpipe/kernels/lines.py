"""Lines of ratings as bytes to numbers: the common clean line, and only that one.

A clean line has the fields of its layout, plain integer ids, a plain decimal on the scale and a
whole-number instant within the valid period. Anything else (quotes, spaces, string ids, faults)
is left to the rules of `ingest.ratings`, which read a clean line as exactly the same row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import float32, float64, int32, int64, njit, types, uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAN, NO_ROW, OTHER = 0, 1, 2
"""What a line is: a rating; blank or a header; for the rules to check."""

_ON_STEP = 1e-6
_MAX_DIGITS = 18
"""Of an integer: more may not fit 64 bits."""
_EXACT_DIGITS = 15
"""Of a decimal: up to here digits / power of ten is the nearest double, as a parser gives it."""
_FEED, _RETURN, _SPACE, _QUOTE, _MINUS, _POINT, _ZERO, _NINE, _ASCII = (
    10, 13, 32, 34, 45, 46, 48, 57, 128,
)  # fmt: skip
_NO_TIME = -1
_UNREAD, _USER, _ITEM, _RATING, _TIME = range(5)
"""What a field is."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(int32, 1, "C", readonly=True)


class Rules(NamedTuple):
    """What a clean line keeps to.

    Args:
        delimiter: of the fields.
        header: the line that is no row; empty where there is none.
        width: fields in a line.
        at: (4,) positions of user, item, rating and timestamp; -1 for a rating or timestamp that
            lines do not have: ratings are 1 then, times -1.
        scale: (3,) least and most rating, and the step; 0 for a step: any number between them.
        period: (2,) the first valid instant, and the first one after, in the unit of the source.
    """

    delimiter: NDArray[np.uint8]
    header: NDArray[np.uint8]
    width: int
    at: NDArray[np.int64]
    scale: NDArray[np.float64]
    period: NDArray[np.int64]


class Parsed(NamedTuple):
    """The clean lines of a text in their order, and what each of all its lines was.

    Args:
        users: (clean,) ids.
        items: (clean,) ids.
        ratings: (clean,) on the scale.
        times: (clean,) in the unit of the source.
        kinds: (lines,) CLEAN, NO_ROW or OTHER.
        starts: (lines + 1,) where each line begins, its line feed the last byte before the next.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    times: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    starts: NDArray[np.int64]


def parse(text: NDArray[np.uint8], rules: Rules) -> Parsed:
    """Parse whole lines, each of them ended by a line feed."""
    lines = int(np.count_nonzero(text == _FEED))
    users, items = np.empty(lines, np.int64), np.empty(lines, np.int64)
    ratings, times = np.ones(lines, np.float32), np.full(lines, _NO_TIME, np.int64)
    kinds, starts = np.empty(lines, np.uint8), np.empty(lines + 1, np.int64)
    roles = np.full(rules.width, _UNREAD, np.int64)
    for place, role in zip(rules.at, (_USER, _ITEM, _RATING, _TIME), strict=True):
        if place >= 0:
            roles[place] = role
    clean = _parse(
        text, rules.delimiter, rules.header, roles, rules.scale, rules.period,
        users, items, ratings, times, kinds, starts,
    )  # fmt: skip
    return Parsed(users[:clean], items[:clean], ratings[:clean], times[:clean], kinds, starts)


def joined(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], end: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Pieces of a text that lie end to end, each followed by `end`, off which they were cut.

    Piece i is data[offsets[i]:offsets[i + 1]].
    """
    pieces = len(offsets) - 1
    out = np.empty(int(offsets[-1]) - int(offsets[0]) + pieces * len(end), np.uint8)
    _join(data, offsets, end, out)
    return out


@njit(types.void(_BYTES, _OFFSETS, uint8[::1], uint8[::1]), cache=True, nogil=True)
def _join(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int32],
    end: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    at = 0
    for piece in range(len(offsets) - 1):
        start, stop = int64(offsets[piece]), int64(offsets[piece + 1])
        out[at : at + stop - start] = data[start:stop]
        at += stop - start
        for i in range(len(end)):
            out[at + i] = end[i]
        at += len(end)


@njit(uint8(uint8[::1], int64, int64, uint8[::1]), cache=True, nogil=True)
def _kind(text: NDArray[np.uint8], start: int, stop: int, header: NDArray[np.uint8]) -> int:
    """NO_ROW or OTHER, of a line that is not clean."""
    while stop > start and text[stop - 1] == _RETURN:
        stop -= 1
    blank = True
    for i in range(start, stop):
        if text[i] != _SPACE:
            blank = False
            break
    if blank:
        return NO_ROW
    if stop - start != len(header):
        return OTHER
    for i in range(len(header)):
        if text[start + i] != header[i]:
            return OTHER
    return NO_ROW


@njit(
    int64(
        uint8[::1], uint8[::1], uint8[::1], int64[::1], float64[::1], int64[::1],
        int64[::1], int64[::1], float32[::1], int64[::1], uint8[::1], int64[::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def _parse(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over bytes, compiled as a whole
    text: NDArray[np.uint8],
    delimiter: NDArray[np.uint8],
    header: NDArray[np.uint8],
    roles: NDArray[np.int64],
    scale: NDArray[np.float64],
    period: NDArray[np.int64],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    ratings: NDArray[np.float32],
    times: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> int:
    # Every loop over bytes ends at a line feed at the latest, which ends the text as well.
    clean, line, at, size = 0, 0, 0, len(text)
    between, last = len(delimiter), len(roles) - 1
    while at < size:
        start, sound = at, True
        starts[line] = start
        for field in range(last + 1):
            role = roles[field]
            if role == _UNREAD:
                # A quote or a byte that is not ASCII may mean anything.
                while text[at] != _FEED and text[at] < _ASCII and text[at] != _QUOTE:
                    if text[at] == delimiter[0] and (between == 1 or text[at + 1] == delimiter[1]):
                        break
                    at += 1
            elif role == _RATING:
                mantissa, digits, power, pointed = 0, 0, 1.0, False
                while True:
                    byte = int64(text[at])
                    if _ZERO <= byte <= _NINE:
                        mantissa = mantissa * 10 + (byte - _ZERO)
                        digits += 1
                        if pointed:
                            power *= 10.0
                    elif byte == _POINT and not pointed and digits > 0:
                        pointed = True
                    else:
                        break
                    at += 1
                if digits < 1 or digits > _EXACT_DIGITS or text[at - 1] == _POINT:
                    sound = False
                    break
                rating = mantissa / power
                if rating < scale[0] or rating > scale[1]:
                    sound = False
                    break
                if scale[2] > 0.0:
                    steps = (rating - scale[0]) / scale[2]
                    if abs(steps - np.rint(steps)) >= _ON_STEP:
                        sound = False
                        break
                ratings[clean] = rating
            else:
                # As it would be printed again: no plus, no zeros in front.
                negative = text[at] == _MINUS
                if negative:
                    at += 1
                first, value = at, 0
                while True:
                    byte = int64(text[at])
                    if byte < _ZERO or byte > _NINE:
                        break
                    value = value * 10 + (byte - _ZERO)
                    at += 1
                digits = at - first
                if digits < 1 or digits > _MAX_DIGITS:
                    sound = False
                    break
                if text[first] == _ZERO and (digits > 1 or negative):
                    sound = False
                    break
                value = -value if negative else value
                if role == _USER:
                    users[clean] = value
                elif role == _ITEM:
                    items[clean] = value
                else:
                    if value < period[0] or value >= period[1]:
                        sound = False
                        break
                    times[clean] = value
            if field == last:
                while text[at] == _RETURN:
                    at += 1
                sound = text[at] == _FEED
            elif text[at] == delimiter[0] and (between == 1 or text[at + 1] == delimiter[1]):
                at += between
            else:
                sound = False
            if not sound:
                break
        if sound:
            kinds[line] = CLEAN
            clean += 1
        else:
            while text[at] != _FEED:
                at += 1
            kinds[line] = _kind(text, start, at, header)
        at += 1
        line += 1
    starts[line] = size
    return clean
