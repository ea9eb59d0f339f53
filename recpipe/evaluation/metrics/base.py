"""What a metric is. All that settings, metrics.json, tables and the computation know of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

LARGEST = 1024.0
"""The largest value of a ranking metric: up to it, sums over users are exact."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good a model is.

    Args:
        name: of it, in metrics.json and in the settings.
        label: what people call it, in tables.
        definition: what metrics.json says of it.
        source: where the field has it from.
        range: the lowest and the highest value that there can be.
        higher_is_better: its direction.
        selectable: whether models can be chosen by it (`evaluate.metric`).
    """

    name: str
    label: str
    definition: str
    source: str
    range: tuple[float, float]
    higher_is_better: bool = True
    selectable: bool = True

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: `sign * value` grows with quality."""
        return 1 if self.higher_is_better else -1

    @property
    def on_common_pairs(self) -> bool:
        """Whether models compare by it only over the pairs that all of them predict."""
        return False


@dataclass(frozen=True)
class RankedLists:
    """The lists of U users as ranking metrics see them: which places hold a relevant item.

    Ranks come first, so that what is done for a rank is done for all users at once.

    Args:
        hits: (R, U) 1 where the item at rank r + 1 is relevant, else 0, also at the places that a
            shorter list does not have.
        relevant: (U,) how many items are relevant to the user, at least 1.
    """

    hits: FloatArray
    relevant: NDArray[np.int32]

    @cached_property
    def ranks(self) -> FloatArray:
        """(R, 1): 1, 2, ..., R."""
        return np.arange(1.0, len(self.hits) + 1)[:, None]

    @cached_property
    def hits_within(self) -> FloatArray:
        """(R, U) relevant items in the first r + 1 places."""
        return np.cumsum(self.hits, axis=0)


@dataclass(frozen=True, kw_only=True)
class RankingMetric(Metric):
    """A metric of lists: a value for each user, of which the mean over users is reported.

    Args:
        values: given lists and (K,) distinct, ascending cut-offs from 1 to R, the (K, U) values of
            each user's first k places.
    """

    values: Callable[[RankedLists, IntArray], FloatArray]

    def __post_init__(self) -> None:
        if not max(map(abs, self.range)) <= LARGEST:
            raise ValueError(f"{self.name}: its range must lie within {-LARGEST:g} to {LARGEST:g}")


class PairSums(NamedTuple):
    """What predictions of pairs come to.

    Args:
        total: the sum of a metric's terms over the predicted pairs.
        predicted: how many pairs are predicted.
        pairs: how many pairs there are.
    """

    total: float
    predicted: int
    pairs: int


@dataclass(frozen=True, kw_only=True)
class RatingMetric(Metric):
    """A metric of predicted ratings, over all pairs at once.

    Args:
        terms: given ratings and predictions, one number for each pair, of which the sum is wanted;
            any shapes that broadcast. None: only numbers of pairs are.
        value: the metric. A metric with terms has none where no pair is predicted.
    """

    terms: Callable[[FloatArray, FloatArray], FloatArray] | None
    value: Callable[[PairSums], float]

    @property
    def on_common_pairs(self) -> bool:
        return self.terms is not None

    def of(self, sums: PairSums) -> float | None:
        """The value; None where there is none.

        Raises:
            ValueError: if it is not finite, as a rating must have been.
        """
        if self.terms is not None and not sums.predicted:
            return None
        value = self.value(sums)
        if not isfinite(value):
            raise ValueError(f"{self.name} is {value}")
        return value
