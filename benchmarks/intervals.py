"""Intervals and differences of all models and metrics, against the evaluation that they belong to.

    python benchmarks/intervals.py --out build/bench/intervals.json

Six models, four of which predict ratings, on one held-out part: every metric at three cut-offs. The
other side is the evaluation itself, in one query for lists and one for ratings, from Parquet; what
comes before it, such as making the lists, is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from evaluation import make
from pyspark.sql import functions as F
from side_by_side import compare, seconds

from recpipe.evaluation import differences, ranking_metrics, rating_metrics, with_intervals
from recpipe.evaluation.metrics.base import ItemFacts
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.evaluation import MetricRow

MODELS, PREDICT_RATINGS = 6, 4
KS = (5, 10, 20)
GENRE = 0.15
"""How often an item is of a genre."""


def evaluated(spark: SparkSession, folder: Path, *, users: int, items: int) -> list[MetricRow]:
    """Every metric of all models."""
    place = Folder(spark, folder)
    lists, held_out = (place.stored(f"{name}.parquet") for name in ("lists", "held_out"))
    random = np.random.default_rng(5)
    facts = ItemFacts(
        random.integers(1, 500, items), users, random.random((items, 18)) < GENRE,
        random.normal(size=(items, 32)).astype(np.float32),
    )  # fmt: skip
    predicted = held_out.frame.select("user", "item", F.lit(4.5).cast("float").alias("prediction"))
    return [
        *ranking_metrics(
            {f"model {number}": lists for number in range(MODELS)}, held_out, ks=KS,
            relevance_threshold=None, split="test", users=users, facts=facts,
        ),
        *rating_metrics(
            {f"model {number}": predicted for number in range(PREDICT_RATINGS)}, held_out,
            split="test", users=users,
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=10_700)
    parser.add_argument("--work", type=Path, default=Path("build/bench/evaluation"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/intervals.json"))
    given = parser.parse_args()
    folder = given.work / str(given.users)
    make(folder, users=given.users, items=given.items)
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    with spark_session(settings.session, name="intervals") as spark:
        rows: list[MetricRow] = []

        def evaluate() -> None:
            rows[:] = evaluated(spark, folder, users=given.users, items=given.items)

        def intervals() -> None:
            with_intervals(rows, seed=1)
            differences(rows, metric="ndcg@10", split="test", seed=1)

        evaluate()
        compare(
            "intervals and differences of 6 models", "the evaluation that they belong to",
            ours=lambda: seconds(intervals), theirs=lambda: seconds(evaluate), target=0.1,
            sizes={"users": given.users, "items": given.items, "list": 100, "rows": len(rows)},
            versions={}, out=given.out,
        )  # fmt: skip


if __name__ == "__main__":
    main()
