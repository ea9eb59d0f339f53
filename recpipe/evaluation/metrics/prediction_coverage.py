"""Prediction coverage: predicted pairs / pairs.

It stands beside RMSE and MAE, which a model can lower by staying silent on what is hard; nothing is
chosen by it.
"""

from __future__ import annotations

from recpipe.evaluation.metrics.base import PairSums, RatingMetric


def _value(sums: PairSums) -> float:
    return sums.predicted / sums.pairs


METRIC = RatingMetric(
    name="prediction_coverage",
    label="predicted",
    definition="Share of the split's pairs that are predicted.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, 1),
    selectable=False,
    terms=None,
    value=_value,
)
