"""R2, the coefficient of determination: the share of the ratings' variance that is not error.

1 - sum of (prediction - rating)^2 / sum of (rating - mean rating)^2, over predicted pairs. Below 0
a model is worse than their mean; none where all ratings are equal.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors, around_their_mean

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    return [errors.squared, errors.rating, errors.rating_squared, errors.predicted]


def _value(sums: FloatArray) -> FloatArray:
    squared, rating, rating_squared, predicted = sums
    value: FloatArray = 1 - squared / around_their_mean(rating, rating_squared, predicted)
    return value


METRIC = RatingMetric(
    name="r2",
    label="R2",
    definition=(
        "1 - sum of squared differences of prediction and rating / sum of squared differences of"
        " the ratings from their mean."
    ),
    source="Draper and Smith, Applied Regression Analysis, 1998",
    range=(-inf, 1),
    terms=_terms,
    value=_value,
)
