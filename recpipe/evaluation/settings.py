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
    """Lengths of lists at which their metrics are computed."""
    relevance_threshold: LikedFrom = "auto"
    """The lowest rating that counts as relevant; auto: the top quarter of the scale, such as 4 of 1
    to 5 or 8 of 1 to 10, or every row of implicit feedback."""
    exclude: Literal["train+validation", "train"] = "train+validation"
    """Whose items are no candidates in the lists that are evaluated on test: those that the user
    rated in train and in validation, or in train alone, as some papers have it. Lists that are
    evaluated on validation leave out train."""
    metric: str = "ndcg@10"
    """What `publish.model = auto` chooses by, on validation: a metric of lists at one
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
