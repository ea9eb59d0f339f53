"""Cold items served: the share of places with an item that train has no rating of.

Models that know items by their ratings alone have 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return lists.mean_of(lists.facts.raters == 0, ks)


METRIC = RankingMetric(
    name="cold_items",
    label="cold items",
    definition="Share of the first k places with an item that train has no rating of.",
    source="Schein et al., Methods and metrics for cold-start recommendations, 2002",
    range=(0, 1),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"raters"}),
    values=_values,
)
