"""Hit rate: the share of users with a relevant item in their first k places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return (lists.hits_within[ks - 1] > 0).astype(np.float64)


METRIC = RankingMetric(
    name="hit_rate",
    label="hit rate",
    definition="1 where a relevant item is in the first k places, else 0.",
    source="Deshpande and Karypis, Item-based top-N recommendation algorithms, 2004",
    range=(0, 1),
    summary=True,
    values=_values,
)
