"""Recall: the share of a user's relevant items that the first k places hold.

recall@k = |relevant items in the first k places| / |relevant items|.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return lists.hits_within[ks - 1] / lists.relevant


METRIC = RankingMetric(
    name="recall",
    label="recall",
    definition="Relevant items in the first k places / the user's relevant items.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, 1),
    summary=True,
    values=_values,
)
