"""Metrics over all windows of a backtest, each user of each window with the same weight."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.evaluation.rows import MetricRow, Sample, mean_of, rounded
from recpipe.kernels.groups import EACH, GROUPS, GroupSums

if TYPE_CHECKING:
    from collections.abc import Sequence

POOLED = "pooled"
"""The part that pooled rows are of."""


def pooled_rows(user_metrics: Sequence[DataFrame], *, users: int) -> list[MetricRow]:
    """Every metric of users' lists over all windows: the mean over (user, window).

    A window that has no column of a metric, such as where a model could not be fitted, counts for
    nothing in that metric. `users` of a row are distinct, `rows` the pairs of a user and a window
    that its mean is over. A row's sample has the sums of a user over all windows: a bootstrap draws
    users with all that is known of them, since what they do in one window is like what they do in
    the next.

    Args:
        user_metrics: (model, user, relevant, ndcg@10, ...) of each window.
        users: how many there are at most.
    """
    every = reduce(partial(DataFrame.unionByName, allowMissingColumns=True), user_metrics)
    names = [name for name in every.columns if "@" in name]
    of_user = every.groupBy("model", "user").agg(
        *(F.sum(f"`{name}`").alias(f"sum {name}") for name in names),
        *(F.count(f"`{name}`").alias(f"count {name}") for name in names),
    )
    each = users <= EACH
    group = F.col("user") if each else F.col("user") % GROUPS
    summed = of_user.groupBy("model", group.cast("long").alias("group")).agg(
        *(F.coalesce(F.sum(f"`sum {name}`"), F.lit(0.0)).alias(f"sum {name}") for name in names),
        *(F.sum(f"`count {name}`").alias(f"count {name}") for name in names),
        *(F.count_if(F.col(f"`count {name}`") > 0).alias(f"users {name}") for name in names),
    )
    found = summed.toArrow().to_pandas().sort_values(["model", "group"])
    rows: list[MetricRow] = []
    for model, part in found.groupby("model", sort=True):
        groups = part["group"].to_numpy()
        for name in names:
            metric, _, k = name.partition("@")
            sums = np.stack([
                part[f"{what} {name}"].to_numpy(np.float64) for what in ("sum", "count")
            ])  # fmt: skip
            total, count = sums.sum(axis=1)
            if count:
                rows.append(
                    MetricRow(
                        str(model),
                        metric,
                        int(k),
                        rounded(float(total / count)),
                        users=int(part[f"users {name}"].sum()),
                        rows=int(count),
                        split=POOLED,
                        sample=Sample(GroupSums(groups, sums, each), mean_of),
                    )
                )
    return rows


__all__ = ["POOLED", "pooled_rows"]
