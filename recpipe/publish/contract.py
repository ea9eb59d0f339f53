"""The output contract: what every published table holds (docs/contracts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_HINT = "nothing was published; the lists stay in the run's folder"


@dataclass(frozen=True)
class OutputCounts:
    """What the check counted: rows and users of the lists, items of the catalogue."""

    rows: int
    users: int
    items: int


def check_output(
    recommendations: DataFrame, *, ratings: DataFrame, n: int, unrated: DataFrame | None = None
) -> OutputCounts:
    """Raise unless the lists keep the whole output contract.

    Every user of `ratings` has exactly n distinct items of the catalogue (fewer only if it has
    fewer left), none of which the user has rated, or seen without a rating; ranks are 1, 2, ... and
    scores descend within one source; nothing is null or NaN. Users and items are compared by the
    ids of the source, so that a wrong id map is found too. Three queries: over rows alone, over
    items, over users.

    Args:
        recommendations: contracts.RECOMMENDATIONS.
        ratings: (user_id, item_id, ...): every rating that the run knows, one row a pair.
        n: how many items each user gets.
        unrated: (user_id, item_id, ...): what was seen otherwise, no pair of `ratings`.

    Raises:
        ContractError: the rule that is broken, by how many users, and one of them.
    """
    RECOMMENDATIONS.check(recommendations, unique=False)
    for name in ("user_id", "item_id"):
        found, expected = (frame.schema[name].dataType for frame in (recommendations, ratings))
        if found != expected:
            raise ContractError(
                f"recommendations: {name} is {found.simpleString()},"
                f" but {expected.simpleString()} in the ratings",
                hint=_HINT,
            )
    items = _check_items(recommendations, ratings)
    seen = ratings.select("user_id", "item_id")
    if unrated is not None:
        # Of users who get a list, and items that could be in it.
        more = unrated.select("user_id", "item_id")
        for key in ("user_id", "item_id"):
            more = more.join(ratings.select(key).distinct(), key, "left_semi")
        seen = seen.unionByName(more)
    return _check_lists(recommendations, seen, n=n, items=items)


def _check_items(recommendations: DataFrame, ratings: DataFrame) -> int:
    """The number of items with a rating, once none other is recommended."""
    rated = ratings.select("item_id", F.lit(1).alias("rated"))
    offered = recommendations.select("item_id", F.lit(0).alias("rated"))
    stray = F.col("rated") == 0
    row = (
        rated.unionByName(offered)
        .groupBy("item_id")
        .agg(F.max("rated").alias("rated"))
        .agg(
            F.count_if(~stray).alias("items"),
            F.count_if(stray).alias("strays"),
            F.min(F.when(stray, F.col("item_id"))).alias("example"),
        )
        .collect()[0]
    )
    if row["strays"]:
        raise ContractError(
            f"recommendations: {row['strays']} items that nobody has rated,"
            f" such as {row['example']!r}",
            hint=_HINT,
        )
    return int(row["items"])


def _check_lists(
    recommendations: DataFrame, known: DataFrame, *, n: int, items: int
) -> OutputCounts:
    """The list of every user, beside the pairs (user_id, item_id) that the user knows."""
    place = F.struct("source", "rank", "score")
    lists = recommendations.groupBy("user_id").agg(
        F.count("*").alias("listed"),
        F.size(F.collect_set("item_id")).alias("distinct"),
        F.sort_array(F.collect_list("rank")).alias("ranks"),
        F.sort_array(F.collect_list(place)).alias("places"),
    )
    rated = known.groupBy("user_id").agg(F.count("*").alias("rated"))
    seen = (
        known.join(recommendations.select("user_id", "item_id"), ["user_id", "item_id"])
        .groupBy("user_id")
        .agg(F.count("*").alias("seen"))
    )
    counts = ["listed", "distinct", "rated", "seen"]
    by_user = (
        lists.join(rated, "user_id", "full").join(seen, "user_id", "left").fillna(0, subset=counts)
    )
    due = F.least(F.lit(n), F.lit(items) - F.col("rated"))
    # Sorted by source, then rank: neighbours of one source must not climb.
    climbs = F.zip_with(
        F.slice("places", 1, F.size("places") - 1),
        F.slice("places", 2, F.size("places") - 1),
        lambda above, below: (
            (above["source"] == below["source"]) & (above["score"] < below["score"])
        ),
    )
    # A user without a list has null in place of arrays, which breaks no rule of lists.
    rules = {
        "are in the lists but have no rating": F.col("rated") == 0,
        "have no list": (F.col("listed") == 0) & (due > 0),
        "are recommended something that they have rated or seen": F.col("seen") > 0,
        "are recommended an item more than once": F.col("distinct") < F.col("listed"),
        f"have fewer than {n} items though the catalogue has more": F.col("listed") < due,
        f"have more than {n} items": F.col("listed") > due,
        "have ranks other than 1, 2, ...": (
            F.col("ranks") != F.sequence(F.lit(1), F.size("ranks"))
        ),
        "have scores that climb within one source": F.exists(climbs, lambda climb: climb),
    }
    row = by_user.agg(
        F.sum("listed").alias("rows"),
        F.count_if(F.col("listed") > 0).alias("users"),
        *_broken(rules),
    ).collect()[0]
    _refuse(row.asDict(), rules)
    if not row["rows"]:
        raise ContractError(
            f"nobody has an item left: every user has rated or seen all {items} items",
            hint="more ratings, of more items than any one user has, make lists",
        )
    return OutputCounts(rows=int(row["rows"] or 0), users=int(row["users"]), items=items)


def _broken(rules: dict[str, Column]) -> list[Column]:
    columns = []
    for place, broken in enumerate(rules.values()):
        columns.append(F.count_if(broken).alias(f"count_{place}"))
        columns.append(F.min(F.when(broken, F.col("user_id"))).alias(f"example_{place}"))
    return columns


def _refuse(row: dict[str, object], rules: dict[str, Column]) -> None:
    for place, rule in enumerate(rules):
        if row[f"count_{place}"]:
            raise ContractError(
                f"recommendations: {row[f'count_{place}']} users {rule},"
                f" such as user {row[f'example_{place}']!r}",
                hint=_HINT,
            )
