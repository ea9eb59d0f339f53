"""The rows of metrics.json and the words that define them."""

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
"""Ends the name of a split that holds only the pairs that every rating model predicts."""

DEFINITIONS: dict[str, str] = {
    "relevant": (
        "A held-out item rated at or above evaluate.relevance_threshold; under leave_one_out and"
        " last_n, and by default with implicit feedback, every held-out item."
    ),
    "users": (
        "Metrics of lists: every user of the split with at least one relevant item; one with no"
        " list scores 0, or does not count where there is nothing to average. Rating metrics: the"
        " users of the pairs in `rows`."
    ),
    "rows": (
        "Metrics of each user's list: the relevant items. Coverage, Gini and entropy: the places."
        " Rating metrics: the pairs predicted."
    ),
    "split": (
        "The held-out part. A name that ends in _common is over the pairs that every model that"
        " predicts ratings predicts, so that those models compare."
    ),
    **{name: metric.definition for name, metric in METRICS.items()},
    "mean": "The value of a metric of lists is its mean over users, each with the same weight.",
    "ci_low, ci_high": (
        "A 95 % interval: the percentile bootstrap over users, widened for few of them; null where"
        " fewer than two users are there, and of coverage, Gini and entropy, which have none."
    ),
    "differences": (
        "Pairs of models by evaluate.metric: value is by how much model is better than other, with"
        " an interval over users of which both are drawn together; p is of Fisher's randomisation,"
        " p_holm corrected for all pairs of the part; shown: p_holm is at most 0.05."
    ),
}
"""What metrics.json says of its numbers."""


@dataclass(frozen=True)
class Sample:
    """What an interval of a number is made from.

    Args:
        by_group: (T, G) sums over the users of each group.
        value: the number, of sums (T, ...); not finite where there is none.
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
    """One number of metrics.json.

    Args:
        model: which one it is of.
        metric: a key of `DEFINITIONS`.
        k: places of the list; None for a rating metric.
        value: the number; always finite.
        users: the users that it rests on.
        rows: the pairs that it rests on (see `DEFINITIONS["rows"]`).
        split: the held-out part: `validation`, `test`, or either with `_common`.
        fold: of k-fold, else None.
        ci_low: lower end of the confidence interval, where there is one.
        ci_high: upper end.
        sample: what the interval is made from; not a part of metrics.json.
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
        """`metric@k`, or the metric alone: what `evaluate.metric` writes."""
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def as_dict(self) -> dict[str, Any]:
        """The row as metrics.json has it."""
        order = ("model", "metric", "k", "value", "ci_low", "ci_high", "users", "rows", "split")
        return {key: getattr(self, key) for key in (*order, "fold")}


def mean_of(sums: FloatArray) -> FloatArray:
    """Of the sums of values and of how many there are, the mean: `Sample.value` of many metrics."""
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
        rows: the numbers.
        differences: what is to be said of pairs of models.
        failed: models that could not be fitted, and so have none: model and error of each.
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
    """The value rounded to 12 decimals: more digits depend on how users fall into buckets."""
    return round(value, 12)
