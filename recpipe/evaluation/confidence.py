"""How sure a number is, and a difference of two: bootstrap and randomisation over users.

A metric is a function of sums over users. Spark makes the sums once, for each user or, where there
are many, for each of about a thousand groups of users (`kernels.groups`); what is drawn here is
users or groups, and each draw costs a product of matrices, not a pass over the data.

- Intervals: the percentile bootstrap (Efron 1979), with percentiles widened for few users as
  Hesterberg (What teachers should know about the bootstrap, 2015, section 3.4) has them: the share
  a / 2 becomes Phi(-sqrt(n / (n - 1)) t(a / 2, n - 1)). Both of a pair of models are drawn with
  the same users, so that what makes a user hard for both does not widen their difference.
- Tests: Fisher's randomisation (Smucker, Allan and Carterette 2007). If two models are alike, which
  of them made a user's value is chance: labels are swapped user by user, or group by group above
  4,096 users, and p is the share of swaps, with the one at hand, whose difference is at least as
  large.
- Many pairs: Holm's correction (1979).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.rows import COMMON, rounded
from recpipe.kernels.groups import aligned, in_same_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from recpipe.evaluation.rows import MetricRow, Sample
    from recpipe.kernels.groups import GroupSums

    FloatArray = NDArray[np.float64]

    Key = tuple[str, int | None]
    """A model and a fold."""

LEVEL = 0.95
"""Of every interval; what differs at 1 - LEVEL is called different."""

DRAWS = 2000
"""Bootstrap resamples of an interval, and the least number of swaps of a test. A test draws 100
swaps for each pair of models, or Holm's correction could never fall below 0.05."""

_SWAPS_OF_A_PAIR = 100

_AT_ONCE = 1 << 20
"""Numbers of a matrix of draws."""


class Interval(NamedTuple):
    """Of a number; both None where fewer than two users are there to be drawn."""

    low: float | None
    high: float | None


NONE = Interval(None, None)


@dataclass(frozen=True)
class Difference:
    """What is to be said of two models by one metric on one part.

    Args:
        metric: such as `ndcg@10`.
        split: the part; errors of predicted ratings over common pairs.
        model: one of the two.
        other: the other.
        value: by how much `model` is better: above 0 where it is, whatever the metric's direction.
        ci_low: lower end of its interval.
        ci_high: upper end.
        p: of Fisher's randomisation, both sides; None where there is no interval.
        p_holm: `p` corrected for all pairs of models of the metric and the part.
        users: that both are evaluated on; with folds those of the largest: at least so many stand
            behind the number.
    """

    metric: str
    split: str
    model: str
    other: str
    value: float
    ci_low: float | None
    ci_high: float | None
    users: int
    p: float | None = None
    p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the corrected p is at most 0.05: it is what tables of all pairs go by."""
        return self.p_holm is not None and self.p_holm <= 1 - LEVEL

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out 0: it is what a choice goes by, and is not corrected."""
        return (
            self.ci_low is not None
            and self.ci_high is not None
            and (self.ci_low > 0 or self.ci_high < 0)
        )

    def turned(self) -> Difference:
        """The same, seen from the other model."""
        low, high = self.ci_high, self.ci_low
        return replace(
            self,
            model=self.other,
            other=self.model,
            value=-self.value,
            ci_low=None if low is None else -low,
            ci_high=None if high is None else -high,
        )

    def as_dict(self) -> dict[str, Any]:
        """As metrics.json has it."""
        return {**asdict(self), "shown": self.shown}


# -- draws ------------------------------------------------------------------------------------


def bootstrapped(sums: Sequence[FloatArray], *, seed: int, draws: int = DRAWS) -> list[FloatArray]:
    """Bootstrap resamples of the groups: for each input (T, draws) sums.

    Each is over G groups drawn with replacement.

    Args:
        sums: (T, G) each, of the same groups, which are drawn together.
        seed: of the draws.
        draws: how often.
    """
    random = np.random.default_rng(seed)
    groups = sums[0].shape[-1]

    def counts(rows: int) -> FloatArray:
        drawn = random.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        found = np.bincount(drawn.ravel(), minlength=rows * groups)
        return found.reshape(rows, groups).astype(np.float64)

    return _weighted(sums, counts, draws)


