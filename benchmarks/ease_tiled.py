"""EASE by tiles on the executors against EASE by the driver's matrix, side by side in one session.

    python benchmarks/ease_tiled.py --items 8000 --users 20000

Both fit the same likings, drawn by popularity. Seconds are of whole fits, up to the table of
weights; the memory is what Python's driver process holds at most beyond what it held before. Lists
of some users are compared at the end.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pyarrow as pa

from recpipe.models.data import TrainingData
from recpipe.models.linear.ease import Ease, EaseModel
from recpipe.models.linear.settings import EaseSettings
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession


def likings(spark: SparkSession, *, users: int, items: int, each: int) -> DataFrame:
    """(user, item, rating): about `each` items of every user, the popular ones more often."""
    rng = np.random.default_rng(3)
    popular = rng.permutation(1 / np.arange(20, items + 20) ** 0.7)
    drawn = rng.choice(items, (users, each), p=popular / popular.sum())
    # Every item is liked by somebody.
    drawn[:, 0] = np.arange(users) % items
    pairs = np.unique(np.column_stack([np.repeat(np.arange(users), each), drawn.ravel()]), axis=0)
    table = pa.table(
        {
            "user": pairs[:, 0].astype(np.int32),
            "item": pairs[:, 1].astype(np.int32),
            "rating": np.ones(len(pairs), np.float32),
        }
    )
    return spark.createDataFrame(table)


@contextmanager
def measured(found: dict[str, float]) -> Iterator[None]:
    """Seconds, and MiB that this process holds at most beyond what it holds now."""
    process, over = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = [before]

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    yield
    found["seconds"] = time.perf_counter() - start
    over.set()
    thread.join()
    found["mib"] = (peak[0] - before) / 2**20


def lists(model: EaseModel, users: int) -> dict[tuple[int, int], int]:
    """The item of each place of some lists."""
    spark = model.spark
    asked = spark.range(0, users, max(1, users // 500)).selectExpr("int(id) AS user")
    seen = model.histories.frame.select("user", "item")
    rows = model.recommend(asked, n=10, seen=seen).frame.collect()
    return {(row["user"], row["rank"]): row["item"] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=8000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=["dense", "tiled"])
    parser.add_argument("--work", type=Path, default=Path("build/bench/ease"))
    given = parser.parse_args()
    with spark_session(load(environment={}).session, name="bench-ease") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        root = Folder(spark, given.work)
        sizes = {"users": given.users, "items": given.items, "each": given.each}
        ratings = root.write_table("ratings", likings(spark, **sizes))
        seconds: dict[str, list[float]] = {method: [] for method in given.methods}
        shown: dict[str, dict[tuple[int, int], int]] = {}
        for number in range(given.rounds):
            for method in given.methods:
                data = TrainingData(ratings=ratings, scale=None)
                found: dict[str, float] = {}
                with root.scratch(method) as scratch:
                    with measured(found):
                        settings = EaseSettings(method=method)
                        model = Ease(settings).fit(data, scratch=scratch, seed=1)
                    seconds[method].append(found["seconds"])
                    print(
                        f"{method}: {model.info()}, {found['seconds']:.1f} s,"
                        f" driver {found['mib']:,.0f} MiB",
                        flush=True,
                    )
                    if not number and isinstance(model, EaseModel):
                        with measured(found):
                            shown[method] = lists(model, given.users)
                        print(
                            f"{method}: lists {found['seconds']:.1f} s,"
                            f" driver {found['mib']:,.0f} MiB",
                            flush=True,
                        )
        print(ratings.count(), "likings")
        if len(given.methods) > 1:
            first, second = (np.median(seconds[method]) for method in given.methods[:2])
            print(f"{given.methods[1]} / {given.methods[0]}: {second / first:.2f}")
            one, other = (shown[method] for method in given.methods[:2])
            same = sum(one[place] == other.get(place) for place in one)
            print(f"places of lists that agree: {same} of {len(one)}")
        root.delete()


if __name__ == "__main__":
    main()
