"""The rows of metrics.json, and the definitions that stand beside them there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from recpipe.kernels.groups import GroupSums

    FloatArray = NDArray[np.float64]

COMMON = "_common"
"""The end of a split's name where only the pairs count that every model of ratings predicts."""

DEFINITIONS: dict[str, str] = {
    "relevant": (
        "A held-out item rated at or above evaluate.relevance_threshold; under leave_one_out and"
        " last_n, and by default with implicit feedback, every held-out item."
    ),
    "users": (
        "How many users the value rests on. Metrics of lists: the users of the split with at least"
        " one relevant item; one without a list scores 0 (0.5 in AUC), or is left out of metrics"
        " that are means over the places of a list. Rating metrics: the users of the pairs in"
        " `rows`."
    ),
    "rows": (
        "How many rows the value rests on. Metrics of each user's list: the relevant held-out"
        " pairs. Coverage, Gini and entropy: the places of all lists. Rating metrics: the predicted"
        " pairs."
    ),
    "split": (
        "The held-out part. Where the name ends in _common, only the pairs count that all models"
        " of ratings predict, so that their errors compare."
    ),
    **{name: metric.definition for name, metric in METRICS.items()},
    "mean": "A metric of each user's list is the mean over users, who all weigh the same.",
    "ci_low, ci_high": (
        "A 95 % interval by the percentile bootstrap over users, widened where there are few of"
        " them. Null with fewer than two users, and for coverage, Gini and entropy."
    ),
    "differences": (
        "Pairs of models by evaluate.metric. value: by how much model is better than other. ci_low"
        " and ci_high: its interval; every bootstrap draws the same users for both. p: of Fisher's"
        " randomisation test. p_holm: p corrected for all pairs of the part. shown: whether p_holm"
        " is at most 0.05."
    ),
}
"""The section `definitions` of metrics.json."""


@dataclass(frozen=True)
class Sample:
    """What the interval of a metric is computed from.

    Args:
        by_group: (T, G) the T sums that the metric needs, over the users of each of G groups.
        value: computes the metric from such sums (T, ...); not finite where it has no value.
    """

    by_group: GroupSums
    value: Callable[[FloatArray], FloatArray]

    @property
    def groups(self) -> NDArray[np.int64]:
        return self.by_group.groups

    @property
    def sums(self) -> FloatArray:
        return self.by_group.sums


@dataclass(frozen=True)
class MetricRow:
    """One row of metrics.json.

    Args:
        model: the name of the model.
        metric: a key of `DEFINITIONS`.
        k: the length of lists; None for a rating metric.
        value: of the metric; always finite.
        users: how many users it rests on (see `DEFINITIONS["users"]`).
        rows: how many rows it rests on (see `DEFINITIONS["rows"]`).
        split: the held-out part: `validation`, `test`, or either with `_common`.
        fold: of k-fold, else None.
        ci_low: lower end of the confidence interval, where there is one.
        ci_high: upper end.
        sample: what the interval is computed from; metrics.json does not have it.
    """

    model: str
    metric: str
    k: int | None
    value: float
    users: int
    rows: int
    split: str
    fold: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    sample: Sample | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """`metric@k`, or the metric alone, as `evaluate.metric` is written."""
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def as_dict(self) -> dict[str, Any]:
        """The row as metrics.json has it."""
        order = ("model", "metric", "k", "value", "ci_low", "ci_high", "users", "rows", "split")
        return {key: getattr(self, key) for key in (*order, "fold")}


def mean_of(sums: FloatArray) -> FloatArray:
    """The mean, from the sum of values and their number: `Sample.value` of ranking metrics."""
    mean: FloatArray = sums[0] / sums[1]
    return mean


def document(
    rows: Iterable[MetricRow],
    *,
    differences: Iterable[Mapping[str, Any]] = (),
    failed: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The whole of metrics.json.

    Args:
        rows: of all models and parts.
        differences: of pairs of models, as `Difference.as_dict` has them.
        failed: the model and the error of each model that could not be fitted.
    """
    return {
        "definitions": dict(DEFINITIONS),
        "rows": [row.as_dict() for row in rows],
        "differences": [dict(pair) for pair in differences],
        "failed": [dict(entry) for entry in failed],
    }


def listed(names: Sequence[str]) -> str:
    """`a, b and c`, of at least one name."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def rounded(value: float) -> float:
    """The value to 12 decimals; further digits depend on the order in which sums were added."""
    return round(value, 12)
