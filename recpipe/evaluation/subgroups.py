"""Where a model is weak: its metrics by kinds of users and kinds of items.

Values of users' lists are averaged over the users of a kind; of items it is asked how many of the
relevant pairs of a kind are within the first k places, and how far off predictions of a kind are.
Tasks of evaluation add that up beside the metrics (`kernels.moments`); here is what they are told
of kinds, and what the driver makes of their sums.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.evaluation.confidence import LEVEL
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import EQUAL, RankingMetric
from recpipe.evaluation.rows import rounded
from recpipe.kernels import ids
from recpipe.spark.interactions import unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from pyspark.sql import Column, DataFrame

    from recpipe.evaluation.metrics.base import ItemFacts

PAIR_RECALL = "pair_recall"
"""The share of all relevant pairs that lists hold; recall is a mean over users."""

SMALL = 30
"""Groups of fewer users or pairs are marked: their values say little."""

_ACTIVITY = ((10, 30, 100, 300), (
    "fewer than 10", "10 to 29", "30 to 99", "100 to 299", "300 and more",
))  # fmt: skip
"""Where the next group begins, in ratings, and the groups."""
_AGE = ((7, 30, 365), (
    "under a week", "a week to a month", "a month to a year", "a year and more",
))  # fmt: skip
"""Likewise, in days."""
_POPULARITY = ((0.5, 0.8), ("half of all ratings", "the next 30 %", "the last 20 %"))
"""Likewise, in the share of all ratings of the items that are rated more often."""

USER_GROUPS = (*product(["activity"], _ACTIVITY[1]), *product(["age"], _AGE[1]))
"""By what, and which, of all groups of users."""

Cell = tuple[str, str, str]
"""By what groups are told apart, the group, and the metric."""


# -- what tells users and items apart ---------------------------------------------------------


class Groups(NamedTuple):
    """What tasks are told of groups beside the users who are in them.

    Args:
        k: the places of a list that count.
        names: (G,) by what, and which, of all groups of items.
        items: (G, I) whether an item is in a group.
    """

    k: int
    names: Sequence[tuple[str, str]]
    items: NDArray[np.bool_]

    def cells_of_lists(self, named: Iterable[tuple[str, int]]) -> list[Cell]:
        """What is told of lists, of which `named` are the means over users, at any k."""
        means = [f"{name}@{k}" for name, k in named if k == self.k]
        return [
            *((*group, name) for name in means for group in USER_GROUPS),
            *((*group, f"{PAIR_RECALL}@{self.k}") for group in self.names),
        ]

    def cells_of_errors(self) -> list[Cell]:
        """What is told of predicted ratings."""
        return [
            (*group, metric) for metric in ("rmse", "mae") for group in (*USER_GROUPS, *self.names)
        ]


def groups_of_items(facts: ItemFacts, *, k: int) -> Groups:
    """Items by their share of the ratings in train and, where these are known, by genres.

    Args:
        facts: what is known of items.
        k: the places of a list that count.
    """
    ends, known = _POPULARITY
    names = (*known, "not in train")
    place = np.full(len(facts.raters), len(names) - 1)
    # The item with which a share is reached still belongs to it.
    place[facts.most_rated_first] = np.searchsorted(ends, facts.rated_before, side="right")
    items = place == np.arange(len(names))[:, None]
    if facts.genres is not None:
        items = np.concatenate([items, facts.genres.T])
    by_genre = product(["genre"], facts.genre_names)
    return Groups(k, (*product(["popularity"], names), *by_genre), items)


def groups_of_users(train: DataFrame, *, asked_at: datetime | None) -> DataFrame:
    """(user, item): users of train and, as `item`, the places in USER_GROUPS of their groups.

    Pairs of a user and a group travel to tasks as those of a user and an item do.

    Args:
        train: (user, rated_at, ...)
        asked_at: the instant for which lists are made; None where ratings have none that matters:
            users are then not told apart by age.
    """
    per_user = train.groupBy("user").agg(F.count("*").alias("n"), F.min("rated_at").alias("first"))
    places = [_place(F.col("n"), _ACTIVITY[0])]
    if asked_at is not None:
        days = (F.unix_seconds(F.lit(asked_at)) - F.unix_seconds("first")) / 86_400
        places.append(F.lit(len(_ACTIVITY[1])) + _place(days, _AGE[0]))
    found = per_user.select("user", F.explode(F.array(*places)).alias("item"))
    return found.where("item IS NOT NULL")


def _place(number: Column, starts: Sequence[int]) -> Column:
    """How many of `starts` the number has reached; null for no number."""
    place = F.lit(0)
    for start in starts:
        place += (number >= start).cast("int")
    return place


def in_groups(users: NDArray[np.int32], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """In a task: (USER_GROUPS, U) whether each user is in each group.

    Args:
        users: (U,) distinct, ascending.
        pairs: of `groups_of_users`, of any users.
    """
    of, group = unpaired(pairs)
    place = ids.positions(users, of)
    found = np.zeros((len(USER_GROUPS), len(users)), bool)
    found[group[place >= 0], place[place >= 0]] = True
    return found


@dataclass(frozen=True)
class Subgroups:
    """Asks an evaluation to tell how models do on groups of users and items.

    Args:
        users: of `groups_of_users`.
        groups: of `groups_of_items`.
        tell: called with the rows.
    """

    users: DataFrame
    groups: Groups
    tell: Callable[[Iterable[SubgroupRow]], object]

    def without_items(self) -> Subgroups:
        """The same with groups of users alone."""
        return replace(self, groups=self.groups._replace(names=(), items=self.groups.items[:0]))


# -- what the driver makes of sums ------------------------------------------------------------


@dataclass(frozen=True)
class SubgroupRow:
    """A metric of one model on one group.

    Args:
        model: which one.
        split: the part.
        by: what tells groups apart: `activity` (ratings of the user in train), `age` (time from the
            user's first rating in train), `popularity` (of the item in train) or `genre`.
        group: which one.
        metric: such as `ndcg@10` (a mean over users), `pair_recall@10` (the share of the relevant
            pairs that lists hold within 10 places) or `rmse` (over predicted pairs).
        value: the number.
        ci_low: lower end of its 95 % interval; None where there is none.
        ci_high: upper end.
        count: what it rests on.
        of: what that is: `users` or `pairs`.
        small: whether it rests on fewer than 30.
    """

    model: str
    split: str
    by: str
    group: str
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    count: int
    of: str

    @property
    def small(self) -> bool:
        return self.count < SMALL

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "small": self.small}


def subgroup_rows(
    sums: NDArray[np.float64], cells: Sequence[Cell], *, model: str, split: str
) -> Iterator[SubgroupRow]:
    """The rows of one model, of the groups that have anybody.

    Args:
        sums: (SUMS, cells) of `kernels.moments`.
        cells: what they are of.
        model: its name.
        split: the part.
    """
    for (by, group, metric), of_cell in zip(cells, sums.T, strict=True):
        if not of_cell[0]:
            continue
        mean = _Mean.of(of_cell)
        name = metric.partition("@")[0]
        known = METRICS.get(name)
        low, high = mean.wilson() if known is None else mean.student(known.range)
        root = sqrt if name == "rmse" else float
        low, high = (None if end is None else rounded(root(end)) for end in (low, high))
        of = "users" if isinstance(known, RankingMetric) else "pairs"
        value = rounded(root(mean.value))
        yield SubgroupRow(model, split, by, group, metric, value, low, high, mean.pairs, of)


@dataclass(frozen=True)
class _Mean:
    """A mean over pairs, as the ratio of two sums over users, whose pairs go together.

    A metric of users is a number of one pair each.

    Args:
        users: how many there are.
        pairs: theirs.
        value: the sum over all pairs, divided by `pairs`.
        error: its standard error, linearised: the root of
            n / (n - 1) * sum over users of (sum - value * pairs)^2, divided by all pairs
            (Cochran 1977, chapter 6); None of one user.
    """

    users: int
    pairs: int
    value: float
    error: float | None

    @classmethod
    def of(cls, moments: NDArray[np.float64]) -> _Mean:
        """Of (SUMS,) as `kernels.moments` has them."""
        users, pairs, squared_pairs, total, squares, products = moments.tolist()
        value = total / pairs
        error = None
        if users > 1:
            left = squares - 2 * value * products + value * value * squared_pairs
            # What rounding leaves of equal numbers is no spread.
            left = left if left > EQUAL * squares else 0.0
            error = sqrt(left * users / (users - 1)) / pairs
        return cls(int(users), int(pairs), value, error)

    def student(self, within: tuple[float, float]) -> tuple[float | None, float | None]:
        """Mean -+ t * error, within the range of the metric; None of one user."""
        from scipy.special import stdtrit

        if self.error is None:
            return None, None
        half = float(stdtrit(self.users - 1, (1 + LEVEL) / 2)) * self.error
        lowest, highest = map(float, within)
        return rounded(max(lowest, self.value - half)), rounded(min(highest, self.value + half))

    def wilson(self) -> tuple[float, float]:
        """Of a share: Wilson's interval (1927) for as many independent pairs as say as much.

        That is the pairs divided by the design effect, the error's square over that of independent
        pairs (Kish 1965). Where there is none, since all pairs of all users are alike, each user
        counts once.
        """
        from scipy.special import ndtri

        share = self.value
        independent = share * (1 - share) / self.pairs
        count = float(self.users)
        if self.error and independent:
            count = min(float(self.pairs), self.pairs * independent / self.error**2)
        z = float(ndtri((1 + LEVEL) / 2))
        widened = 1 + z * z / count
        middle = (share + z * z / (2 * count)) / widened
        half = z / widened * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
        return rounded(max(0.0, middle - half)), rounded(min(1.0, middle + half))


__all__ = [
    "PAIR_RECALL", "SMALL", "USER_GROUPS", "Groups", "SubgroupRow", "Subgroups", "groups_of_items",
    "groups_of_users", "in_groups", "subgroup_rows",
]  # fmt: skip
