"""The section `evaluate`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from recpipe.evaluation.metrics import METRICS, metric_at
from recpipe.feedback import LikedFrom
from recpipe.sections import Many, Section


class Evaluate(Section):
    """How models are evaluated."""

    ks: Many[int] = (5, 10, 20)
    """The cut-offs k of metrics of lists: each is computed from the first k places."""
    relevance_threshold: LikedFrom = "auto"
    """The lowest rating that makes a held-out item relevant. auto: the top quarter of the scale,
    such as 4 of 1 to 5 or 8 of 1 to 10; with implicit feedback every held-out item is relevant."""
    exclude: Literal["train+validation", "train"] = "train+validation"
    """Which items the lists that are evaluated on test leave out: what the user rated in train and
    validation, or in train alone, as some papers do. Lists that are evaluated on validation leave
    out what the user rated in train."""
    metric: str = "ndcg@10"
    """The metric by which `publish.model = auto` chooses a model on validation: one of lists at one
    of `ks`, such as ndcg@10, or one of predicted ratings, such as rmse."""

    @model_validator(mode="after")
    def _consistent(self) -> Evaluate:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) != len(self.ks):
            raise ValueError("ks must be distinct numbers from 1")
        metric, k = metric_at(self.metric)
        if not metric.selectable:
            others = ", ".join(m.name for m in METRICS.values() if m.selectable)
            raise ValueError(f"metric: models cannot be chosen by {metric.name}, only by {others}")
        if k is not None and k not in self.ks:
            raise ValueError(f"metric = {self.metric}: {k} is not one of ks = {list(self.ks)}")
        return self
