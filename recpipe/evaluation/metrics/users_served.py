"""Users served: the share of users with a list at all.

1 where the list has an item, else 0. With `split.cold_users = keep` users whom train does not know
are among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recpipe.evaluation.metrics.base import RankedLists, RankingMetric

if TYPE_CHECKING:
    from recpipe.evaluation.metrics.base import FloatArray, IntArray


def _values(lists: RankedLists, ks: IntArray) -> FloatArray:
    return (lists.filled_within[ks - 1] > 0).astype(np.float64)


METRIC = RankingMetric(
    name="users_served",
    label="users served",
    definition="1 where the user has a list with an item in the first k places, else 0.",
    source="Ge, Delgado-Battenfeld and Jannach, Beyond accuracy, 2010",
    range=(0, 1),
    selectable=False,
    beyond_accuracy=True,
    values=_values,
)
