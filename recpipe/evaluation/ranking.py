"""How good the first k places of every user's list are."""

from __future__ import annotations

from functools import reduce
from math import log, log2
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.errors import ContractError
from recpipe.evaluation.rows import RANKING_METRICS, MetricRow, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, Row


def ranking_metrics(
    lists: Mapping[str, DataFrame],
    held_out: DataFrame,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
    split: str,
    fold: int | None = None,
) -> list[MetricRow]:
    """Every ranking metric at every k of every model: one query.

    The definitions are `rows.DEFINITIONS`: a user with relevant items and no list scores 0, a user
    without relevant items does not count, a list shorter than k still divides by k.

    Args:
        lists: by model, (user, item, rank, ...) with ranks from 1; longer lists are cut at max(ks).
        held_out: (user, item, rating, ...), one row a pair.
        ks: the places that count.
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.

    Returns:
        Rows in the order of `lists`, metrics, ks; none if no user has a relevant item.

    Raises:
        ContractError: if a list has an item twice or its ranks are not 1, 2, ...
        ValueError: if a k is below 1.
    """
    judged = _judged(lists, held_out, ks=ks, relevance_threshold=relevance_threshold)
    counted = F.col("relevant") > 0
    values = _values(ks)
    totals = (
        _with_hits(judged, ks)
        .groupBy("model")
        .agg(
            F.count_if("repeats").alias("repeats"),
            F.min(F.when(F.col("repeats"), F.col("user"))).alias("repeats_user"),
            F.count_if("misranked").alias("misranked"),
            F.min(F.when(F.col("misranked"), F.col("user"))).alias("misranked_user"),
            F.count_if(counted).alias("users"),
            F.sum("relevant").alias("rows"),
            *[F.avg(F.when(counted, value)).alias(name) for name, value in values.items()],
        )
    )
    found = {row["model"]: row for row in totals.collect()}
    rows: list[MetricRow] = []
    for model in lists:
        if model in found:
            _refuse_faults(found[model], model=model, split=split)
            rows += _rows(found[model], model, ks=ks, split=split, fold=fold)
    return rows


def ranking_by_user(
    lists: Mapping[str, DataFrame],
    held_out: DataFrame,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
) -> DataFrame:
    """(model, user, relevant, `precision@5`, ...): the values whose means are the metrics.

    One row a model and a user with relevant items. The arguments are those of `ranking_metrics`,
    which also checks the lists; this does not.

    Raises:
        ValueError: if a k is below 1.
    """
    judged = _judged(lists, held_out, ks=ks, relevance_threshold=relevance_threshold)
    return _with_hits(judged.where("relevant > 0"), ks).select(
        "model", "user", "relevant", *[value.alias(name) for name, value in _values(ks).items()]
    )


def judged_users(held_out: DataFrame, *, relevance_threshold: float | None) -> DataFrame:
    """(user): the users who count, distinct: those with a relevant item in `held_out`.

    Args:
        held_out: (user, item, rating, ...).
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
    """
    return _relevant(held_out, relevance_threshold).select("user").distinct()


