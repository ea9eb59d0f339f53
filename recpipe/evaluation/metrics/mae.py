"""Mean absolute error: sum of |prediction - rating| / predicted pairs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import PairSums, RatingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(ratings: FloatArray, predictions: FloatArray) -> FloatArray:
    errors: FloatArray = np.abs(predictions - ratings)
    return errors


def _value(sums: PairSums) -> float:
    return sums.total / sums.predicted


METRIC = RatingMetric(
    name="mae",
    label="MAE",
    definition="Mean absolute difference of prediction and rating, over predicted pairs.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, inf),
    higher_is_better=False,
    terms=_terms,
    value=_value,
)
