"""Every metric. To add one, write `<name>.py` with its `METRIC` here, and add its name to `NAMES`.

Settings, metrics.json, the choice of a model, the tables and the report derive from these.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics.base import ExposureMetric, Metric, RankingMetric, RatingMetric

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = (
    "rmse",
    "mae",
    "macro_rmse",
    "macro_mae",
    "r2",
    "explained_variance",
    "prediction_coverage",
    "precision",
    "recall",
    "ndcg",
    "map",
    "mrr",
    "hit_rate",
    "r_precision",
    "rbp",
    "auc",
    "serendipity",
    "novelty",
    "average_popularity",
    "long_tail",
    "genre_diversity",
    "factor_diversity",
    "users_served",
    "cold_items",
    "coverage",
    "gini",
    "entropy",
)
"""The metrics, in the order in which they are shown."""

METRICS: Mapping[str, Metric] = {name: import_module(f"{__name__}.{name}").METRIC for name in NAMES}
"""Every metric by its name."""

RATING = tuple(metric for metric in METRICS.values() if isinstance(metric, RatingMetric))
"""Those that need predictions."""

RANKING = tuple(metric for metric in METRICS.values() if isinstance(metric, RankingMetric))
"""Those of each user's list; they have a cut-off."""

EXPOSURE = tuple(metric for metric in METRICS.values() if isinstance(metric, ExposureMetric))
"""Those of all lists together; they have a cut-off."""


def metric_at(criterion: str) -> tuple[Metric, int | None]:
    """The metric and the cut-off of `ndcg@10`, or the metric of `rmse` and no cut-off.

    Raises:
        ValueError: if there is no such metric, or it has a cut-off too many or too few.
    """
    name, at, k = criterion.partition("@")
    metric = METRICS.get(name)
    if metric is None:
        raise ValueError(f"there is no metric {name!r}; the metrics are {', '.join(NAMES)}")
    if isinstance(metric, RankingMetric | ExposureMetric):
        # Names are compared as text: ndcg@010 is no name.
        if not k.isdecimal() or int(k) < 1 or str(int(k)) != k:
            raise ValueError(f"{name} needs the length of lists, as in {name}@10")
        return metric, int(k)
    if at:
        raise ValueError(f"{name} has no length of lists: write {name}")
    return metric, None


def label_of(criterion: str) -> str:
    """`ndcg@10` as `NDCG@10`; a metric that is not known as it is."""
    name, at, k = criterion.partition("@")
    return (METRICS[name].label if name in METRICS else name) + at + k


__all__ = ["EXPOSURE", "METRICS", "NAMES", "RANKING", "RATING", "Metric", "label_of", "metric_at"]
