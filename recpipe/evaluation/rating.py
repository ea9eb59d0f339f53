"""How close predicted ratings are to the held-out ones."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import isfinite, sqrt
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recpipe.errors import ContractError
from recpipe.evaluation.rows import COMMON, MetricRow, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, Row

_FAULTS = {
    1: "a pair that is not held out",
    2: "a pair more than once",
    3: "a number that is not finite",
}


def rating_metrics(
    predictions: Mapping[str, DataFrame],
    held_out: DataFrame,
    *,
    split: str,
    fold: int | None = None,
) -> list[MetricRow]:
    """RMSE, MAE and prediction coverage of every model: one job, one shuffle of the pairs.

    Each model is judged twice: over the pairs that it predicts, and (split `<split>_common`) over
    those that all of them predict. A model that predicts no pair at all is taken for one that
    does not predict ratings: it gets no row and does not empty the common set. RMSE and MAE over
    no pair have no value, hence no row.

    Args:
        predictions: by model, (user, item, prediction, ...): one row a predicted pair.
        held_out: (user, item, rating, ...), one row a pair.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.

    Raises:
        ContractError: if a model predicts a pair twice, a pair that is not held out or a number
            that is not finite; or if the held-out pairs repeat or have such a rating.
    """
    models = list(predictions)
    if not models:
        return []
    groups = _by_reach(_by_pair(list(predictions.values()), held_out), models=len(models)).collect()
    if not groups:
        return []
    if any(group["repeated"] for group in groups):
        raise ContractError(f"{split}: a held-out pair has more than one row")
    pairs = sum(group["pairs"] for group in groups)
    # Every mask is a part of this one, so the pairs that all models predict are one group.
    everyone = reduce(lambda a, b: a | b, (group["mask"] for group in groups))
    shared = [group for group in groups if group["mask"] == everyone]
    own: list[MetricRow] = []
    common: list[MetricRow] = []
    for place, model in enumerate(models):
        _refuse_faults(groups, place, model=model, split=split)
        predicted = [group for group in groups if group["mask"] >> place & 1]
        if predicted:
            users = sum(group[f"users_{place}"] for group in groups)
            row = MetricRow(model, "", None, 0.0, users=users, rows=0, split=split, fold=fold)
            own += _rows(predicted, place, row, pairs=pairs)
            users = sum(group["users"] for group in shared)
            row = replace(row, users=users, split=split + COMMON)
            common += _rows(shared, place, row, pairs=pairs)
    return own + common


def _by_pair(frames: Sequence[DataFrame], held_out: DataFrame) -> DataFrame:
    """One row a pair: `rating`, `held` (rows held out), and of model j `p_j` and `times_j`.

    A union and a grouping in place of a join for each model; nothing but the shuffle by user
    moves, since one by user serves the groupings by pair and by user alike.
    """
    absent = F.lit(None).cast("double")
    places = range(len(frames))
    held = held_out.select(
        "user", "item", F.col("rating").cast("double"), *[absent.alias(f"p_{j}") for j in places]
    )
    predicted = [
        frame.select(
            "user",
            "item",
            absent.alias("rating"),
            *[
                (F.col("prediction").cast("double") if i == j else absent).alias(f"p_{j}")
                for j in places
            ],
        )
        for i, frame in enumerate(frames)
    ]
    together = reduce(DataFrame.unionByName, predicted, held).repartition("user")
    return together.groupBy("user", "item").agg(
        F.max("rating").alias("rating"),
        F.count("rating").alias("held"),
        *[F.max(f"p_{j}").alias(f"p_{j}") for j in places],
        *[F.count(f"p_{j}").alias(f"times_{j}") for j in places],
    )


def _by_reach(pairs: DataFrame, *, models: int) -> DataFrame:
    """One row for each set of models (the bits of `mask`) that predict the same pairs, with sums.

    `users` counts the users of the group. A user may be in several groups, so `users_j`, those
    that model j reaches, counts each in one of its groups only: add it up over all groups.
    """
    places = range(models)
    bits = [F.when(F.col(f"times_{j}") > 0, 1 << j).otherwise(0) for j in places]
    sums: dict[str, Column] = {
        "pairs": F.count_if(F.col("held") > 0),
        "repeated": F.count_if(F.col("held") > 1),
    }
    for j in places:
        error = F.col(f"p_{j}") - F.col("rating")
        sums[f"rows_{j}"] = F.count(f"p_{j}")
        sums[f"squared_{j}"] = F.sum(error * error)
        sums[f"absolute_{j}"] = F.sum(F.abs(error))
        sums[f"faults_{j}"] = F.count(_fault(j))
        sums[f"fault_{j}"] = F.max(_fault(j))
    user = Window.partitionBy("user")
    by_user = (
        pairs.withColumn("mask", reduce(lambda a, b: a.bitwiseOR(b), bits))
        .groupBy("user", "mask")
        .agg(*[total.alias(name) for name, total in sums.items()])
        .withColumn("reach", F.bit_or("mask").over(user))
        .withColumn("first", F.row_number().over(user.orderBy("mask")) == 1)
    )
    return by_user.groupBy("mask").agg(
        F.count("*").alias("users"),
        *[(F.max if n.startswith("fault_") else F.sum)(n).alias(n) for n in sums],
        *[
            F.count_if(F.col("first") & (F.col("reach").bitwiseAND(1 << j) != 0)).alias(
                f"users_{j}"
            )
            for j in places
        ],
    )


def _fault(place: int) -> Column:
    """The key in `_FAULTS` of what is wrong with a model's prediction of a pair, or null."""
    prediction, times = F.col(f"p_{place}"), F.col(f"times_{place}")
    infinite = F.isnan(prediction) | (F.abs(prediction) == float("inf"))
    return F.when((times > 0) & (F.col("held") == 0), 1).when(times > 1, 2).when(infinite, 3)


def _refuse_faults(groups: Sequence[Row], place: int, *, model: str, split: str) -> None:
    faults = sum(group[f"faults_{place}"] for group in groups)
    if faults:
        worst = max(group[f"fault_{place}"] or 0 for group in groups)
        raise ContractError(
            f"model {model}: {faults} predictions on {split} are wrong: it predicts"
            f" {_FAULTS[worst]}"
        )


def _rows(groups: Sequence[Row], place: int, row: MetricRow, *, pairs: int) -> list[MetricRow]:
    """The metrics of the model at `place` over the pairs of `groups`; `row` has all but them."""
    rows = sum(group[f"rows_{place}"] for group in groups)
    values = {"prediction_coverage": rows / pairs}
    if rows:
        squared = sum(group[f"squared_{place}"] for group in groups)
        absolute = sum(group[f"absolute_{place}"] for group in groups)
        values = {"rmse": sqrt(squared / rows), "mae": absolute / rows, **values}
    if not all(isfinite(value) for value in values.values()):
        raise ContractError(f"{row.split}: a held-out rating is not finite")
    return [
        replace(row, metric=metric, value=settled(value), rows=rows)
        for metric, value in values.items()
    ]
