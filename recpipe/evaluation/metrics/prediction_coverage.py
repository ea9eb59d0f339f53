"""Prediction coverage: predicted pairs / pairs.

It stands beside RMSE and MAE, which a model can lower by staying silent on what is hard; nothing is
chosen by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    return [errors.predicted, errors.pairs]


def _value(sums: FloatArray) -> FloatArray:
    predicted, pairs = sums
    value: FloatArray = predicted / pairs
    return value


METRIC = RatingMetric(
    name="prediction_coverage",
    label="predicted",
    definition="Share of the split's pairs that are predicted.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, 1),
    selectable=False,
    of_errors=False,
    summary=True,
    terms=_terms,
    value=_value,
)
