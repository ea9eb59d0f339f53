"""Mean average precision: the precision at every relevant item, averaged.

AP@k = sum of precision@r over the ranks r <= k that hold a relevant item
       / min(k, |relevant items|); MAP@k is its mean over users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    precisions = lists.hits_within / lists.ranks
    summed = np.cumsum(lists.hits * precisions, axis=0)
    return summed[ks - 1] / np.minimum(ks[:, None], lists.relevant)


METRIC = RankingMetric(
    name="map",
    label="MAP",
    definition=(
        "Sum over relevant items in the first k places of the precision at their rank /"
        " min(k, the user's relevant items)."
    ),
    source="Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, ch. 8",
    range=(0, 1),
    summary=True,
    values=_values,
)
