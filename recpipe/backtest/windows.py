"""The instants at which a backtest cuts the ratings, and the windows of test between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from recpipe.errors import InputError, UsageError
from recpipe.split.places import SortedColumn
from recpipe.split.strategies import instant_of, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Windows:
    """Which windows are wanted.

    Args:
        count: how many; of `at` there are as many as instants.
        at: the cutoffs themselves (UTC).
        every: the length of a window, counted back from the last rating; None: windows of as many
            ratings each, over the later half of all.
    """

    count: int = 5
    at: tuple[datetime, ...] = ()
    every: timedelta | None = None


@dataclass(frozen=True)
class Window:
    """What is tested at one cutoff: ratings from `start` up to, without, `end`."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """An id for its run, another one for every cutoff."""
        within = f".{self.start.microsecond:06d}" if self.start.microsecond else ""
        return f"{self.start:%Y-%m-%dT%H%M%S}{within}Z"

    def as_json(self) -> dict[str, Any]:
        return {"test_from": self.start.isoformat(), "test_until": self.end.isoformat()}


def windows_of(ratings: DataFrame, wanted: Windows) -> list[Window]:
    """The windows, one after the other; the last ends with the last rating.

    Args:
        ratings: (rated_at, ...)
        wanted: which.

    Raises:
        UsageError: if a cutoff lies outside of the ratings, or two are the same.
        InputError: if there are too few instants for as many windows.
    """
    column = SortedColumn.of(ratings.select(F.unix_micros("rated_at").alias("at")), "at")
    if not column.rows:
        raise InputError("backtest: no ratings have an instant", hint="ingest some that do")
    first, last = instant_of(column.lowest), instant_of(column.highest)
    try:
        cutoffs = _cutoffs(column, wanted, last)
    except OverflowError as error:
        # Before the year 1.
        earliest = f"{wanted.count} times {wanted.every} before the last rating"
        raise _outside(earliest, first, last) from error
    for cutoff in cutoffs:
        if not first < cutoff <= last:
            raise _outside(cutoff.isoformat(), first, last)
    ends = [*cutoffs, last + timedelta(microseconds=1)]
    return [Window(start, end) for start, end in pairwise(ends)]


def _outside(cutoff: str, first: datetime, last: datetime) -> UsageError:
    return UsageError(
        f"backtest: the cutoff {cutoff} is outside of the ratings, which are from"
        f" {first.isoformat()} to {last.isoformat()}",
        hint="give other instants, fewer windows or a shorter period",
    )


def _cutoffs(column: SortedColumn, wanted: Windows, last: datetime) -> list[datetime]:
    if wanted.at:
        cutoffs: Sequence[datetime] = sorted(utc(at) for at in wanted.at)
        if len(set(cutoffs)) < len(cutoffs):
            raise UsageError("backtest: a cutoff is given twice", hint="give each once")
        return list(cutoffs)
    if wanted.every is not None:
        end = last + timedelta(microseconds=1)
        return [end - n * wanted.every for n in range(wanted.count, 0, -1)]
    n = column.rows
    places = [n // 2 + n * i // (2 * wanted.count) for i in range(wanted.count)]
    found = sorted(set(column.at(places).values()))
    if len(found) < wanted.count:
        raise InputError(
            f"backtest: {wanted.count} windows of as many ratings each begin at only"
            f" {len(found)} instants",
            hint="give fewer windows by --cutoffs, or a period by --every",
        )
    return [instant_of(micros) for micros in found]


__all__ = ["Window", "Windows", "windows_of"]
