"""Two models of two runs, compared over the same users."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.evaluation.confidence import differences
from recpipe.evaluation.rows import MetricRow, Sample, mean_of, rounded
from recpipe.kernels import groups as grouping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.evaluation.confidence import Difference


class UserValues(NamedTuple):
    """The values of a metric of lists of one model.

    Args:
        name: of the model, distinct from that of the other.
        users: (U,) their numbers, distinct.
        values: (U,) NaN for a user who does not count.
    """

    name: str
    users: NDArray[np.int32]
    values: NDArray[np.float64]


def paired(
    one: UserValues, other: UserValues, *, metric: str, split: str, seed: int
) -> Difference | None:
    """By how much `one` is better than `other`, with interval and p, as `differences` has them.

    Args:
        one: a model.
        other: another, with the values of the same users.
        metric: such as `ndcg@10`.
        split: the part that they were evaluated on.
        seed: of draws and swaps.

    Returns:
        None where no user counts for one of them.

    Raises:
        ValueError: if the users are not the same.
    """
    if not np.array_equal(np.sort(one.users), np.sort(other.users)):
        raise ValueError(f"{one.name} and {other.name} have other users")
    rows = [_row(values, metric=metric, split=split) for values in (one, other)]
    if not all(row.users for row in rows):
        return None
    (found,) = differences(rows, metric=metric, split=split, seed=seed)
    return found


def _row(of: UserValues, *, metric: str, split: str) -> MetricRow:
    name, _, k = metric.partition("@")
    counts = ~np.isnan(of.values)
    counted = np.where(counts, of.values, 0.0)
    each = len(of.users) <= grouping.EACH
    group = grouping.groups_of(of.users, each=each)
    sums = grouping.by_group(group, np.stack([counted, counts.astype(np.float64)]), each=each)
    users = int(counts.sum())
    value = rounded(float(counted.sum() / users)) if users else 0.0
    return MetricRow(
        of.name,
        name,
        int(k) if k else None,
        value,
        users=users,
        rows=0,
        split=split,
        sample=Sample(sums, mean_of),
    )


__all__ = ["UserValues", "paired"]
