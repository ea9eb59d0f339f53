"""Entropy of exposure, in bits: from how many items on equal terms the lists could come.

- sum over items of p(i) log2 p(i), p(i) the share of all places that item i has.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import ExposureMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _value(shown: FloatArray) -> float:
    shares = shown[shown > 0] / shown.sum()
    # The entropy of one item is 0, not -0.
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


METRIC = ExposureMetric(
    name="entropy",
    label="entropy",
    definition="Shannon entropy, in bits, of the shares that items have of all first k places.",
    source="Vargas and Castells, Improving sales diversity by recommending users to items, 2014",
    range=(0, inf),
    value=_value,
)
