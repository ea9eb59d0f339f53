"""Days gathered into bars of one length, so that a decade and a week both are a picture."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Unit = Literal["day", "week", "month", "quarter", "year"]

_MAX_BARS = 120
_SEASON = 3


class Period(NamedTuple):
    """How many ratings were made from a day on, until the next period begins."""

    begins: date
    ratings: int


def periods(days: Mapping[date, int]) -> tuple[Unit, list[Period]]:
    """The shortest unit that gives no more than 120 bars, and the bars, empty ones included.

    Args:
        days: ratings by day; at least one.
    """
    for unit, begin in _UNITS.items():
        first, last = begin(min(days)), begin(max(days))
        bars = {first: 0}
        at = first
        while at < last and len(bars) <= _MAX_BARS:
            at = _next(unit, at)
            bars[at] = 0
        if len(bars) <= _MAX_BARS or unit == "year":
            break
    for day, ratings in days.items():
        bars[begin(day)] = bars.get(begin(day), 0) + ratings
    return unit, [Period(day, bars[day]) for day in sorted(bars)]


def _next(unit: Unit, at: date) -> date:
    """The day on which the period after the one that begins `at` begins."""
    # The longest step that a period may have, and back to its beginning.
    return _UNITS[unit](at + _LONGEST[unit])


_UNITS: dict[Unit, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
    "quarter": lambda day: date(day.year, _SEASON * ((day.month - 1) // _SEASON) + 1, 1),
    "year": lambda day: date(day.year, 1, 1),
}
_LONGEST: dict[Unit, timedelta] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "quarter": timedelta(days=92),
    "year": timedelta(days=366),
}


__all__ = ["Period", "Unit", "periods"]
