"""Root of the mean squared error: sqrt(sum of (prediction - rating)^2 / predicted pairs)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    return [errors.squared, errors.predicted]


def _value(sums: FloatArray) -> FloatArray:
    squared, predicted = sums
    value: FloatArray = np.sqrt(squared / predicted)
    return value


METRIC = RatingMetric(
    name="rmse",
    label="RMSE",
    definition=(
        "Root of the mean squared difference of prediction and rating, over predicted pairs."
    ),
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, inf),
    higher_is_better=False,
    summary=True,
    terms=_terms,
    value=_value,
)