def _judged(
    lists: Mapping[str, DataFrame],
    held_out: DataFrame,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
) -> DataFrame:
    """(model, user, relevant, hits, repeats, misranked): one row a model and user.

    `relevant` counts the user's relevant items, `hits` has the ranks of those within max(ks) in
    ascending order, the last two say what is wrong with the list. Users with neither a list nor a
    relevant item are not there.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be numbers from 1, not {list(ks)}")
    # Lists and relevant items meet as arrays of a user, not as pairs: lists are shuffled once,
    # and the join finds both sides where it needs them.
    places = range(len(lists))
    place = F.struct("rank", "item")
    listed = reduce(
        DataFrame.unionByName,
        [
            frame.select(
                "user", *[(place if i == j else F.lit(None)).alias(f"_{j}") for j in places]
            )
            for i, frame in enumerate(lists.values())
        ],
    )
    by_user = listed.groupBy("user").agg(
        *[F.sort_array(F.collect_list(f"_{j}")).alias(f"_{j}") for j in places]
    )
    wanted = (
        _relevant(held_out, relevance_threshold)
        .groupBy("user")
        .agg(F.collect_set("item").alias("wanted"))
    )
    none = F.array().cast("array<struct<rank: int, item: int>>")
    each = [
        F.struct(F.lit(model).alias("model"), F.coalesce(f"_{j}", none).alias("places"))
        for j, model in enumerate(lists)
    ]
    return (
        wanted.join(by_user, "user", "full")
        .select("user", "wanted", F.explode(F.array(*each)).alias("list"))
        .select(
            "list.model",
            "user",
            F.coalesce(F.size("wanted"), F.lit(0)).alias("relevant"),
            *_seen_in(F.col("list.places"), F.col("wanted"), longest=max(ks)),
        )
    )


def _seen_in(places: Column, wanted: Column, *, longest: int) -> list[Column]:
    """`hits`, `repeats` and `misranked` of a list of places (rank, item), sorted."""
    hits = F.filter(
        places,
        lambda place: F.array_contains(wanted, place["item"]) & place["rank"].between(1, longest),
    )
    items = F.transform(places, lambda place: place["item"])
    ranks = F.transform(places, lambda place: place["rank"])
    return [
        F.coalesce(
            F.transform(hits, lambda place: place["rank"]), F.array().cast("array<int>")
        ).alias("hits"),
        (F.size(F.array_distinct(items)) < F.size(items)).alias("repeats"),
        (ranks != _counting(F.size(ranks))).alias("misranked"),
    ]


def _relevant(held_out: DataFrame, threshold: float | None) -> DataFrame:
    if threshold is None:
        return held_out
    # Compared as floats: the float 3.3 is below the double 3.3.
    return held_out.where(F.col("rating") >= F.lit(threshold).cast("float"))


def _counting(n: Column) -> Column:
    """The array 1, 2, ... n, empty for 0."""
    return F.slice(F.sequence(F.lit(0), n), F.lit(2), n)


def _with_hits(judged: DataFrame, ks: Sequence[int]) -> DataFrame:
    """`judged` + `hits_k`: the ranks of the hits within k, ascending."""
    return judged.withColumns({f"hits_{k}": _within(k) for k in ks})


def _within(k: int) -> Column:
    return F.filter("hits", lambda rank: rank <= k)


def _values(ks: Sequence[int]) -> dict[str, Column]:
    """By `metric@k`, the value of one user with relevant items, from `relevant` and `hits_k`."""
    return {f"{metric}@{k}": value for k in ks for metric, value in _values_at(k).items()}


def _values_at(k: int) -> dict[str, Column]:
    # Spark may evaluate a value of users who do not count, and ANSI refuses a division by 0.
    hits, relevant = F.col(f"hits_{k}"), F.nullif(F.col("relevant"), F.lit(0))
    count = F.size(hits)
    ideal = [0.0]
    for rank in range(1, k + 1):
        ideal.append(ideal[-1] + 1 / log2(rank + 1))
    best = F.get(F.array(*[F.lit(gain) for gain in ideal]), F.least(relevant.cast("int"), F.lit(k)))
    precisions = F.transform(hits, lambda rank, place: (place + 1) / rank)
    return {
        "precision": count / k,
        "recall": count / relevant,
        "ndcg": _total(F.transform(hits, lambda rank: log(2) / F.log(rank + 1.0))) / best,
        "map": _total(precisions) / F.least(relevant, F.lit(k)),
        "mrr": F.coalesce(1 / F.get(hits, F.lit(0)), F.lit(0.0)),
        "hit_rate": (count > 0).cast("double"),
    }


def _total(values: Column) -> Column:
    return F.aggregate(values, F.lit(0.0), lambda total, value: total + value)


def _refuse_faults(totals: Row, *, model: str, split: str) -> None:
    for fault, rule in {
        "repeats": "have an item more than once",
        "misranked": "have ranks other than 1, 2, ...",
    }.items():
        if totals[fault]:
            raise ContractError(
                f"model {model}: {totals[fault]} lists on {split} {rule},"
                f" such as that of user {totals[f'{fault}_user']}"
            )


def _rows(
    totals: Row, model: str, *, ks: Sequence[int], split: str, fold: int | None
) -> list[MetricRow]:
    if not totals["users"]:
        return []
    return [
        MetricRow(
            model,
            metric,
            k,
            settled(totals[f"{metric}@{k}"]),
            users=totals["users"],
            rows=totals["rows"],
            split=split,
            fold=fold,
        )
        for metric in RANKING_METRICS
        for k in ks
    ]
