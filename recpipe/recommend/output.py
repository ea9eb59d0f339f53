"""From dense numbers back to the ids of the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe.contracts import EXPLANATIONS, RECOMMENDATIONS, SIMILAR_ITEMS

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import DataFrame


def to_output(lists: DataFrame, *, users: DataFrame, items: DataFrame, run_date: date) -> DataFrame:
    """The columns of contracts.RECOMMENDATIONS.

    A number without an id loses its row, which the output contract then finds missing.

    Args:
        lists: (user, rank, item, score, source).
        users: contracts.USERS.
        items: contracts.ITEMS.
        run_date: the day that the lists are for.
    """
    return (
        lists.join(items.select("item", "item_id"), "item")
        .join(users.select("user", "user_id"), "user")
        .withColumn("score", F.col("score").cast("float"))
        .withColumn("run_date", F.lit(run_date))
        .select(*RECOMMENDATIONS.columns)
    )


def to_similar(lists: DataFrame, *, items: DataFrame, source: str, run_date: date) -> DataFrame:
    """The columns of contracts.SIMILAR_ITEMS.

    Args:
        lists: (user, item, rank, score), in which users are items, too.
        items: contracts.ITEMS.
        source: the name of the model.
        run_date: the day that they are for.
    """
    similar = items.select("item", F.col("item_id").alias("similar_item_id"))
    of = items.select(F.col("item").alias("user"), "item_id")
    return (
        lists.join(similar, "item")
        .join(of, "user")
        .withColumn("similarity", F.col("score").cast("float"))
        .withColumn("source", F.lit(source))
        .withColumn("run_date", F.lit(run_date))
        .select(*SIMILAR_ITEMS.columns)
    )


def to_explanations(
    reasons: DataFrame, lists: DataFrame, *, users: DataFrame, items: DataFrame
) -> DataFrame:
    """The columns of contracts.EXPLANATIONS.

    Args:
        reasons: (user, item, reason, because, weight) of `ranking.reasons`.
        lists: (user, item, rank, ...): the places that are explained.
        users: contracts.USERS.
        items: contracts.ITEMS.
    """
    because = items.withColumnsRenamed({"item": "because", "item_id": "because_item_id"})
    return (
        reasons.join(lists.select("user", "item", "rank"), ["user", "item"])
        .join(because, "because")
        .join(users.select("user", "user_id"), "user")
        .select(*EXPLANATIONS.columns)
    )
