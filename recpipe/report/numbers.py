"""How the page writes numbers. What is missing or not finite is a dash, never `nan`."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypeGuard

NONE = "–"  # noqa: RUF001 - the dash of a table's empty cell

_FEW, _MINUTE, _KILO = 10, 60, 1000


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is an int or float that is neither NaN nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def decimal(value: float | None, places: int = 4) -> str:
    """`0.0304`; a dash for what is no number."""
    if value is None or not is_number(value):
        return NONE
    # No zero is below zero.
    return f"{round(value, places) + 0.0:.{places}f}"


def whole(value: float | None) -> str:
    """`100,836`; a dash for what is no number."""
    return f"{round(value):,}" if value is not None and is_number(value) else NONE


def share(value: float | None, places: int = 0) -> str:
    """A share from 0 to 1 as `29 %`, never broken at the blank; a dash for what is no number."""
    if value is None or not is_number(value):
        return NONE
    return f"{100 * value:.{places}f}\N{NO-BREAK SPACE}%"


def percent(part: float | None, base: float | None) -> str:
    """`part` as a share of `base`, such as `+29 %`; a dash where that has no meaning."""
    if part is None or base is None or not (is_number(part) and is_number(base)) or base <= 0:
        return NONE
    return f"{100 * part / base:+.0f} %"


def seconds(value: float | None) -> str:
    """`0.42 s`, `47.8 s` or `2 min 11 s`."""
    if value is None or not is_number(value):
        return NONE
    if value < _MINUTE:
        return f"{value:.2f} s" if value < _FEW else f"{value:.1f} s"
    minutes, rest = divmod(round(value), _MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def instant(text: object) -> str:
    """An ISO instant as `2016-03-22 08:26:11 UTC`; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    zone = " UTC" if at.tzinfo is None or not at.utcoffset() else at.strftime(" %z")
    return at.strftime("%Y-%m-%d %H:%M:%S") + zone


def size(value: float | None) -> str:
    """Bytes as `2.5 MB`; a dash for what is no number."""
    if value is None or not is_number(value):
        return NONE
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < _KILO:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} TB"
