"""Instants: how sources write them, and which are valid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

    from recpipe.ingest.layout import TimeUnit

FIRST_INSTANT = datetime(1990, 1, 1, tzinfo=UTC)


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


def instant(column: Column | str, unit: TimeUnit, period: Period) -> Column:
    """A timestamp as text to an instant; null if it is not one or (a number) out of range."""
    value = F.col(column) if isinstance(column, str) else column
    if unit == "text":
        # The cast alone takes a bare year and a time of today for timestamps as well.
        return F.when(F.rlike(value, F.lit(r"^\d{4}-\d{2}-\d{2}")), value.try_cast("timestamp"))
    number = value.try_cast("bigint")
    factor = 1000 if unit == "milliseconds" else 1
    first, end = (int(t.timestamp()) * factor for t in (period.first, period.end))
    bounded = F.when((number >= first) & (number < end), number)
    return F.timestamp_millis(bounded) if factor != 1 else F.timestamp_seconds(bounded)


def in_period(column: str, period: Period) -> Column:
    """Whether an instant is in the period; null if it is null."""
    return (F.col(column) >= F.lit(period.first)) & (F.col(column) < F.lit(period.end))
