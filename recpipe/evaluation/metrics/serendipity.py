"""Serendipity: relevant items that are not what everybody is shown.

|relevant items in the first k places that are not among the k most rated items of train| / k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    facts = lists.facts
    # Of the most rated item it is 1, of the next 2 and so on: how many places show it to everybody.
    expected_from = np.full(len(facts.raters) + 1, np.inf)
    expected_from[facts.most_rated_first] = np.arange(1, facts.catalogue + 1)
    of_places = expected_from[lists.items]
    found = np.stack([
        np.sum((lists.hits[:k] > 0) & (of_places[:k] > k), axis=0) for k in ks.tolist()
    ])  # fmt: skip
    return found / ks[:, None]


METRIC = RankingMetric(
    name="serendipity",
    label="serendipity",
    definition=(
        "Relevant items in the first k places that are not among the k most rated of train / k."
    ),
    source="Ge, Delgado-Battenfeld and Jannach, Beyond accuracy, 2010",
    range=(0, 1),
    selectable=False,
    beyond_accuracy=True,
    needs=frozenset({"raters"}),
    values=_values,
)
