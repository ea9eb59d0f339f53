"""Where a model is weak: its metrics by kinds of users and kinds of items.

Values of users' lists are averaged over the users of a kind; of items it is asked how many of the
relevant pairs of a kind are within the first k places, and how far off predictions of a kind are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial, reduce
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.evaluation.confidence import LEVEL
from recpipe.evaluation.rows import rounded
from recpipe.runtime.parallel import run_all
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pyspark.sql import Column, SparkSession

    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.spark.interactions import Interactions

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
        metric: such as `ndcg@10` (a mean over users), `recall@10` (a share of relevant pairs) or
            `rmse` (over predicted pairs).
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
    """Every metric of lists at `k` by kinds of users, recall by kinds of items, errors by both.

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
                low, high = _t_interval(mean, spread, count)
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
    totals = wanted.groupBy("by", "group").count().collect()
    hits = wanted.join(places, ["user", "item"]).groupBy("model", "by", "group").count().collect()
    hit = {(row["model"], row["by"], row["group"]): row["count"] for row in hits}
    rows = []
    for model in lists:
        for row in totals:
            group, count = (model, split, row["by"], row["group"]), row["count"]
            found = hit.get((model, row["by"], row["group"]), 0)
            low, high = _wilson(found, count)
            value = rounded(found / count)
            rows.append(SubgroupRow(*group, f"recall@{k}", value, low, high, count, "pairs"))
    return rows


def _of_errors(errors: DataFrame, *, split: str) -> list[SubgroupRow]:
    squared = F.col("error") * F.col("error")
    found = (
        errors.groupBy("model", "by", "group")
        .agg(
            F.count("*").alias("n"),
            F.avg(squared).alias("rmse"),
            F.stddev_samp(squared).alias("spread rmse"),
            F.avg(F.abs("error")).alias("mae"),
            F.stddev_samp(F.abs("error")).alias("spread mae"),
        )
        .collect()
    )
    rows = []
    for row in found:
        for metric in ("rmse", "mae"):
            ends = _t_interval(row[metric], row[f"spread {metric}"], row["n"])
            root = _root if metric == "rmse" else _same
            value, low, high = (root(number) for number in (row[metric], *ends))
            assert value is not None  # noqa: S101 - only ends may be missing
            group = row["model"], split, row["by"], row["group"]
            rows.append(SubgroupRow(*group, metric, value, low, high, row["n"], "pairs"))
    return rows


def _root(square: float | None) -> float | None:
    return None if square is None else rounded(sqrt(max(0.0, square)))


def _same(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _t_interval(mean: float, spread: float | None, count: int) -> tuple[float | None, float | None]:
    """Of a mean over independent users: mean -+ t * spread / sqrt(count)."""
    from scipy.special import stdtrit

    if count < 2 or spread is None:  # noqa: PLR2004 - of one there is no spread
        return None, None
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * spread / sqrt(count)
    return rounded(mean - half), rounded(mean + half)


def _wilson(hits: int, count: int) -> tuple[float, float]:
    """Of a share (Wilson 1927). Pairs of one user are like each other: it is rather too narrow."""
    from scipy.special import ndtri

    z = float(ndtri((1 + LEVEL) / 2))
    share, widened = hits / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / widened
    half = z / widened * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return rounded(max(0.0, middle - half)), rounded(min(1.0, middle + half))


__all__ = ["SMALL", "SubgroupRow", "item_groups", "subgroup_rows", "user_groups"]
