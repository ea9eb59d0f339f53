"""R-precision: the precision of as many places as there are relevant items.

R-precision@k = |relevant items in the first R places of the first k| / R, R = |relevant items|.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    within = np.minimum(ks[:, None], lists.relevant)
    values: FloatArray = np.take_along_axis(lists.hits_within, within - 1, axis=0) / lists.relevant
    return values


METRIC = RankingMetric(
    name="r_precision",
    label="R-precision",
    definition="Relevant items in the first R places / R, the user's relevant items; of k places.",
    source="Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, ch. 8",
    range=(0, 1),
    values=_values,
)
