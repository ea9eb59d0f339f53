"""n unseen items for every user, whatever the model knows of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Observation
from pyspark.sql import functions as F

from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import frame_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pyspark.sql import DataFrame

    from recpipe.models.base import FittedModel
    from recpipe.ranking.rules import ListRules
    from recpipe.storage import Folder, Stored


def recommend_all(  # noqa: PLR0913 - whose lists, of what, and what they may hold
    model: FittedModel,
    filler: Callable[[], FittedModel] | None,
    *,
    ratings: DataFrame | Stored,
    n: int,
    scratch: Folder,
    users: DataFrame | None = None,
    max_users: int | None = None,
    instant: datetime | None = None,
    unrated: DataFrame | None = None,
    rules: ListRules | None = None,
) -> DataFrame:
    """(user, rank, item, score, source): the model's lists, filled up to n.

    Everything that a user has ever rated, or seen without a rating, is left out. A user whom the
    model does not know, or for whom it has fewer than n items, gets the rest from the filler,
    which is asked for those users alone. A list stays shorter than n only where the filler has no
    more items either: fitted on all ratings, it knows the whole catalogue. Rules hold for both.

    Args:
        model: whose lists are wanted.
        filler: gives what fills up, popularity fitted on all ratings; called if a list is short.
            None: short lists stay short.
        ratings: (user, item, ...): what models learn from.
        n: how many items each user gets.
        scratch: where the model's lists are kept, since they are read more than once. The frame
            that is returned reads from it: write it elsewhere before the folder goes.
        users: (user), distinct, who get a list; by default the users of `ratings`.
        max_users: how many they can be, where that is known: if the model's own lists have n places
            for as many, none of them need be looked at.
        instant: that the lists are made for.
        unrated: (user, item, ...) that were seen otherwise; it may hold other users.
        rules: what lists may hold; None: anything.
    """
    rated = frame_of(ratings).select("user", "item")
    users = rated.select("user").distinct() if users is None else users
    # The stored table itself where that is all: tasks can then decode its files.
    left_out = ratings if unrated is None else rated.unionByName(unrated.select("user", "item"))
    seen = frame_of(left_out)
    ranked = model.recommend(users, n=n, seen=left_out, instant=instant, rules=rules).frame
    ranked = ranked.select("user", "rank", "item", "score")
    written = Observation()
    with narrow_rows(seen.sparkSession):
        counted = ranked.observe(written, F.count(F.lit(1)).alias("places"))
        own = scratch.write_table("own", counted)
    full = max_users is not None and written.get["places"] == n * max_users
    if filler is None:
        return own.withColumn("source", F.lit(model.name))
    short = None if full else scratch.write_table("short", short_lists(own, users, n=n))
    if short is None or short.isEmpty():
        return own.withColumn("source", F.lit(model.name))
    return fill_up(
        own,
        filler(),
        short=short,
        seen=seen,
        n=n,
        source=model.name,
        instant=instant,
        rules=rules,
    )


def short_lists(own: DataFrame, users: DataFrame, *, n: int) -> DataFrame:
    """(user, held): those of `users` (user) with fewer than n items, and how many they have."""
    held = own.groupBy("user").agg(F.count("*").cast("int").alias("held"))
    return (
        users.join(held, "user", "left")
        .select("user", F.coalesce("held", F.lit(0)).alias("held"))
        .where(F.col("held") < n)
    )


def fill_up(
    own: DataFrame,
    filler: FittedModel,
    *,
    short: DataFrame,
    seen: DataFrame,
    n: int,
    source: str,
    instant: datetime | None = None,
    rules: ListRules | None = None,
) -> DataFrame:
    """(user, rank, item, score, source): `own`, with short lists continued by the filler.

    The ranks go on where the user's own end, and no item comes twice.

    Args:
        own: (user, rank, item, score), ranks from 1 without a gap.
        filler: asked for n items of the users in `short`, without those of `own`; the first
            n - held of them are taken.
        short: (user, held) of `short_lists`.
        seen: (user, item) pairs to leave out.
        n: how many items each user gets.
        source: of the rows of `own`.
        instant: that the lists are made for.
        rules: what may be in them; None: anything.
    """
    users = short.select("user")
    known = (
        seen.select("user", "item")
        .join(users, "user", "left_semi")
        .unionByName(own.select("user", "item").join(users, "user", "left_semi"))
    )
    more = (
        filler.recommend(users, n=n, seen=known, instant=instant, rules=rules)
        .frame.join(short, "user")
        .where(F.col("rank") <= n - F.col("held"))
        .select(
            "user",
            (F.col("held") + F.col("rank")).alias("rank"),
            "item",
            "score",
            F.lit(filler.name).alias("source"),
        )
    )
    return own.withColumn("source", F.lit(source)).unionByName(more)
