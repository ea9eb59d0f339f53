"""Novelty: the mean surprisal of the listed items, in bits.

The mean over the items in the first k places of -log2(raters(i) / users): how surprised one of
train's users would be to have met it. An item that train does not know counts as one with one
rater; a user without a list does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    share = np.maximum(lists.facts.raters, 1) / max(1, lists.facts.users)
    # More raters than users there cannot be: 0 - 0 is written as 0, not as -0.
    return lists.mean_of(np.maximum(-np.log2(share), 0), ks)


METRIC = RankingMetric(
    name="novelty",
    label="novelty",
    definition="Mean over the first k places of -log2 of the share of train's users who rated it.",
    source="Zhou et al., Solving the apparent diversity-accuracy dilemma of recommenders, 2010",
    range=(0, 64),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"raters"}),
    values=_values,
)
