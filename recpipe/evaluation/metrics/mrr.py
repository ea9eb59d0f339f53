"""Mean reciprocal rank: how far up the first relevant item stands.

RR@k = 1 / the rank of the first relevant item, if that is at most k, else 0; MRR@k is its mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    # Of the reciprocal ranks that hold a relevant item, the first is the largest.
    values: FloatArray = np.maximum.accumulate(lists.hits / lists.ranks, axis=0)[ks - 1]
    return values


METRIC = RankingMetric(
    name="mrr",
    label="MRR",
    definition=(
        "1 / rank of the first relevant item in the first k places; 0 where there is none."
    ),
    source="Kantor and Voorhees, The TREC-5 confusion track, 2000",
    range=(0, 1),
    summary=True,
    values=_values,
)
