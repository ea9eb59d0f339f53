"""What the numbers of a table of interactions mean: ratings on a scale, or strengths of likings.

Nothing here reads a source: every conclusion is drawn from how often each value occurs, so that it
can be tried on a dictionary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from recpipe.sections import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

Feedback = Literal["explicit", "implicit"]
Times = Literal["some", "one_instant", "none"]
"""What the instants of all ratings are: several, one for all, or none."""

ON_STEP = 1e-6
"""How far from a step of the scale a rating may be: steps such as 0.1 are no binary fractions."""

_LIKED_FROM = 0.75
_MAX_OUTLIERS = 0.01
"""Share of values off an otherwise plain scale that are taken for faults."""
_FEW_ROWS = 100
"""Rows below which the ends of a scale may not have occurred yet."""
_TOP_SHARE = 0.01
_UPPER_SHARE = 0.05
"""Share of ratings in the upper half of a scale below which it is the tail of counts."""
_LOW_MEDIAN = 0.15
"""Place of the median between lowest and highest below which values have a long tail."""
_MOSTLY_ONCE = 0.5
_PERCENT = 100
_MAX_DECIMALS = 3
_MAX_STANDARD = 10


class Scale(Section):
    """The ratings that are valid: from `min` to `max` in steps."""

    min: float = 0.5
    """The lowest rating."""
    max: float = 5.0
    """The highest rating."""
    step: float | None = Field(0.5, gt=0)
    """The distance of two neighbouring ratings; null: any number between the two is a rating."""

    @model_validator(mode="after")
    def _consistent(self) -> Scale:
        if self.min > self.max:
            raise ValueError("min must not exceed max")
        return self

    def holds(self, value: float) -> bool:
        """Whether a number is on the scale."""
        if not self.min <= value <= self.max:
            return False
        if self.step is None:
            return True
        steps = (value - self.min) / self.step
        return abs(steps - round(steps)) < ON_STEP

    def liked_from(self) -> float:
        """The lowest rating of the top quarter: 4 of 1..5, 8 of 1..10, 75 of 0..100, 1 of -1/1."""
        quarter = self.min + _LIKED_FROM * (self.max - self.min)
        if self.step is None:
            return quarter
        steps = math.ceil((quarter - self.min) / self.step - ON_STEP)
        return min(round(self.min + steps * self.step, 9), self.max)

    def __str__(self) -> str:
        steps = "" if self.step is None else f" in steps of {self.step:g}"
        return f"{self.min:g} to {self.max:g}{steps}"


@dataclass(frozen=True)
class Meaning:
    """What the values of a table mean.

    Args:
        feedback: whether they are ratings or strengths of likings.
        scale: the valid ratings; None with implicit feedback.
        reason: why, in words.
    """

    feedback: Feedback
    scale: Scale | None
    reason: str


def meaning_of(  # noqa: PLR0911 - one return for each conclusion, in their order
    values: Mapping[float, int],
    *,
    feedback: Literal["auto", "explicit", "implicit"] = "auto",
    release: Scale | None = None,
    counts_by_name: bool = False,
) -> Meaning:
    """What values mean, told from how often each occurs.

    Ratings are few values between two ends, and the upper half of the scale is used: people rate
    what they chose. Counts (of plays, of purchases, of hours) begin at the least value and have a
    long tail, whose end is a matter of chance. A few values off an otherwise plain scale are
    faults, unless they go on where the scale ends, as a tail does.

    Args:
        values: how often each finite value occurs; those that mean "not rated" are not among them.
        feedback: what the settings say.
        release: the scale of the release that the source looks like; kept if the values fit.
        counts_by_name: whether the column's name says that it counts or measures something.
    """
    if feedback == "implicit":
        return Meaning("implicit", None, "by the settings")
    explicit = feedback == "explicit"
    if not values:
        return Meaning("explicit", release or Scale(), "no value was seen")
    if not explicit and len(values) == 1:
        return Meaning("implicit", None, f"all values are {next(iter(values)):g}")
    if not explicit and counts_by_name:
        return Meaning("implicit", None, "the name of the column says that it counts")
    if release is not None and _share_on(release, values) >= 1 - _MAX_OUTLIERS:
        return Meaning("explicit", release, "the scale of the release")
    if not explicit and _decays(values):
        return Meaning("implicit", None, "the values are counts: the more, the rarer")
    standard = _standard(values)
    if standard is not None:
        return Meaning("explicit", standard, "the values are on this scale")
    cleaned = _without_outliers(values)
    if cleaned is not None:
        return Meaning("explicit", cleaned, "all but a few values are on this scale")
    if not explicit and _long_tailed(values):
        return Meaning("implicit", None, "the values are counts: a long tail up to the highest")
    return Meaning("explicit", _observed(values), "lowest, highest and step of the values")


def _share_on(scale: Scale, values: Mapping[float, int]) -> float:
    return sum(n for v, n in values.items() if scale.holds(v)) / sum(values.values())


def _standard(values: Mapping[float, int]) -> Scale | None:
    """The usual scale of stars or points that holds all values: up to 10, by 1 or by 0.5.

    Of the usual scales the ends are known even if nobody gave the lowest; a scale that ends
    elsewhere, such as 1 to 4, is believed only when there are enough ratings.
    """
    low, high = min(values), max(values)
    if low < 0 or high > _MAX_STANDARD or high <= 0:
        return Scale(min=-1, max=1, step=2) if set(values) == {-1, 1} else None
    if {v % 1 for v in values} <= {0}:
        step = 1.0
    elif {v * 2 % 1 for v in values} <= {0}:
        step = 0.5
    else:
        return None
    if set(values) == {0, 1}:
        return Scale(min=0, max=1, step=1)
    least = 0.0 if low == 0 else step
    few = sum(values.values()) < _FEW_ROWS
    used = values[high] >= _TOP_SHARE * sum(values.values())
    for end in (5, _MAX_STANDARD):
        if (high == end and (used or end < _MAX_STANDARD)) or (few and high < end):
            return Scale(min=least, max=end, step=step)
    return Scale(min=low, max=high, step=step) if used else None


def _without_outliers(values: Mapping[float, int]) -> Scale | None:
    """A usual scale that holds all values but a few, and whose highest rating is in use."""
    total = sum(values.values())
    for low, high, step in ((1, 5, 1), (0.5, 5, 0.5), (1, 10, 1), (0, 10, 1), (0, 10, 0.5)):
        scale = Scale(min=low, max=high, step=step)
        goes_on = high + step in values and high + 2 * step in values
        used = values.get(high, 0) >= _TOP_SHARE * total
        if _share_on(scale, values) >= 1 - _MAX_OUTLIERS and used and not goes_on:
            return scale
    return None


def _decays(values: Mapping[float, int]) -> bool:
    """Whether whole numbers from 0 or 1 upwards become rarer all the way, half of them the least.

    Ratings never do; where they are few, they may by chance.
    """
    total = sum(values.values())
    ordered = sorted(values)
    if total < _FEW_ROWS or len(ordered) < 4 or ordered[0] not in {0, 1}:  # noqa: PLR2004 - of three values nothing can be told
        return False
    if any(v % 1 for v in ordered) or values[ordered[0]] < _MOSTLY_ONCE * total:
        return False
    first = [values[v] for v in ordered[:5]]
    rare_end = values[ordered[-1]] < _TOP_SHARE * total
    return rare_end and all(a > b for a, b in pairwise(first))


def _long_tailed(values: Mapping[float, int]) -> bool:
    low, high, total = min(values), max(values), sum(values.values())
    if low < 0:
        return False
    middle = low + (high - low) / 2
    upper = sum(n for v, n in values.items() if v >= middle) / total
    if high > _PERCENT:
        # Nobody counts on a scale whose highest rating nobody gives.
        given = values[high]
        if given < 2 or given < _TOP_SHARE * total:  # noqa: PLR2004 - twice is no chance
            return True
    return upper < _UPPER_SHARE or (_median(values) - low) < _LOW_MEDIAN * (high - low)


def _median(values: Mapping[float, int]) -> float:
    total, below = sum(values.values()), 0
    for value in sorted(values):
        below += values[value]
        if 2 * below >= total:
            return value
    raise ValueError("no values")


def _observed(values: Mapping[float, int]) -> Scale:
    low, high = min(values), max(values)
    step = _step(sorted(values))
    if step is not None:
        stepped = Scale(min=round(low, _MAX_DECIMALS), max=round(high, _MAX_DECIMALS), step=step)
        if all(stepped.holds(value) for value in values):
            return stepped
    return Scale(min=low, max=high, step=None)


def _step(values: list[float]) -> float | None:
    """The greatest step that leads to every value from the least; None beyond three decimals."""
    for decimals in range(_MAX_DECIMALS + 1):
        factor = 10**decimals
        scaled = [value * factor for value in values]
        if all(abs(value - round(value)) < ON_STEP * factor for value in scaled):
            steps = math.gcd(*(round(b) - round(a) for a, b in pairwise(scaled)))
            return steps / factor if steps else 1.0
    return None


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
