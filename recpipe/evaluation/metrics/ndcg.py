"""Normalised discounted cumulative gain, with a gain of 1 for each relevant item.

DCG@k = sum of 1 / log2(r + 1) over the ranks r <= k that hold a relevant item; NDCG@k is that over
the DCG@k of an ideal list, whose first min(k, |relevant items|) places all hold one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    discounts = np.log2(lists.ranks + 1)
    gained = np.cumsum(lists.hits / discounts, axis=0)
    ideal = np.cumsum(1 / discounts)
    values: FloatArray = gained[ks - 1] / ideal[np.minimum(ks[:, None], lists.relevant) - 1]
    return values


METRIC = RankingMetric(
    name="ndcg",
    label="NDCG",
    definition=(
        "Sum of 1 / log2(rank + 1) over relevant items in the first k places / the same sum over"
        " ranks 1 to min(k, the user's relevant items)."
    ),
    source="Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002",
    range=(0, 1),
    summary=True,
    values=_values,
)