@dataclass(frozen=True)
class Swaps:
    """Randomisation: in each draw every group's two models are exchanged with probability 1/2.

    A draw exchanges the same groups in all pairs of models, so that what is drawn is kept for each
    model and not for each pair, of which there are many more.

    Args:
        signed: (T, draws) of each model and fold: the sums over groups, half of each group's added
            where it stays and subtracted where it is exchanged.
        totals: (T, 1) of each: the sums over all groups.
    """

    signed: Mapping[Key, FloatArray]
    totals: Mapping[Key, FloatArray]

    def of(self, one: Key, other: Key) -> tuple[FloatArray, FloatArray]:
        """The two (T, draws) sums of a pair."""
        middle = (self.totals[one] + self.totals[other]) / 2
        half = self.signed[one] - self.signed[other]
        return middle + half, middle - half


def swapped(sums: Mapping[Key, FloatArray], *, seed: int, draws: int = DRAWS) -> Swaps:
    """Exchange the groups of models by a coin.

    Args:
        sums: (T, G) of each model and fold, of the same groups.
        seed: of the coins.
        draws: how often.
    """
    random = np.random.default_rng(seed)
    groups = next(iter(sums.values())).shape[-1]

    def signs(rows: int) -> FloatArray:
        return random.integers(0, 2, (rows, groups)).astype(np.float64) - 0.5

    signed = _weighted(list(sums.values()), signs, draws)
    totals = {key: each.sum(axis=-1)[:, None] for key, each in sums.items()}
    return Swaps(dict(zip(sums, signed, strict=True)), totals)


def _weighted(
    sums: Sequence[FloatArray], weights: Callable[[int], FloatArray], draws: int
) -> list[FloatArray]:
    """`sums` times the weights of each draw, made in batches to bound memory."""
    stacked = np.concatenate(sums)
    step = max(1, _AT_ONCE // max(1, stacked.shape[-1]))
    found = [stacked @ weights(min(step, draws - start)).T for start in range(0, draws, step)]
    ends = np.cumsum([len(each) for each in sums])[:-1]
    return np.split(np.concatenate(found, axis=1), ends)


def interval(draws: FloatArray, groups: int, *, level: float = LEVEL) -> Interval:
    """The interval of what was drawn; draws without a value, as of no pair at all, are left out.

    Args:
        draws: (draws,) values of the metric.
        groups: how many were drawn from.
        level: the share of intervals that hold the truth.
    """
    # A fifth of a second that `--help` and small commands do without.
    from scipy.special import ndtr, stdtrit

    draws = draws[np.isfinite(draws)]
    if groups < 2 or not len(draws):  # noqa: PLR2004 - of one there is no spread
        return NONE
    tail = ndtr(np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 - level) / 2))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(rounded(float(low)), rounded(float(high)))


# -- rows of metrics --------------------------------------------------------------------------


