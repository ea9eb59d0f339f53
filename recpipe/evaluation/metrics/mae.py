"""Mean absolute error: sum of |prediction - rating| / predicted pairs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    return [errors.absolute, errors.predicted]


def _value(sums: FloatArray) -> FloatArray:
    absolute, predicted = sums
    value: FloatArray = absolute / predicted
    return value


METRIC = RatingMetric(
    name="mae",
    label="MAE",
    definition="Mean absolute difference of prediction and rating, over predicted pairs.",
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, inf),
    higher_is_better=False,
    summary=True,
    terms=_terms,
    value=_value,
)
