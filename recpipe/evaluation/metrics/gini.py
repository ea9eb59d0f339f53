"""Gini index of exposure: how unevenly the places are shared out among the items of train.

With items in ascending order of the places that they have, p(j) their share of all places and n
their number: sum over j of (2 j - n - 1) p(j) / n. 0: all have as many; 1 - 1 / n: one has all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import ExposureMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray


def _value(shown: FloatArray) -> float:
    shares = np.sort(shown) / shown.sum()
    n = len(shares)
    return float(((2 * np.arange(1, n + 1) - n - 1) * shares).sum() / n)


METRIC = ExposureMetric(
    name="gini",
    label="Gini",
    definition="Gini index of how often each item of train is in the first k places; 0 is even.",
    source="Fleder and Hosanagar, Blockbuster culture's next rise or fall, 2009",
    range=(0, 1),
    higher_is_better=False,
    value=_value,
)
