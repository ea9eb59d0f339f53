"""An A/B test that never took place: replayed from two models' lists by a model of clicks.

Position-based model (Craswell et al., An experimental comparison of click position-bias models,
2008) with examination probability (1 / r)^bias (Joachims, Swaminathan and Schnabel, Unbiased
learning-to-rank with biased feedback, 2017): the item at rank r is examined with that probability,
and an examined item is clicked with one probability if it is relevant (the user rated it well in
test) and another, small one if not. A visit succeeds if anything is clicked. Each user visits once
and sees the list of one of both models, by the toss of a coin.

What this can say is how large a test would have to be to show the difference that held-out ratings
show. It cannot say what people would do: they react to what is new to them, come back, and click
what nobody has rated. Whatever comes of it is a simulation and says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import asin, ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.evaluation.rows import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

ASSUMPTIONS = (
    "a place r of a list is looked at with chance (1 / r)^{bias:g}",
    (
        "an item that the person rated well on the test part is clicked with chance {relevant:g}"
        " once it is looked at, any other with chance {other:g}"
    ),
    (
        "each user visits once, sees the list of one of both models by the toss of a coin, and a"
        " visit succeeds if anything is clicked"
    ),
    (
        "every visitor has at least one relevant item in test; real visitors often have none, so a"
        " real test needs more users"
    ),
)

_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class ClickModel:
    """How people click.

    Args:
        bias: how fast attention falls with the place; 0: all places are looked at.
        relevant: the chance that a relevant item is clicked once it is looked at.
        other: the same of any other item.
    """

    bias: float = 1.0
    relevant: float = 0.6
    other: float = 0.02

    @property
    def assumptions(self) -> list[str]:
        """What is taken for granted, in sentences without their full stop."""
        return [text.format(**asdict(self)) for text in ASSUMPTIONS]

    def success(self, hits: NDArray[np.bool_], shown: NDArray[np.bool_]) -> FloatArray:
        """(U,) the chance that a visit succeeds.

        Args:
            hits: (R, U) whether the item at rank r + 1 is relevant.
            shown: (R, U) whether there is one.
        """
        looked_at = np.arange(1.0, len(hits) + 1)[:, None] ** -self.bias
        clicked = looked_at * np.where(hits, self.relevant, self.other) * shown
        chance: FloatArray = 1 - np.prod(1 - clicked, axis=0)
        return chance


@dataclass(frozen=True)
class Simulated:
    """What the replays come to.

    Args:
        users: who visit.
        rates: the chance that a visit succeeds, under each model, over all users.
        lift: how much higher that of the second is, as a share of that of the first; None where
            that of the first is 0.
        lift_low: of 95 % of the replays the lowest lift that was measured; None where none was,
            since no visit under the first succeeded.
        lift_high: and the highest.
        power: the share of replays in which a test of proportions shows a difference.
        needed: users for each model at which it would be shown in 80 of 100 tests; None where the
            rates are equal to 12 decimals.
        replays: how many there were.
    """

    users: int
    rates: tuple[float, float]
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    power: float
    needed: int | None
    replays: int

    def as_dict(self) -> dict[str, Any]:
        return {"simulation": True, **asdict(self), "rates": list(self.rates)}


def replay(
    one: FloatArray, other: FloatArray, *, seed: int, replays: int = 1000, level: float = 0.05
) -> Simulated:
    """Replay the test many times, each with other coins and other clicks.

    Args:
        one: (U,) the chance of success of each user under the first model.
        other: (U,) under the second.
        seed: of coins and clicks.
        replays: how often.
        level: of the test.
    """
    from scipy.special import ndtri

    random = np.random.default_rng(seed)
    users = len(one)
    # Rounded first: rates that differ by the order of their sums alone are equal.
    rates = rounded(float(one.mean())), rounded(float(other.mean()))
    step = max(1, _AT_ONCE // max(1, users))
    lifts, shown = [], 0
    critical = float(ndtri(1 - level / 2))
    for start in range(0, replays, step):
        some = min(step, replays - start)
        second = random.random((some, users)) < 0.5  # noqa: PLR2004 - a coin
        clicks = random.random((some, users)) < np.where(second, other, one)
        n = np.stack([(~second).sum(axis=1), second.sum(axis=1)])
        wins = np.stack([(clicks & ~second).sum(axis=1), (clicks & second).sum(axis=1)])
        with np.errstate(invalid="ignore", divide="ignore"):
            p = wins / n
            pooled = wins.sum(axis=0) / users
            z = (p[1] - p[0]) / np.sqrt(pooled * (1 - pooled) * (1 / n).sum(axis=0))
            lifts.append(p[1] / p[0] - 1)
        shown += int(np.count_nonzero(np.abs(np.nan_to_num(z)) > critical))
    measured = np.concatenate(lifts)
    measured = measured[np.isfinite(measured)]
    ends = np.quantile(measured, [0.025, 0.975]) if len(measured) else None
    return Simulated(
        users,
        rates,
        rounded(rates[1] / rates[0] - 1) if rates[0] else None,
        None if ends is None else rounded(float(ends[0])),
        None if ends is None else rounded(float(ends[1])),
        rounded(shown / replays),
        None if rates[0] == rates[1] else sample_size(*rates, level=level),
        replays,
    )


def sample_size(one: float, other: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Users for each of two models at which a difference of two rates is shown with that power.

    By Cohen's h (Statistical Power Analysis, 1988), both sides: the least n with
    Phi(|h| sqrt(n / 2) - z) + Phi(-|h| sqrt(n / 2) - z) at least `power`.

    Args:
        one: a rate between 0 and 1.
        other: another.
        power: the share of tests in which the difference is to be shown.
        level: of the test.

    Raises:
        ValueError: if the rates are equal, or none between 0 and 1.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    if not (0 <= one <= 1 and 0 <= other <= 1) or one == other:
        raise ValueError(f"rates must differ and lie between 0 and 1, not {one} and {other}")
    h = abs(2 * asin(sqrt(other)) - 2 * asin(sqrt(one)))
    critical = ndtri(1 - level / 2)

    def lacking(n: float) -> float:
        shift = h * sqrt(n / 2)
        return float(ndtr(shift - critical) + ndtr(-shift - critical) - power)

    # One side alone needs a little more, so twice that is above the root.
    least = 2 * ((critical + ndtri(power)) / h) ** 2
    return ceil(float(brentq(lacking, 1e-9, 2 * least)))


__all__ = ["ClickModel", "Simulated", "replay", "sample_size"]
