"""Ranking metrics at five cut-offs, against Microsoft's recommenders on the same session's data.

    python benchmarks/evaluation.py --out build/bench/evaluation.json

Both read the same lists and held-out pairs from Parquet. Ours gives six metrics at all cut-offs in
one query; theirs a query a metric and cut-off, by its own `SparkRankingEvaluation` in a process of
its own. Precision, recall and NDCG of both must agree before anything is timed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from side_by_side import compare, environment_of, peer, seconds, write_table

from recpipe.evaluation import ranking_metrics
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.evaluation import MetricRow

KS = (5, 10, 20, 50, 100)
PACKAGES = ("pyspark==4.2.0", "pandas<3", "numpy", "pyarrow")


def make(folder: Path, *, users: int, items: int) -> None:
    """Lists of 100 and five to fifteen held-out items a user, a fifth of them in the lists."""
    if (folder / "tables").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    longest = max(KS)
    starts = random.integers(0, items, users)
    listed = (starts[:, None] + 7 * np.arange(longest)) % items
    user = np.repeat(np.arange(users, dtype=np.int32), longest)
    rank = np.tile(np.arange(1, longest + 1, dtype=np.int32), users)
    item = listed.ravel().astype(np.int32)
    lists = pa.table(
        {"user": user, "item": item, "rank": rank, "score": (1000 - rank).astype(np.float32)}
    )
    write_table(folder / "lists.parquet", lists, groups=4)
    held: list[tuple[int, int]] = []
    for u in range(users):
        hits = listed[u][random.integers(0, longest, 2)]
        others = random.integers(0, items, random.integers(3, 13))
        held += [(u, int(i)) for i in set(map(int, hits)) | set(map(int, others))]
    pairs = np.array(held, np.int32)
    table = pa.table(
        {
            "user": pairs[:, 0].copy(),
            "item": pairs[:, 1].copy(),
            "rating": np.full(len(pairs), 5, np.float32),
        }
    )
    write_table(folder / "held_out.parquet", table, groups=4)
    (folder / "tables").touch()


def ours(spark: SparkSession, folder: Path) -> list[MetricRow]:
    lists, held_out = (
        Folder(spark, folder).stored(f"{name}.parquet") for name in ("lists", "held_out")
    )
    return ranking_metrics(
        {"model": lists}, held_out, ks=KS, relevance_threshold=None, split="test"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=10_700)
    parser.add_argument("--work", type=Path, default=Path("build/bench/evaluation"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/evaluation.json"))
    given = parser.parse_args()
    folder = given.work / str(given.users)
    make(folder, users=given.users, items=given.items)
    python = environment_of("recommenders", PACKAGES, alone=["recommenders==1.2.1"])
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    with (
        spark_session(settings.session, name="evaluation") as spark,
        peer(python, "recommenders_evaluation.py", folder, *KS) as rival,
    ):
        theirs = rival.ask("values")["values"]
        found = {row.name: row.value for row in ours(spark, folder)}
        for name, value in theirs.items():
            if abs(found[name] - value) > 1e-6:  # noqa: PLR2004
                raise SystemExit(f"{name}: ours {found[name]}, theirs {value}")
        compare(
            "ranking metrics at 5 cut-offs", "recommenders' SparkRankingEvaluation, 3 metrics",
            ours=lambda: seconds(lambda: ours(spark, folder)),
            theirs=lambda: float(rival.ask("go")["seconds"]),
            target=0.1, sizes={"users": given.users, "items": given.items, "list": max(KS)},
            versions={"recommenders": "1.2.1"}, out=given.out,
        )  # fmt: skip


if __name__ == "__main__":
    main()
