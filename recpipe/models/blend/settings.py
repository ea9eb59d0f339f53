"""The section `blend`."""

from __future__ import annotations

from pydantic import Field, model_validator

from recpipe.feedback import LikedFrom
from recpipe.sections import Many, Section


class BlendSettings(Section):
    """A weighted sum of the scores of other models, its weights found on validation."""

    models: Many[str] = ()
    """The models whose scores are added; empty: every other model of `train.models` that
    `publish.model = auto` may choose."""
    weights: dict[str, float] = Field({})
    """The weight of each model; empty: found on validation."""
    k: int = Field(10, ge=1)
    """The weights are those that reach the best NDCG within so many places."""
    steps: int = Field(20, ge=1)
    """Equal shares that the weights are made of."""
    folds: int = Field(5, ge=2)
    """Into how many folds the validation users fall: the weights are the mean of those that are
    found without each of them, and are evaluated on the users who were left out."""
    max_users: int = Field(5000, ge=1)
    """Validation users on whom the weights are found; of more, as many are drawn by the seed."""
    preference_from: LikedFrom = "auto"
    """Validation ratings at or above it are relevant; auto: the top quarter of the scale, or
    every row of implicit feedback."""

    @model_validator(mode="after")
    def _consistent(self) -> BlendSettings:
        if self.weights and (min(self.weights.values()) < 0 or not any(self.weights.values())):
            raise ValueError("weights must not be negative, and one of them must be above 0")
        if self.weights and self.models and not set(self.weights) <= set(self.models):
            raise ValueError("weights must be of models in `models`")
        return self
