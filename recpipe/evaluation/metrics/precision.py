"""Precision: the share of the k places that hold a relevant item.

precision@k = |relevant items in the first k places| / k, also where the list is shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return lists.hits_within[ks - 1] / ks[:, None]


METRIC = RankingMetric(
    name="precision",
    label="precision",
    definition="Relevant items in the first k places / k, also where the list is shorter.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, 1),
    summary=True,
    values=_values,
)
