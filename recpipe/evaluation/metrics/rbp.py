"""Rank-biased precision: the precision of someone who goes on to the next place with chance p.

RBP@k = (1 - p) * sum of p^(r - 1) over the ranks r <= k that hold a relevant item, p = 0.8: five
places are looked at on average. A perfect list of k items has 1 - p^k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


PERSISTENCE = 0.8


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    weights = (1 - PERSISTENCE) * PERSISTENCE ** (lists.ranks - 1)
    values: FloatArray = np.cumsum(lists.hits * weights, axis=0)[ks - 1]
    return values


METRIC = RankingMetric(
    name="rbp",
    label="RBP",
    definition=(
        "0.2 * sum of 0.8^(rank - 1) over relevant items in the first k places; 1 - 0.8^k at most."
    ),
    source="Moffat and Zobel, Rank-biased precision for measurement of retrieval, 2008",
    range=(0, 1),
    values=_values,
)