def with_intervals(rows: Sequence[MetricRow], *, seed: int) -> list[MetricRow]:
    """The rows, each with its interval; those without sums over users stay as they are.

    All rows of a part are drawn by user, or all by groups of users, whatever their fold.
    """
    found: dict[int, Interval] = {}
    by_place = _by_part(rows)
    for places in _of_the_same_groups(by_place):
        drawn = bootstrapped([by_place[place].sums for place in places], seed=seed)
        for place, sums in zip(places, drawn, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                values = _sample(rows[place]).value(sums)
            found[place] = interval(values, len(by_place[place].groups))
    return [
        replace(row, ci_low=found[place].low, ci_high=found[place].high) if place in found else row
        for place, row in enumerate(rows)
    ]


def _by_part(rows: Sequence[MetricRow]) -> dict[int, GroupSums]:
    """By the place of each row with a sample, its sums, in the groups of its whole part."""
    parts: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.sample is not None:
            parts[row.split.removesuffix(COMMON)].append(place)
    found: dict[int, GroupSums] = {}
    for places in parts.values():
        sums = in_same_groups(_sample(rows[place]).by_group for place in places)
        found |= zip(places, sums, strict=True)
    return found


def _of_the_same_groups(sums: Mapping[int, GroupSums]) -> Iterator[list[int]]:
    """Places of rows whose sums have the same groups: their draws are made once."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for place, each in sums.items():
        found[each.groups.tobytes()].append(place)
    yield from found.values()


def _sample(row: MetricRow) -> Sample:
    if row.sample is None:
        raise ValueError(f"{row.model}, {row.name}: no sums over users")
    return row.sample


def differences(
    rows: Sequence[MetricRow], *, metric: str, split: str, seed: int, tested: bool = True
) -> list[Difference]:
    """Every pair of models by one metric on one part, the models in the order of the rows.

    With k-fold a model's number is the mean over folds, and a user is drawn with all folds. Errors
    of predicted ratings are compared over the pairs that all models predict.

    Args:
        rows: of all models; others are ignored, and so is a model that lacks a fold.
        metric: such as `ndcg@10`.
        split: the part.
        seed: of draws and swaps.
        tested: whether p is wanted; it costs as much again for each pair.
    """
    by_model = of_models(rows, metric=metric, split=split)
    samples = {
        model: {row.fold: _sample(row) for row in found}
        for model, found in by_model.items()
        if all(row.sample is not None for row in found)
    }
    if len(samples) < 2:  # noqa: PLR2004
        return []
    sign = metric_at(metric)[0].sign
    sums_of_folds = [sample.by_group for of in samples.values() for sample in of.values()]
    groups, moved = aligned(in_same_groups(sums_of_folds))
    keys = [(model, fold) for model, of in samples.items() for fold in of]
    sums = dict(zip(keys, moved, strict=True))
    drawn = dict(zip(keys, bootstrapped(moved, seed=seed), strict=True))
    values = {
        model: _mean(of, {fold: drawn[model, fold] for fold in of}) for model, of in samples.items()
    }
    pairs = []
    for model, other in combinations(samples, 2):
        found, others = by_model[model], by_model[other]
        value = sign * (np.mean([r.value for r in found]) - np.mean([r.value for r in others]))
        ends = interval(sign * (values[model] - values[other]), len(groups))
        pairs.append(
            Difference(
                metric=metric,
                split=found[0].split,
                model=model,
                other=other,
                value=rounded(float(value)),
                ci_low=ends.low,
                ci_high=ends.high,
                users=max(row.users for row in found),
            )
        )
    return _tested(pairs, samples, sums, seed=seed) if tested and len(groups) > 1 else pairs


def of_models(rows: Sequence[MetricRow], *, metric: str, split: str) -> dict[str, list[MetricRow]]:
    """The rows of every model, one a fold; a model that lacks a fold is left out.

    Errors of predicted ratings are those over the pairs that all models predict, where there are
    such: a model must not win by staying silent on what is hard.
    """
    wanted = [row for row in rows if row.name == metric and row.split == split]
    if metric_at(metric)[0].on_common_pairs:
        common = [row for row in rows if row.name == metric and row.split == split + COMMON]
        wanted = common or wanted
    folds = {row.fold for row in wanted}
    by_model: dict[str, list[MetricRow]] = {}
    for row in wanted:
        by_model.setdefault(row.model, []).append(row)
    return {m: found for m, found in by_model.items() if {row.fold for row in found} == folds}


def _mean(
    samples: Mapping[int | None, Sample], sums: Mapping[int | None, FloatArray]
) -> FloatArray:
    """The metric of sums by fold; with several folds the mean over them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = [sample.value(sums[fold]) for fold, sample in samples.items()]
    return np.asarray(np.mean(values, axis=0))


def _tested(
    pairs: Sequence[Difference],
    samples: Mapping[str, Mapping[int | None, Sample]],
    sums: Mapping[Key, FloatArray],
    *,
    seed: int,
) -> list[Difference]:
    """The pairs, each with p of Fisher's randomisation, and that corrected for all of them.

    Args:
        pairs: of models.
        samples: of each model, by fold.
        sums: of each model and fold, by the same groups.
        seed: of the swaps.
    """
    swaps = swapped(sums, seed=seed, draws=max(DRAWS, _SWAPS_OF_A_PAIR * len(pairs)))
    found = []
    for pair in pairs:
        folds = {
            fold: swaps.of((pair.model, fold), (pair.other, fold)) for fold in samples[pair.model]
        }
        one, other = (
            _mean(samples[name], {fold: both[side] for fold, both in folds.items()})
            for side, name in enumerate((pair.model, pair.other))
        )
        # As large to twelve digits: a difference that is met by another order of sums is met.
        met = np.count_nonzero(np.abs(one - other) >= abs(pair.value) - 1e-12)
        found.append(replace(pair, p=rounded(float((1 + met) / (1 + len(one))))))
    return _holm(found)


def _holm(pairs: Sequence[Difference]) -> list[Difference]:
    """The pairs, each with its p corrected for all of them."""
    order = sorted((pair.p, place) for place, pair in enumerate(pairs) if pair.p is not None)
    corrected: dict[int, float] = {}
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[place] = rounded(highest)
    return [replace(pair, p_holm=corrected.get(place)) for place, pair in enumerate(pairs)]


def seen_from(model: str, pairs: Sequence[Difference]) -> Mapping[str, Difference]:
    """By the other model, how much better `model` is."""
    seen = [pair if pair.model == model else pair.turned() for pair in pairs]
    return {pair.other: pair for pair in seen if pair.model == model}


__all__ = [
    "DRAWS", "LEVEL", "Difference", "Interval", "Swaps", "bootstrapped", "differences", "interval",
    "of_models", "seen_from", "swapped", "with_intervals",
]  # fmt: skip
