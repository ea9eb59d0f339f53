"""The scale on which stochastic gradient descent learns, whatever that of the ratings.

Steps and penalties are in units of ratings: settings that learn well on stars from 0.5 to 5 diverge
on points from 0 to 100. So ratings are brought to 0.5 to 5 before, and factors back after the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels.weighed import WEIGHED, with_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.feedback import Scale

LOWEST, HIGHEST = 0.5, 5.0
"""The scale of learning."""


@dataclass(frozen=True)
class Units:
    """A rating r is learned as (r - lowest) / size + LOWEST.

    Args:
        lowest: rating.
        size: of a unit of learning, in ratings.
    """

    lowest: float = LOWEST
    size: float = 1.0

    @classmethod
    def of(cls, scale: Scale | None) -> Units:
        """The units of a scale; without one, or one of a single rating, ratings as they are."""
        return cls.between(None if scale is None else (scale.min, scale.max))

    @classmethod
    def between(cls, bounds: tuple[float, float] | None) -> Units:
        """The units of a scale with these ends."""
        if bounds is None or bounds[1] <= bounds[0]:
            return PLAIN
        return cls(bounds[0], (bounds[1] - bounds[0]) / (HIGHEST - LOWEST))

    @property
    def plain(self) -> bool:
        """Whether ratings are learned as they are."""
        return self.size == 1 and self.lowest == LOWEST

    def learned(self, ratings: NDArray[Any]) -> NDArray[Any]:
        """Ratings as they are learned, of either kind of `kernels.weighed`."""
        if self.plain:
            return ratings
        if ratings.dtype == WEIGHED:
            return with_weights(self.learned(ratings["rating"]), ratings["weight"])
        return ((ratings - np.float32(self.lowest)) / np.float32(self.size)) + np.float32(LOWEST)

    def bounds(self, half_step: float) -> tuple[float, float]:
        """The ends of the scale as they are learned, each that far (in ratings) beyond."""
        beyond = half_step / self.size
        return LOWEST - beyond, HIGHEST + beyond

    def mean(self, learned: float) -> float:
        """A learned rating on the scale of the ratings."""
        return learned if self.plain else (learned - LOWEST) * self.size + self.lowest


PLAIN = Units()
"""Ratings as they are."""

__all__ = ["HIGHEST", "LOWEST", "PLAIN", "Units"]
