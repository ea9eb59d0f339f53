"""Share of the long tail: of the listed items, those that are not of the head.

The head is the fewest items that together have 80 % of train's ratings. The mean over users of the
share of tail items among the items of the first k places; a user without a list does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return lists.mean_of(lists.facts.tail, ks)


METRIC = RankingMetric(
    name="long_tail",
    label="long tail",
    definition=(
        "Share of the first k places with an item that is not among the fewest with 80 % of"
        " train's ratings."
    ),
    source="Abdollahpouri et al., Managing popularity bias in recommender systems, 2019",
    range=(0, 1),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"raters"}),
    values=_values,
)
