"""Where a model is weak: its metrics by kinds of users and kinds of items.

Values of users' lists are averaged over the users of a kind; of items it is asked how many of the
relevant pairs of a kind are within the first k places, and how far off predictions of a kind are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial, reduce
from itertools import pairwise
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.evaluation.confidence import LEVEL
from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.rows import rounded
from recpipe.runtime.parallel import run_all
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pyspark.sql import Column, Row, SparkSession

    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.spark.interactions import Interactions

PAIR_RECALL = "pair_recall"
"""The share of all relevant pairs that lists hold; recall is a mean over users."""

SMALL = 30
"""Groups of fewer users or pairs are marked: their values say little."""

_ACTIVITY = (10, 30, 100, 300)
_AGE = (("under a week", 7), ("a week to a month", 30), ("a month to a year", 365))
_POPULARITY = (("half of all ratings", 0.5), ("the next 30 %", 0.8), ("the last 20 %", 1.0))


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


# -- kinds of users and of items --------------------------------------------------------------


def user_groups(train: DataFrame, *, asked_at: datetime | None) -> DataFrame:
    """(user, by, group), one row for each kind that a user of train is of.

    Args:
        train: (user, rated_at, ...)
        asked_at: the instant for which lists are made; None where ratings have none that matters:
            users are then not told apart by age.
    """
    per_user = train.groupBy("user").agg(F.count("*").alias("n"), F.min("rated_at").alias("first"))
    kinds = [F.struct(F.lit("activity").alias("by"), _activity(F.col("n")).alias("group"))]
    if asked_at is not None:
        days = F.unix_seconds(F.lit(asked_at)) - F.unix_seconds("first")
        kinds.append(F.struct(F.lit("age").alias("by"), _age(days / 86_400).alias("group")))
    return _exploded(per_user.select("user", F.array(*kinds).alias("kinds")), "user")


def _activity(n: Column) -> Column:
    chosen = F.when(n < _ACTIVITY[0], f"fewer than {_ACTIVITY[0]}")
    for least, below in pairwise(_ACTIVITY):
        chosen = chosen.when(n < below, f"{least} to {below - 1}")
    return chosen.otherwise(f"{_ACTIVITY[-1]} and more")


def _age(days: Column) -> Column:
    chosen = F.when(days.isNull(), F.lit(None))
    for name, below in _AGE:
        chosen = chosen.when(days < below, name)
    return chosen.otherwise("a year and more")


def item_groups(spark: SparkSession, facts: ItemFacts, genres: DataFrame | None) -> DataFrame:
    """(item, by, group), one row for each kind that an item is of; of genres it may be several.

    Args:
        spark: the session.
        facts: how often items are rated.
        genres: (item, genre); None where nothing is known.
    """
    names = np.array([name for name, _ in _POPULARITY], object)
    # The item with which a share is reached still belongs to it.
    ends = [end for _, end in _POPULARITY[:-1]]
    place = np.searchsorted(ends, facts.rated_before, side="right")
    group = np.full(len(facts.raters), "not in train", object)
    group[facts.most_rated_first] = names[place]
    table = pa.table({
        "item": pa.array(np.arange(len(group), dtype=np.int32)),
        "by": pa.array(["popularity"] * len(group)),
        "group": pa.array(group, pa.string()),
    })  # fmt: skip
    kinds: DataFrame = spark.createDataFrame(table)
    if genres is None:
        return kinds
    of_genres = genres.select("item", F.lit("genre").alias("by"), F.col("genre").alias("group"))
    return kinds.unionByName(of_genres)


def _exploded(rows: DataFrame, *keys: str) -> DataFrame:
    kind = F.explode("kinds").alias("kind")
    found = rows.select(*keys, kind).select(*keys, "kind.by", "kind.group")
    return found.where(F.col("group").isNotNull())


# -- values -----------------------------------------------------------------------------------


def subgroup_rows(
    user_metrics: DataFrame,
    lists: Mapping[str, Interactions],
    relevant: DataFrame,
    errors: DataFrame | None,
    *,
    users: DataFrame,
    items: DataFrame,
    k: int,
    split: str,
) -> list[SubgroupRow]:
    """Metrics of lists at `k` by kinds of users, recall of pairs by kinds of items, errors by both.

    Args:
        user_metrics: (model, user, relevant, ndcg@10, ...): the values of each user.
        lists: by model, (user, item, rank, ...); empty where kinds of items are not wanted.
        relevant: (user, item): the pairs that are relevant.
        errors: (model, user, item, error) of predicted ratings; None where there are none.
        users: `user_groups`.
        items: `item_groups`.
        k: the places that count.
        split: the part, for the rows.
    """
    work: list[Callable[[], list[SubgroupRow]]] = [
        partial(_of_users, user_metrics, users, k=k, split=split)
    ]
    if lists:
        work.append(partial(_of_items, lists, relevant, items, k=k, split=split))
    if errors is not None:
        by_user = errors.join(users, "user")
        by_item = errors.join(items, "item")
        work.append(partial(_of_errors, by_user.unionByName(by_item), split=split))
    rows = [row for found in run_all(work) for row in found]
    return sorted(rows, key=lambda row: (row.by, row.group, row.metric, row.model))


def _of_users(
    user_metrics: DataFrame, users: DataFrame, *, k: int, split: str
) -> list[SubgroupRow]:
    names = [name for name in user_metrics.columns if name.endswith(f"@{k}")]
    sums = [
        column
        for name in names
        for value in [F.col(f"`{name}`")]
        for column in (
            F.count(value).alias(f"n {name}"),
            F.avg(value).alias(f"mean {name}"),
            F.stddev_samp(value).alias(f"spread {name}"),
        )
    ]
    found = user_metrics.join(users, "user").groupBy("model", "by", "group").agg(*sums).collect()
    rows = []
    for row in found:
        for name in names:
            mean, spread, count = (row[f"{what} {name}"] for what in ("mean", "spread", "n"))
            if count:
                error = None if spread is None else spread / sqrt(count)
                low, high = _t_interval(mean, error, count, metric_at(name)[0].range)
                group = row["model"], split, row["by"], row["group"]
                rows.append(SubgroupRow(*group, name, rounded(mean), low, high, count, "users"))
    return rows


def _of_items(
    lists: Mapping[str, Interactions],
    relevant: DataFrame,
    items: DataFrame,
    *,
    k: int,
    split: str,
) -> list[SubgroupRow]:
    wanted = relevant.join(items, "item")
    placed = [
        frame_of(rows).where(F.col("rank") <= k).select(F.lit(name).alias("model"), "user", "item")
        for name, rows in lists.items()
    ]
    places = reduce(DataFrame.unionByName, placed)
    of_user = wanted.groupBy("by", "group", "user").agg(F.count("*").alias("pairs"))
    hits = wanted.join(places, ["user", "item"]).groupBy("model", "by", "group", "user")
    found = hits.agg(F.count("*").alias("hits")).join(of_user, ["by", "group", "user"])
    totals, summed = run_all(
        [
            of_user.groupBy("by", "group").agg(*_of_pairs()).collect,
            found.groupBy("model", "by", "group").agg(*_moments("hits")).collect,
        ]
    )
    hit = {(row["model"], row["by"], row["group"]): row for row in summed}
    rows = []
    for model in lists:
        for row in totals:
            of_model = hit.get((model, row["by"], row["group"]))
            share = _Ratio.of(row, of_model, "hits")
            group = model, split, row["by"], row["group"]
            low, high = share.wilson()
            name = f"{PAIR_RECALL}@{k}"
            rows.append(
                SubgroupRow(*group, name, rounded(share.value), low, high, share.pairs, "pairs")
            )
    return rows


def _of_errors(errors: DataFrame, *, split: str) -> list[SubgroupRow]:
    of_user = errors.groupBy("model", "by", "group", "user").agg(
        F.count("*").alias("pairs"),
        F.sum(F.col("error") * F.col("error")).alias("squared"),
        F.sum(F.abs("error")).alias("absolute"),
    )
    sums = (*_of_pairs(), *_moments("squared"), *_moments("absolute"))
    rows = []
    for row in of_user.groupBy("model", "by", "group").agg(*sums).collect():
        for metric, of, root in (("rmse", "squared", sqrt), ("mae", "absolute", float)):
            mean = _Ratio.of(row, row, of)
            ends = _t_interval(mean.value, mean.error, mean.users, (0.0, inf))
            low, high = (None if end is None else rounded(root(end)) for end in ends)
            group = row["model"], split, row["by"], row["group"]
            value = rounded(root(mean.value))
            rows.append(SubgroupRow(*group, metric, value, low, high, mean.pairs, "pairs"))
    return rows


# -- intervals over pairs, of which a user may have many ---------------------------------------


def _of_pairs() -> tuple[Column, ...]:
    """Of rows (user, pairs, ...): users, their pairs and the sum of the squares of these."""
    return (
        F.count("*").alias("users"),
        F.sum("pairs").alias("pairs"),
        F.sum(F.col("pairs") * F.col("pairs")).alias("pairs pairs"),
    )


def _moments(name: str) -> tuple[Column, ...]:
    """Of rows (user, pairs, `name`, ...): what `_Ratio` needs of a number summed over pairs."""
    return (
        F.sum(name).alias(name),
        F.sum(F.col(name) * F.col(name)).alias(f"{name} {name}"),
        F.sum(F.col(name) * F.col("pairs")).alias(f"{name} pairs"),
    )


@dataclass(frozen=True)
class _Ratio:
    """A mean over pairs, as the ratio of two sums over users, whose pairs go together.

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
    def of(cls, totals: Row, sums: Row | None, name: str) -> _Ratio:
        """Of `_of_pairs` and `_moments`; without the second all sums are 0."""
        users, pairs = totals["users"], totals["pairs"]
        wanted = (name, f"{name} {name}", f"{name} pairs")
        total, squares, products = (0.0 if sums is None else float(sums[key]) for key in wanted)
        value = total / pairs
        if users < 2:  # noqa: PLR2004 - of one there is no spread
            return cls(users, pairs, value, None)
        left = squares - 2 * value * products + value * value * totals["pairs pairs"]
        error = sqrt(max(0.0, left) * users / (users - 1)) / pairs
        return cls(users, pairs, value, error)

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


def _t_interval(
    mean: float, error: float | None, count: int, within: tuple[float, float]
) -> tuple[float | None, float | None]:
    """Of a mean over independent users: mean -+ t * error, within the range of the metric."""
    from scipy.special import stdtrit

    if count < 2 or error is None:  # noqa: PLR2004 - of one there is no spread
        return None, None
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    lowest, highest = map(float, within)
    return rounded(max(lowest, mean - half)), rounded(min(highest, mean + half))


__all__ = ["PAIR_RECALL", "SMALL", "SubgroupRow", "item_groups", "subgroup_rows", "user_groups"]
