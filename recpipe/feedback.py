"""What the numbers of a table of interactions mean."""

from __future__ import annotations

from pydantic import Field, model_validator

from recpipe.sections import Section


class Scale(Section):
    """The ratings that are valid: from `min` to `max` in steps."""

    min: float = 0.5
    """The lowest rating."""
    max: float = 5.0
    """The highest rating."""
    step: float = Field(0.5, gt=0)
    """The distance of two neighbouring ratings."""

    @model_validator(mode="after")
    def _consistent(self) -> Scale:
        if self.min > self.max:
            raise ValueError("min must not exceed max")
        return self
