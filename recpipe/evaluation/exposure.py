"""How often the lists of a model show each item.

Tasks count it for the users of a bucket. The counts of all buckets are as many as buckets, models
and items together; where that is too much for the driver, Spark adds them up first.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.rows import rounded
from recpipe.spark.arrow import VALUE_BYTES
from recpipe.spark.columns import arrow_row, arrow_schema, as_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, Row

    from recpipe.evaluation.metrics.base import ExposureMetric, ItemFacts
    from recpipe.evaluation.rows import MetricRow

    IntArray = NDArray[np.int64]

SHOWN = "model int, shown binary, times_shown binary"
"""`shown` are n items, and `times_shown` is (ks, n) in how many lists each is within k places, both
as int64."""

_BLOCK = "block int, " + SHOWN
"""SHOWN of items whose numbers are near each other."""

_DRIVER_BYTES = 64 << 20
"""Of counts that are collected before they are added up."""


def shown_in(items: NDArray[np.int32], ks: Sequence[int]) -> tuple[IntArray, IntArray]:
    """The n items in any list, and (ks, n) in how many lists each is within k places.

    Args:
        items: (R, U) of `RankedLists`.
        ks: the places that count.
    """
    shown, place = np.unique(items, return_inverse=True)
    place = place.reshape(items.shape)
    times = np.stack([np.bincount(place[:k].ravel(), minlength=len(shown)) for k in ks])
    filled = shown >= 0
    return shown[filled].astype(np.int64), times[:, filled].astype(np.int64)


def fits_driver(buckets: int, models: int, items: int, ks: Sequence[int]) -> bool:
    """Whether the driver may collect the counts of every bucket; they are of `items` at most."""
    return 8 * buckets * models * items * (1 + len(ks)) <= _DRIVER_BYTES


def added_up(counts: DataFrame, ks: Sequence[int]) -> DataFrame:
    """SHOWN over all buckets, an item of a model in one row only.

    Args:
        counts: SHOWN of each bucket, in one partition a bucket.
        ks: the places that count.
    """
    blocks = counts.mapInArrow(partial(_by_block, ks=len(ks)), _BLOCK)
    together = blocks.repartition("model", "block")
    return together.mapInArrow(partial(_added_up, ks=len(ks)), SHOWN)


def _items_of_block(ks: int) -> int:
    return max(1, VALUE_BYTES // (8 * ks))


def _by_block(batches: Iterator[pa.RecordBatch], *, ks: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for model, shown, times in _rows(batch, ks=ks):
            blocks = shown // _items_of_block(ks)
            numbers, starts = np.unique(blocks, return_index=True)
            ends = np.append(starts[1:], len(blocks))
            for block, start, end in zip(numbers, starts, ends, strict=True):
                mine = np.ascontiguousarray(times[:, start:end])
                yield arrow_row(_BLOCK, int(block), model, shown[start:end], mine)


def _added_up(batches: Iterator[pa.RecordBatch], *, ks: int) -> Iterator[pa.RecordBatch]:
    size = _items_of_block(ks)
    found: dict[tuple[int, int], IntArray] = {}
    for batch in batches:
        for block, (model, shown, times) in zip(
            batch.column("block").to_pylist(), _rows(batch, ks=ks), strict=True
        ):
            total = found.setdefault((model, block), np.zeros((ks, size), np.int64))
            total[:, shown - block * size] += times
    for (model, block), total in found.items():
        any_list = np.flatnonzero(total.any(axis=0))
        yield arrow_row(
            SHOWN, model, any_list + block * size, np.ascontiguousarray(total[:, any_list])
        )


def _rows(batch: pa.RecordBatch, *, ks: int) -> Iterator[tuple[int, IntArray, IntArray]]:
    model, shown, times = (batch.column(name) for name in arrow_schema(SHOWN).names)
    for row in range(len(batch)):
        items = as_array(shown[row], np.int64)
        yield model[row].as_py(), items, as_array(times[row], np.int64).reshape(ks, -1)


def exposure_rows(
    shown: Iterable[Row],
    row: MetricRow,
    *,
    ks: Sequence[int],
    metrics: Sequence[ExposureMetric],
    facts: ItemFacts,
) -> Iterator[MetricRow]:
    """The metrics of all lists of one model together; none where they show nothing.

    Args:
        shown: SHOWN of the model.
        row: with all but metric, k and what they come to.
        ks: the places that count.
        metrics: those that are wanted.
        facts: what is known of items.
    """
    known = len(facts.raters)
    total = np.zeros((len(ks), known))
    for found in shown:
        items = np.frombuffer(found["shown"], np.int64)
        times = np.frombuffer(found["times_shown"], np.int64).reshape(len(ks), -1)
        # A place with an item that train does not know is no place of the catalogue.
        total[:, items[items < known]] += times[:, items < known]
    total = total[:, facts.raters > 0]
    for metric in metrics:
        for k, each in zip(ks, total, strict=True):
            if each.any():
                value = rounded(metric.value(each))
                yield replace(row, metric=metric.name, k=k, value=value, rows=int(each.sum()))


__all__ = ["SHOWN", "added_up", "exposure_rows", "fits_driver", "shown_in"]
