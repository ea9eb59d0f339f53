"""Rows on their way to the driver, a partition at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, Row


def streamed(frame: DataFrame, *, ahead: bool = True) -> Iterator[Row]:
    """The rows, for what all at once would be above `spark.driver.maxResultSize`.

    The driver holds one partition, and with `ahead` the next one, which is computed meanwhile.
    """
    # Not by `DataFrame.toLocalIterator`: Spark 4.2 notes its jobs under a query that has ended
    # before the first of them, and so keeps them, with all rows, as long as the session lasts.
    return frame.rdd.toLocalIterator(prefetchPartitions=ahead)


__all__ = ["streamed"]
