"""Area under the ROC curve: the chance that a relevant candidate stands before one that is not.

The candidates of a user are the items of train that the user had not seen: those of which the list
is made. A relevant item that train does not know is none, nor is a place that holds such an item.
Of the candidates R are relevant and N are not. A list shows k places only, and the candidates that
it does not show are taken to be in random order behind it. With h relevant candidates and m others
in the first k places:

AUC@k = (sum over those m of the relevant ones before each + (N - m) * (h + R) / 2) / (R * N)

NaN, so that the user does not count, where R or N is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    relevant, others = lists.candidates
    in_train = lists.filled & (lists.facts.raters > 0)[np.maximum(lists.items, 0)]
    hit, missed = in_train & (lists.hits > 0), in_train & (lists.hits == 0)
    hits_within = np.cumsum(hit, axis=0, dtype=np.float64)
    before = np.cumsum(missed * hits_within, axis=0)[ks - 1]
    misses = np.cumsum(missed, axis=0)[ks - 1]
    behind = (others - misses) * (hits_within[ks - 1] + relevant) / 2
    pairs = np.where((relevant > 0) & (others > 0), relevant * others, np.nan)
    values: FloatArray = (before + behind) / pairs
    return values


METRIC = RankingMetric(
    name="auc",
    label="AUC",
    definition=(
        "Share of the pairs of a relevant and another candidate in which the relevant one stands"
        " first. Candidates are the items of train that the user had not seen; those that are not"
        " in the first k places are taken to be in random order behind them."
    ),
    source="Rendle et al., BPR: Bayesian personalized ranking from implicit feedback, 2009",
    range=(0, 1),
    needs=frozenset({"raters"}),
    asks_candidates=True,
    values=_values,
)
