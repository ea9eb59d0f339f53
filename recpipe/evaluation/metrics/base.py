"""What a metric is. All that settings, metrics.json, tables and the computation know of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

Fact = Literal["raters", "genres", "vectors"]
"""What a metric may need to know of items."""

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
        higher_is_better: its direction; of a metric that only describes lists, which of two values
            speaks for more variety.
        selectable: whether models can be chosen by it (`evaluate.metric`).
        beyond_accuracy: whether it says something of lists other than how good they are.
        summary: whether the short table that a command prints has it.
    """

    name: str
    label: str
    definition: str
    source: str
    range: tuple[float, float]
    higher_is_better: bool = True
    selectable: bool = True
    beyond_accuracy: bool = False
    summary: bool = False

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: `sign * value` grows with quality."""
        return 1 if self.higher_is_better else -1

    @property
    def on_common_pairs(self) -> bool:
        """Whether models compare by it only over the pairs that all of them predict."""
        return False


@dataclass(frozen=True)
class ItemFacts:
    """What is known of items before the lists are made, by the item's number from 0 to I - 1.

    Args:
        raters: (I,) how many users of train have rated each; 0 for one that train does not know.
        users: how many users train has.
        genres: (I, G) whether an item is of a genre; None where the source has no genres.
        vectors: (I, F) the factors of a fitted model, the same for the lists of all models; zeros
            for an item that it does not know. None where no model has factors.
        genre_names: of the G genres.
    """

    raters: NDArray[np.int64]
    users: int
    genres: NDArray[np.bool_] | None = None
    vectors: NDArray[np.float32] | None = None
    genre_names: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[Fact]:
        """What metrics may need of it."""
        found: dict[Fact, object] = {
            "raters": self.raters,
            "genres": self.genres,
            "vectors": self.vectors,
        }
        return frozenset(name for name, value in found.items() if value is not None)

    @cached_property
    def genre_lengths(self) -> FloatArray | None:
        """(I,) the Euclidean length of each row of `genres`."""
        return None if self.genres is None else np.sqrt(np.count_nonzero(self.genres, axis=1))

    @cached_property
    def vector_lengths(self) -> FloatArray | None:
        """(I,) the Euclidean length of each row of `vectors`."""
        if self.vectors is None:
            return None
        squared = np.einsum("if,if->i", self.vectors, self.vectors, dtype=np.float64)
        lengths: FloatArray = np.sqrt(squared)
        return lengths

    @cached_property
    def catalogue(self) -> int:
        """How many items train knows: the candidates of lists."""
        return int(np.count_nonzero(self.raters))

    @cached_property
    def most_rated_first(self) -> NDArray[np.int64]:
        """(catalogue,) the items that train knows, the most rated first; ties by number."""
        return np.argsort(-self.raters, kind="stable")[: self.catalogue]

    @cached_property
    def rated_before(self) -> FloatArray:
        """(catalogue,) of `most_rated_first`: the share of all ratings of the items before it."""
        ratings = self.raters[self.most_rated_first]
        return (np.cumsum(ratings) - ratings) / max(1, int(ratings.sum()))

    @cached_property
    def tail(self) -> NDArray[np.bool_]:
        """(I,) whether an item is not of the head: of the fewest with 80 % of all ratings."""
        tail = np.ones(len(self.raters), bool)
        tail[self.most_rated_first[self.rated_before < HEAD]] = False
        return tail


HEAD = 0.8
"""The share of all ratings that the items of the head have together."""


class Candidates(NamedTuple):
    """What the lists of U users could hold: the items of train that each of them had not seen.

    Args:
        relevant: (U,) how many of them are relevant to the user.
        others: (U,) how many are not.
    """

    relevant: FloatArray
    others: FloatArray


@dataclass(frozen=True)
class RankedLists:
    """The lists of U users as ranking metrics see them: which places hold a relevant item.

    Ranks come first, so that what is done for a rank is done for all users at once.

    Args:
        hits: (R, U) 1 where the item at rank r + 1 is relevant, else 0, also at the places that a
            shorter list does not have.
        relevant: (U,) how many items are relevant to the user, at least 1.
        items: (R, U) the item at rank r + 1; -1 at the places that a shorter list does not have.
        known: what is known of items; None where no metric at hand needs it.
        could_hold: how many candidates the users have; None: every item of train is one, the
            relevant among them.
    """

    hits: FloatArray
    relevant: NDArray[np.int32]
    items: NDArray[np.int32]
    known: ItemFacts | None = None
    could_hold: Candidates | None = None

    @property
    def facts(self) -> ItemFacts:
        """What is known of items.

        Raises:
            ValueError: if nothing is, so that a metric has not said that it needs it.
        """
        if self.known is None:
            raise ValueError("these lists come without facts of items")
        return self.known

    @property
    def candidates(self) -> Candidates:
        """How many items the lists could hold.

        Raises:
            ValueError: if nothing is known of items.
        """
        if self.could_hold is not None:
            return self.could_hold
        relevant = self.relevant.astype(np.float64)
        return Candidates(relevant, self.facts.catalogue - relevant)

    @cached_property
    def ranks(self) -> FloatArray:
        """(R, 1): 1, 2, ..., R."""
        return np.arange(1.0, len(self.hits) + 1)[:, None]

    @cached_property
    def hits_within(self) -> FloatArray:
        """(R, U) relevant items in the first r + 1 places."""
        return np.cumsum(self.hits, axis=0)

    @cached_property
    def filled(self) -> NDArray[np.bool_]:
        """(R, U) whether the list has an item at rank r + 1."""
        return self.items >= 0

    @cached_property
    def filled_within(self) -> FloatArray:
        """(R, U) items in the first r + 1 places."""
        return np.cumsum(self.filled, axis=0, dtype=np.float64)

    def mean_of(self, values: NDArray[Any], ks: IntArray) -> FloatArray:
        """(K, U) the mean over the items in the first k places; NaN for a list without any.

        Args:
            values: (I,) a number of each item.
            ks: (K,)
        """
        of_places = np.where(self.filled, values[np.maximum(self.items, 0)], 0)
        summed = np.cumsum(of_places, axis=0, dtype=np.float64)[ks - 1]
        count = self.filled_within[ks - 1]
        means: FloatArray = np.divide(
            summed, count, out=np.full(summed.shape, np.nan), where=count > 0
        )
        return means

    def diversity_of(
        self, vectors: NDArray[Any], lengths: FloatArray, ks: IntArray, *, highest: float
    ) -> FloatArray:
        """(K, U) the mean of 1 - cosine over all pairs of items in the first k places.

        Items whose vector is zero are left out; NaN where there are fewer than two others. Only the
        vectors of the listed items are read: the catalogue may be far larger than these lists.

        Args:
            vectors: (I, F)
            lengths: (I,) of the vectors.
            ks: (K,)
            highest: the largest value that these vectors allow: 1 where none has a number below 0,
                else 2.
        """
        counted = self.filled & (lengths[np.maximum(self.items, 0)] > 0)
        # Of unit vectors the squared length of the sum is n + 2 * the sum of the cosines of pairs.
        total = np.zeros((self.items.shape[1], vectors.shape[1]))
        number = np.zeros(self.items.shape[1])
        found = np.full((len(ks), self.items.shape[1]), np.nan)
        wanted = {int(k): place for place, k in enumerate(ks)}
        for rank, (items, counts) in enumerate(zip(self.items, counted, strict=True), start=1):
            some = items[counts]
            total[counts] += vectors[some] / lengths[some, None]
            number += counts
            if rank in wanted:
                pairs = number * (number - 1) / 2
                cosines = (np.einsum("uf,uf->u", total, total) - number) / 2
                np.divide(cosines, pairs, out=found[wanted[rank]], where=pairs > 0)
        # Of rounding alone a mean may lie a little outside of its range.
        diversity: FloatArray = np.clip(1 - found, 0, highest)
        return diversity


@dataclass(frozen=True, kw_only=True)
class RankingMetric(Metric):
    """A metric of lists: a value for each user, of which the mean over users is reported.

    Args:
        values: given lists and (K,) distinct, ascending cut-offs from 1 to R, the (K, U) values of
            each user's first k places; NaN for a user who does not count.
        needs: what it needs to know of items; without it there is no such metric.
        asks_candidates: whether it asks how many items each list could hold.
    """

    values: Callable[[RankedLists, IntArray], FloatArray]
    needs: frozenset[Fact] = frozenset()
    asks_candidates: bool = False

    def __post_init__(self) -> None:
        if not max(map(abs, self.range)) <= LARGEST:
            raise ValueError(f"{self.name}: its range must lie within {-LARGEST:g} to {LARGEST:g}")


@dataclass(frozen=True, kw_only=True)
class ExposureMetric(Metric):
    """A metric of all lists of a model together: of how often they show each item.

    It has no interval. A bootstrap draws some users twice and others never, so that its lists show
    fewer items than those at hand: what it draws lies beside the value, not around it.

    Args:
        value: given (catalogue,) how many of the lists show each item that train knows in their
            first k places, which is at least one place in all.
        needs: of `RankingMetric`.
    """

    value: Callable[[FloatArray], float]
    needs: frozenset[Fact] = frozenset({"raters"})
    selectable: bool = False
    beyond_accuracy: bool = True


class UserErrors(NamedTuple):
    """The predicted pairs of U users by M models, summed over the pairs of each user.

    Args:
        pairs: (U,) held-out pairs.
        predicted: (M, U) pairs that are predicted; of these the others are sums.
        error: (M, U) of prediction - rating.
        absolute: (M, U) of its absolute value.
        squared: (M, U) of its square.
        rating: (M, U) of the rating.
        rating_squared: (M, U) of its square.
    """

    pairs: FloatArray
    predicted: FloatArray
    error: FloatArray
    absolute: FloatArray
    squared: FloatArray
    rating: FloatArray
    rating_squared: FloatArray


def around_their_mean(total: FloatArray, squared: FloatArray, count: FloatArray) -> FloatArray:
    """The sum of squared differences of numbers from their mean; NaN where they are all equal.

    Args:
        total: the sum of the numbers.
        squared: the sum of their squares.
        count: how many there are.
    """
    found = squared - total * total / count
    # What rounding leaves of equal numbers is no spread.
    return np.where(found > EQUAL * squared, found, np.nan)


EQUAL = 1e-12
"""The share of a sum of squares below which a difference of such sums is rounding."""


@dataclass(frozen=True, kw_only=True)
class RatingMetric(Metric):
    """A metric of predicted ratings: a function of sums over users.

    Args:
        terms: T arrays, each (M, U) or of a shape that broadcasts to it, that are summed over
            users.
        value: the metric, of sums (T, ...); NaN where there is none, as of no predicted pair.
        of_errors: whether it says how far predictions are off, so that models compare by it only
            over the pairs that all of them predict.
    """

    terms: Callable[[UserErrors], Sequence[FloatArray]]
    value: Callable[[FloatArray], FloatArray]
    of_errors: bool = True

    @property
    def on_common_pairs(self) -> bool:
        return self.of_errors
