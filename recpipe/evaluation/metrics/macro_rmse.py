"""RMSE by user: the root of the mean squared error of each user, averaged over users.

Mean over users with a predicted pair of sqrt(sum of (prediction - rating)^2 / pairs). RMSE
itself is over all pairs (micro): whoever rates much counts much.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RatingMetric, UserErrors

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _terms(errors: UserErrors) -> list[FloatArray]:
    predicts = errors.predicted > 0
    mean = np.divide(
        errors.squared, errors.predicted, out=np.zeros(errors.predicted.shape), where=predicts
    )
    return [np.sqrt(mean), predicts]


def _value(sums: FloatArray) -> FloatArray:
    total, users = sums
    value: FloatArray = total / users
    return value


METRIC = RatingMetric(
    name="macro_rmse",
    label="RMSE by user",
    definition=(
        "Mean over users of the root of the mean squared difference of prediction and rating."
    ),
    source="Herlocker et al., Evaluating collaborative filtering recommender systems, 2004",
    range=(0, inf),
    higher_is_better=False,
    terms=_terms,
    value=_value,
)
