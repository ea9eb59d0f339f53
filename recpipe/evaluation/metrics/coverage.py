"""Catalogue coverage: the share of items that appear in any list.

|items in the first k places of any list| / |items of train|.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import ExposureMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _value(shown: FloatArray) -> float:
    return float(np.count_nonzero(shown) / len(shown))


METRIC = ExposureMetric(
    name="coverage",
    label="coverage",
    definition="Items in the first k places of any list / items of train.",
    source="Ge, Delgado-Battenfeld and Jannach, Beyond accuracy, 2010",
    range=(0, 1),
    value=_value,
)
