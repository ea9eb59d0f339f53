"""Instants: how sources write them, and which are valid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import Column

FIRST_INSTANT = datetime(1990, 1, 1, tzinfo=UTC)
_FAR = datetime(2100, 1, 1, tzinfo=UTC)

TimeUnit = Literal[
    "seconds", "milliseconds", "microseconds", "nanoseconds", "text", "pattern", "order",
    "numbers", "words", "void",
]  # fmt: skip
"""How instants are written: since 1970 in a unit; ISO 8601; by a pattern; numbers that only say
what came first. `numbers` and `words` are none of these, and cannot be read without a setting.
`void`: there is none, all values are 0 or empty."""

ORDER = "order"
"""The setting `time_format` of numbers that only say what came first."""

PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_MICROSECONDS = 10**6
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_ISO = re.compile(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}")
DAY_FIRST = re.compile(r"\s*[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}.*")
"""A date whose parts may stand in any order: an instant, though not one that can be read."""
_COMPACT_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")


@dataclass(frozen=True)
class Period:
    """The instants that are valid, half-open: `first` <= t < `end`."""

    first: datetime
    end: datetime

    @classmethod
    def until(cls, run_date: date) -> Period:
        """From 1990-01-01 to the end of the run date (UTC)."""
        day_after = run_date + timedelta(days=1)
        return cls(FIRST_INSTANT, datetime.combine(day_after, time(), tzinfo=UTC))

    @property
    def far(self) -> datetime:
        """From here on an instant is refused; from `end` to here it counts as later."""
        return max(_FAR, self.end)


@dataclass(frozen=True)
class TimeForm:
    """How a column of instants is written.

    Args:
        unit: see `TimeUnit`.
        pattern: Spark's datetime pattern, where the unit is that.
        floats: whether numbers have a decimal point.
    """

    unit: TimeUnit
    pattern: str = ""
    floats: bool = False


def time_form(values: Iterable[str], time_format: str = "") -> TimeForm:  # noqa: PLR0911 - one for each form
    """How a column of instants is written, by the majority of some of its values.

    Args:
        values: as they are written; empty ones tell nothing.
        time_format: the setting.
    """
    values = list(values)
    given = [value.strip() for value in values if value.strip()]
    numeric = [v for v in given if _NUMBER.fullmatch(v)]
    numbers = sorted(map(float, numeric))
    floats = any(not v.lstrip("-+").isdigit() for v in numeric)
    if time_format:
        if time_format == ORDER:
            return TimeForm("order", floats=floats)
        return TimeForm("pattern", pattern=time_format)
    if not given:
        return TimeForm("void" if values else "seconds")
    if len(numbers) * 2 >= len(given):
        if sum(bool(_COMPACT_DATE.fullmatch(v)) for v in given) * 2 > len(given):
            return TimeForm("pattern", pattern="yyyyMMdd")
        unit = _unit(numbers[len(numbers) // 2])
        if unit is not None:
            return TimeForm(unit, floats=floats)
        if len(set(given)) == 1 and numbers[0] <= 0:
            return TimeForm("void")
        return TimeForm("numbers", floats=floats)
    iso = sum(bool(_ISO.match(v)) for v in given)
    return TimeForm("text" if iso * 2 >= len(given) else "words")


def _unit(value: float) -> TimeUnit | None:
    """The unit in which a number is an instant between 1990 and 2100."""
    first, far = FIRST_INSTANT.timestamp(), _FAR.timestamp()
    for unit, factor in PER_SECOND.items():
        if first * factor <= value < far * factor:
            return unit  # type: ignore[return-value]
    return None


def is_void(column: str) -> Column:
    """Whether a timestamp as text is none at all: missing, empty, 0 or below."""
    value = F.col(column)
    return F.coalesce((value == "") | (_as_float(value) <= 0), value.isNull())


def is_instant(text: str) -> bool:
    """Whether a text can only be meant as an instant: an ISO date, or a number of a known unit."""
    text = text.strip()
    if _ISO.match(text):
        return True
    return bool(_NUMBER.fullmatch(text)) and _unit(float(text)) is not None


def instant(column: Column | str, form: TimeForm, period: Period) -> Column:  # noqa: PLR0911 - one for each unit
    """A timestamp as text to an instant; null if it is not one, before 1990, or from 2100 on."""
    value = F.col(column) if isinstance(column, str) else column
    if form.unit == "void":
        return F.lit(None).cast("timestamp")
    if form.unit == "text":
        # The cast alone takes a bare year and a time of today for timestamps as well.
        dashed = F.regexp_replace(value, r"^(\d{4})/(\d{2})/(\d{2})", "$1-$2-$3")
        read = F.when(F.rlike(value, F.lit(f"^{_ISO.pattern}")), dashed.try_cast("timestamp"))
        return F.when((read >= F.lit(period.first)) & (read < F.lit(period.far)), read)
    if form.unit == "pattern":
        read = F.try_to_timestamp(value, F.lit(form.pattern))
        return F.when((read >= F.lit(period.first)) & (read < F.lit(period.far)), read)
    if form.unit == "order":
        number = F.coalesce(value.try_cast("bigint"), _as_float(value).cast("bigint"))
        return F.timestamp_seconds(F.when(number.between(0, 2**40), number))
    factor = PER_SECOND.get(form.unit, 1)
    first, far = (int(t.timestamp()) * factor for t in (period.first, period.far))
    number = value.try_cast("bigint")
    if form.floats:
        rounded = F.round(_as_float(value) * (_MICROSECONDS / factor))
        bounds = [bound * _MICROSECONDS // factor for bound in (first, far)]
        within = F.when((rounded >= bounds[0]) & (rounded < bounds[1]), rounded)
        return F.timestamp_micros(within.cast("bigint"))
    bounded = F.when((number >= first) & (number < far), number)
    if form.unit == "nanoseconds":
        return F.timestamp_micros(F.call_function("div", bounded, F.lit(1000)))
    if form.unit == "microseconds":
        return F.timestamp_micros(bounded)
    return F.timestamp_millis(bounded) if factor != 1 else F.timestamp_seconds(bounded)


def _as_float(value: Column) -> Column:
    # Java reads "4f" and "4.0d" as numbers; nobody else does.
    return F.when(F.rlike(value, F.lit(rf"^\s*{_NUMBER.pattern}\s*$")), value.try_cast("double"))


def in_period(column: str, period: Period) -> Column:
    """Whether an instant is in the period; null if it is null."""
    return (F.col(column) >= F.lit(period.first)) & (F.col(column) < F.lit(period.end))
