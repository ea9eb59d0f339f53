"""Root of the mean squared error: sqrt(sum of (prediction - rating)^2 / predicted pairs)."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import PairSums, RatingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(ratings: FloatArray, predictions: FloatArray) -> FloatArray:
    errors = predictions - ratings
    return errors * errors


def _value(sums: PairSums) -> float:
    return sqrt(sums.total / sums.predicted)


METRIC = RatingMetric(
    name="rmse",
    label="RMSE",
    definition=(
        "Root of the mean squared difference of prediction and rating, over predicted pairs."
    ),
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, inf),
    higher_is_better=False,
    terms=_terms,
    value=_value,
)
