"""Area under the ROC curve: the chance that a relevant item stands before one that is not.

A list shows k places only. What is not in it is taken as in random order behind it:
AUC@k = (sum over the items of the first k places that are not relevant of the relevant ones before
it + (N - those) * (h + R) / 2) / (R * N), with R relevant items, h of them in the first k places,
and N the items of train but R. NaN, so that the user does not count, where N is not above 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    others = float(lists.facts.catalogue) - lists.relevant
    missed = lists.filled & (lists.hits == 0)
    before = np.cumsum(missed * lists.hits_within, axis=0)[ks - 1]
    misses = np.cumsum(missed, axis=0)[ks - 1]
    hits = lists.hits_within[ks - 1]
    behind = np.maximum(others - misses, 0) * (hits + lists.relevant) / 2
    pairs = np.where(others > 0, lists.relevant * others, np.nan)
    values: FloatArray = np.minimum((before + behind) / pairs, 1)
    return values


METRIC = RankingMetric(
    name="auc",
    label="AUC",
    definition=(
        "Share of the pairs of a relevant item and another item of train in which the relevant one"
        " stands first; what is not in the first k places is in random order behind them."
    ),
    source="Rendle et al., BPR: Bayesian personalized ranking from implicit feedback, 2009",
    range=(0, 1),
    needs=frozenset({"raters"}),
    values=_values,
)
