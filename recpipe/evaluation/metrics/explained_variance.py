"""Explained variance: R2 of predictions whose mean error has been taken away.

1 - variance of (prediction - rating) / variance of the ratings, over predicted pairs; none where
all ratings are equal.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors, around_their_mean

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    return [
        errors.squared, errors.error, errors.rating, errors.rating_squared, errors.predicted
    ]  # fmt: skip


def _value(sums: FloatArray) -> FloatArray:
    squared, error, rating, rating_squared, predicted = sums
    unexplained = squared - error * error / predicted
    value: FloatArray = 1 - unexplained / around_their_mean(rating, rating_squared, predicted)
    return value


METRIC = RatingMetric(
    name="explained_variance",
    label="explained variance",
    definition=(
        "1 - variance of the differences of prediction and rating / variance of the ratings."
    ),
    source="Draper and Smith, Applied Regression Analysis, 1998",
    range=(-inf, 1),
    terms=_terms,
    value=_value,
)
