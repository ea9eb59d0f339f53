"""The rows of metrics.json and the words that define them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COMMON = "_common"
"""Ends the name of a split that holds only the pairs that every rating model predicts."""

DEFINITIONS: dict[str, str] = {
    "relevant": (
        "A held-out item rated at or above evaluate.relevance_threshold; under leave_one_out and"
        " last_n, and by default with implicit feedback, every held-out item."
    ),
    "users": (
        "Ranking metrics: every user of the split with at least one relevant item; one with no"
        " list scores 0. Rating metrics: the users of the pairs in `rows`."
    ),
    "rows": "Ranking metrics: the relevant items. Rating metrics: the pairs predicted.",
    "split": (
        "The held-out part. A name that ends in _common is over the pairs that every model that"
        " predicts ratings predicts, so that those models compare."
    ),
    **{name: metric.definition for name, metric in METRICS.items()},
    "mean": "The value of a ranking metric is its mean over users, each with the same weight.",
}
"""What metrics.json says of its numbers."""


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

    @property
    def name(self) -> str:
        """`metric@k`, or the metric alone: what `evaluate.metric` writes."""
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def as_dict(self) -> dict[str, Any]:
        """The row as metrics.json has it."""
        row = asdict(self)
        order = ("model", "metric", "k", "value", "ci_low", "ci_high", "users", "rows", "split")
        return {key: row[key] for key in (*order, "fold")}


def document(
    rows: Iterable[MetricRow], *, failed: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """The whole of metrics.json.

    Args:
        rows: the numbers.
        failed: models that could not be fitted, and so have none: model and error of each.
    """
    return {
        "definitions": dict(DEFINITIONS),
        "rows": [row.as_dict() for row in rows],
        "failed": [dict(entry) for entry in failed],
    }


def rounded(value: float) -> float:
    """The value rounded to 12 decimals: more digits depend on how users fall into buckets."""
    return round(value, 12)
