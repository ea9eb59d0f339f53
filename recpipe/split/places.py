"""The value at a place of a sorted column, exactly, without sorting it.

A histogram of at most `_BUCKETS` buckets is counted where the rows are, the bucket that holds the
place is counted again in finer buckets, and so on until a bucket holds one value. Each pass is one
aggregation over one column; the driver sees counts of buckets, never rows, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import DataFrame

_BUCKETS = 1 << 14


class _Range(NamedTuple):
    """The values of one bucket, both ends included, and the number of rows below it."""

    lowest: int
    highest: int
    below: int


@dataclass(frozen=True)
class SortedColumn:
    """A long column as if it were sorted; highest - lowest must fit a long.

    Args:
        frame: the rows; scanned a few times, so cheap to read or cached.
        name: the column.
        rows: number of rows.
        lowest: the smallest value; 0 without rows.
        highest: the largest value; 0 without rows.
    """

    frame: DataFrame
    name: str
    rows: int
    lowest: int
    highest: int

    @classmethod
    def of(cls, frame: DataFrame, name: str) -> SortedColumn:
        """Count the rows and find both ends, in one aggregation."""
        low, high = F.min(name), F.max(name)
        rows, lowest, highest = frame.agg(F.count(name), low, high).collect()[0]
        return cls(frame.select(name), name, rows, lowest or 0, highest or 0)

    def at(self, places: Iterable[int]) -> dict[int, int]:
        """The value at each place, counted from 0 in ascending order.

        Raises:
            IndexError: if a place is not in 0 <= place < rows.
        """
        wanted = set(places)
        if wanted and not (min(wanted) >= 0 and max(wanted) < self.rows):
            raise IndexError(f"places {sorted(wanted)} of {self.rows} rows")
        whole = _Range(self.lowest, self.highest, 0)
        ranges = dict.fromkeys(wanted, whole)
        while open_ := sorted({r for r in ranges.values() if r.lowest < r.highest}):
            finer = self._refine(open_, ranges)
            ranges = {place: finer.get(place, found) for place, found in ranges.items()}
        return {place: found.lowest for place, found in ranges.items()}

    def _refine(self, open_: list[_Range], ranges: dict[int, _Range]) -> dict[int, _Range]:
        """For each place within the open ranges: the range of its bucket, in one pass."""
        room = max(2, _BUCKETS // len(open_))
        value, number, bucket = F.col(self.name), F.lit(None), F.lit(None)
        for i, (lowest, highest, _) in enumerate(open_):
            width = -(-(highest - lowest + 1) // room)
            inside = value.between(lowest, highest)
            place_in = F.expr(f"(`{self.name}` - {_long(lowest)}) div {_long(width)}")
            number = F.when(inside, F.lit(i)).otherwise(number)
            bucket = F.when(inside, place_in).otherwise(bucket)
        counted = (
            self.frame.select(value.alias("v"), number.alias("range"), bucket.alias("bucket"))
            .where("range IS NOT NULL")
            .groupBy("range", "bucket")
            .agg(F.count("*").alias("rows"), F.min("v").alias("low"), F.max("v").alias("high"))
            .select("range", "low", "high", "rows")
            .toArrow()
        )
        range_of, low, high, rows = (column.to_numpy() for column in counted.columns)
        finer: dict[int, _Range] = {}
        for i, within in enumerate(open_):
            of_range = np.flatnonzero(range_of == i)
            ordered = of_range[np.argsort(low[of_range])]
            ends = within.below + np.cumsum(rows[ordered])
            for place, current in ranges.items():
                if current == within:
                    at = int(np.searchsorted(ends, place, side="right"))
                    row = ordered[at]
                    below = int(ends[at] - rows[row])
                    finer[place] = _Range(int(low[row]), int(high[row]), below)
        return finer


def _long(value: int) -> str:
    # Spark reads -9223372036854775808L as minus an overflow; no range here reaches that far.
    return f"({value}L)"
