"""What the numbers of a table of interactions mean."""

from __future__ import annotations

from typing import Literal

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

    def liked_from(self) -> float:
        """The lowest rating of the top quarter: 4 of 1..5, 8 of 1..10, 75 of 0..100, 1 of -1/1."""
        return self.max - 0.25 * (self.max - self.min)


Times = Literal["some", "one_instant", "none"]
"""What the instants of all ratings are: several, one for all, or none."""

LikedFrom = float | Literal["auto"]
"""The lowest rating that counts as liked; auto: the top quarter of the scale, and every row of
implicit feedback."""


def liked_from(setting: LikedFrom, scale: Scale | None) -> float | None:
    """The lowest rating that counts as liked; None where every row is a liking.

    Args:
        setting: what the settings say.
        scale: of explicit ratings; None for implicit feedback.
    """
    if setting != "auto":
        return setting
    return None if scale is None else scale.liked_from()
