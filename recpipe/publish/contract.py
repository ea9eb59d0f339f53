"""The output contract: what every published table holds (docs/contracts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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


class OutputRules(Protocol):
    """What lists may hold: frames of (user_id, item_id, ...), and without user_id of `never`."""

    @property
    def never(self) -> DataFrame:
        """Items that no list may hold."""
        ...

    @property
    def allowed(self) -> DataFrame | None:
        """Users whose lists may hold these items alone; None for nobody."""
        ...

    @property
    def blocked(self) -> DataFrame | None:
        """What the lists of single users must not hold; None for nothing."""
        ...


def check_output(
    recommendations: DataFrame,
    *,
    ratings: DataFrame,
    n: int,
    unrated: DataFrame | None = None,
    rules: OutputRules | None = None,
) -> OutputCounts:
    """Raise unless the lists keep the whole output contract.

    Every user of `ratings` has exactly n distinct items of the catalogue (fewer only if it has
    fewer left that the rules allow), none of which the user has rated, or seen without a rating;
    ranks are 1, 2, ... and scores descend within one source; nothing is null or NaN.
    Users and items are compared by the ids of the source, so that a wrong id map is found too.
    Three queries: over rows alone, over items, over users; with rules one more, over places.

    Args:
        recommendations: contracts.RECOMMENDATIONS.
        ratings: (user_id, item_id, ...): every rating that the run knows, one row a pair.
        n: how many items each user gets.
        unrated: (user_id, item_id, ...): what was seen otherwise, no pair of `ratings`.
        rules: that the lists were made by; None for none.

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
    if rules is None:
        return _check_lists(recommendations, seen, n=n, items=items)
    _check_rules(recommendations, rules)
    may_hold = items - rules.never.count()
    room = _room(seen, rules, ratings.select("item_id").distinct(), may_hold=may_hold)
    return _check_lists(recommendations, seen, n=n, items=may_hold, room=room)


def _room(seen: DataFrame, rules: OutputRules, catalogue: DataFrame, *, may_hold: int) -> DataFrame:
    """(user_id, room long): how many items are left for each user; all for a user without a row.

    Args:
        seen: (user_id, item_id) of the catalogue, each pair once.
        rules: that lists were made by.
        catalogue: (item_id), each once.
        may_hold: how many items of it some list may hold.
    """
    pair, blocked, allowed = ["user_id", "item_id"], rules.blocked, rules.allowed
    open_items = catalogue.join(rules.never.select("item_id"), "item_id", "left_anti")
    taken = seen if blocked is None else seen.unionByName(blocked.select(pair)).distinct()
    taken = taken.join(open_items, "item_id", "left_semi")
    room = taken.groupBy("user_id").agg((F.lit(may_hold) - F.count(F.lit(1))).alias("room"))
    if allowed is None:
        return room
    left = allowed.join(open_items, "item_id", "left_semi").join(taken, pair, "left_anti")
    theirs = left.groupBy("user_id").agg(F.count(F.lit(1)).alias("theirs"))
    restricted = allowed.select("user_id").distinct().join(theirs, "user_id", "left")
    restricted = restricted.select("user_id", F.coalesce("theirs", F.lit(0)).alias("theirs"))
    room = room.join(restricted, "user_id", "full")
    return room.select("user_id", F.coalesce("theirs", "room").alias("room"))


def _check_rules(recommendations: DataFrame, rules: OutputRules) -> None:
    """Raise where a list holds what rules forbid."""
    pairs = recommendations.select("user_id", "item_id")
    forbidden = pairs.join(rules.never.select("item_id"), "item_id", "left_semi")
    blocked, allowed = rules.blocked, rules.allowed
    both = ["user_id", "item_id"]
    if blocked is not None:
        more = pairs.join(blocked.select(both), both, "left_semi").select(forbidden.columns)
        forbidden = forbidden.unionByName(more)
    if allowed is not None:
        theirs = pairs.join(allowed.select("user_id").distinct(), "user_id", "left_semi")
        more = theirs.join(allowed.select(both), both, "left_anti").select(forbidden.columns)
        forbidden = forbidden.unionByName(more)
    example = F.min(F.struct("user_id", "item_id"))
    count, one = forbidden.agg(F.count(F.lit(1)), example).collect()[0]
    if count:
        raise ContractError(
            f"recommendations: {count} places hold what the rules forbid, such as item"
            f" {one.item_id!r} for user {one.user_id!r}",
            hint=_HINT,
        )


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
    recommendations: DataFrame,
    known: DataFrame,
    *,
    n: int,
    items: int,
    room: DataFrame | None = None,
) -> OutputCounts:
    """The list of every user, beside the pairs (user_id, item_id) that the user knows.

    Args:
        recommendations: the lists.
        known: each pair once.
        n: how many items each user gets.
        items: how many there are.
        room: (user_id, room) where not all items that a user does not know may be in the list; a
            user without a row has room for all.
    """
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
    left = F.lit(items) - F.col("rated")
    if room is not None:
        by_user = by_user.join(room, "user_id", "left")
        left = F.coalesce("room", F.lit(items))
    due = F.least(F.lit(n), left)
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
