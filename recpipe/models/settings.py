"""The section `train`."""

from __future__ import annotations

from pydantic import model_validator

from recpipe.sections import Many, Section


class Train(Section):
    """Which models are fitted."""

    models: Many[str] = ("popularity", "biases", "als_explicit", "als_implicit", "sgd")
    """The models, in the order of their fits; at least one."""
    fallback_for: Many[str] = ("als_explicit", "als_implicit")
    """Models whose failure does not end the run: `sgd` takes their place."""

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if not self.models or len(set(self.models)) != len(self.models):
            raise ValueError("models must be at least one, each once")
        return self
