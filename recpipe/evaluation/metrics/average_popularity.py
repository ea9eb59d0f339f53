"""Average popularity: the share of train's users who have rated an item, over the listed items.

The mean over the items in the first k places of raters(i) / users. A user without a list does not
count. Lower is less of what everybody knows already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return lists.mean_of(lists.facts.raters / max(1, lists.facts.users), ks)


METRIC = RankingMetric(
    name="average_popularity",
    label="popularity",
    definition="Mean over the first k places of the share of train's users who rated the item.",
    source="Yin et al., Challenging the long tail recommendation, 2012",
    range=(0, 1),
    higher_is_better=False,
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"raters"}),
    values=_values,
)
