"""Lists of all users by rules, against the lists of the same users without rules.

    python benchmarks/rules.py --out build/bench/rules.json

Factors and seen pairs are those of benchmarks/topn.py. Under the rules a third of the items is for
nobody, a tenth of the users gets some items alone, and each of the others must not get some. What
the rules come to lies in Parquet, as `recommend` has written it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from side_by_side import compare, seconds, write_table
from topn import Lists, N, drained, make

from recpipe.ranking.rules import ListRules
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ALLOWED, BLOCKED = 200, 10
"""Items of a user who gets these alone, and items that another must not get."""


def rules_of(spark: SparkSession, folder: Path, *, users: int, items: int) -> ListRules:
    """The rules, their pairs in Parquet."""
    random = np.random.default_rng(3)
    restricted = np.arange(users) % 10 == 0
    for name, whose, each in (
        ("allowed", np.flatnonzero(restricted), ALLOWED),
        ("blocked", np.flatnonzero(~restricted), BLOCKED),
    ):
        pairs = {
            "user": np.repeat(whose, each).astype(np.int32),
            "item": random.integers(0, items, each * len(whose)).astype(np.int32),
        }
        write_table(folder / f"{name}.parquet", pa.table(pairs), files=2)
    never = np.sort(random.choice(items, items // 3, replace=False)).astype(np.int32)
    place = Folder(spark, folder)
    return ListRules(never, *(place.read_table(f"{n}.parquet") for n in ("allowed", "blocked")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=10_700)
    parser.add_argument("--ratings", type=int, default=8_300_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--work", type=Path, default=Path("build/bench/topn"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/rules.json"))
    given = parser.parse_args()
    shape = {"users": given.users, "items": given.items, "rank": given.rank}
    folder = given.work / f"{given.users}x{given.items}"
    make(folder, ratings=given.ratings, **shape)
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    with spark_session(settings.session, name="rules") as spark:
        lists = Lists(spark, folder, **shape)
        rules = rules_of(spark, folder, users=given.users, items=given.items)

        def ruled() -> DataFrame:
            users = lists.tables["user"].frame.select("user")
            seen = lists.tables["seen"]
            return lists.model().recommend(users, n=N, seen=seen, rules=rules).frame

        def free() -> DataFrame:
            return lists.ours()

        for _ in range(4):
            drained(ruled())
            drained(free())
        compare(
            "top-10 of all users by rules", "the same lists without rules",
            ours=lambda: seconds(lambda: drained(ruled())),
            theirs=lambda: seconds(lambda: drained(free())),
            target=1.2,
            sizes={**shape, "ratings": given.ratings, "n": N, "never": len(rules.never),
                   "allowed": ALLOWED * given.users // 10,
                   "blocked": BLOCKED * given.users * 9 // 10},
            versions={}, out=given.out,
        )  # fmt: skip


if __name__ == "__main__":
    main()
