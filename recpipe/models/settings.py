"""The section `train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from recpipe.sections import Many, Section


class Train(Section):
    """Which models are fitted."""

    models: Many[str] = (
        "popularity", "biases", "block_als", "block_als_implicit", "sgd",
    )  # fmt: skip
    """The models, in the order of their fits; at least one."""
    fallback_for: Many[str] = ("als_explicit", "als_implicit")
    """Models in whose place `sgd` is fitted if they fail, and published if they were to be."""
    on_failure: Literal["continue", "stop"] = "continue"
    """What follows when a model cannot be fitted. continue: it is named as failed, and the run goes
    on with the others, unless none is left or `publish.model` names it. stop: the run ends, unless
    the model is in `fallback_for`."""

    half_life: float | None = Field(None, gt=0)
    """Days after which a rating weighs half: 2^(-age / half_life), of its age at the instant that
    lists are asked for. null: all ratings weigh the same. als_explicit, nmf, item_knn and user_knn
    cannot weigh ratings, and are refused."""

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if not self.models or len(set(self.models)) != len(self.models):
            raise ValueError("models must be at least one, each once")
        return self
