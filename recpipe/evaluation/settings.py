"""The section `evaluate`."""

from __future__ import annotations

from pydantic import model_validator

from recpipe.feedback import LikedFrom
from recpipe.sections import Many, Section


class Evaluate(Section):
    """How models are judged."""

    ks: Many[int] = (5, 10, 20)
    """Lengths at which lists are judged."""
    relevance_threshold: LikedFrom = "auto"
    """The lowest rating that counts as relevant; auto: the top quarter of the scale, such as 4 of 1
    to 5 or 8 of 1 to 10. With implicit feedback every row is relevant."""
    metric: str = "ndcg@10"
    """What `publish.model = auto` chooses by, on validation: `name@k`, or `rmse` or `mae`."""

    @model_validator(mode="after")
    def _consistent(self) -> Evaluate:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) != len(self.ks):
            raise ValueError("ks must be distinct numbers from 1")
        name, _, k = self.metric.partition("@")
        ranking = {"precision", "recall", "ndcg", "map", "mrr", "hit_rate"}
        if name in ranking and k.isdecimal() and int(k) in self.ks:
            return self
        if self.metric in {"rmse", "mae"}:
            return self
        raise ValueError(f"metric must be rmse, mae or one of {sorted(ranking)} at one of ks")
