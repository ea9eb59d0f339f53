"""Lists of all users with what they have seen left out, against three others.

    python benchmarks/topn.py --out build/bench/topn.json

Factors and pairs are random, the same for all sides, and on disk. Every side reads them, ranks all
users and hands its lists to a sink that drops them. Against MLlib's own `recommendForAllUsers`,
which leaves nothing out; `implicit` in one process of two threads; and the recipe of Microsoft's
recommenders (all pairs, scored by MLlib's model, minus the seen ones by an anti join, ranked by a
window), which is given a smaller size because it is quadratic in memory and time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F
from side_by_side import (
    JAVA_BLAS,
    Contender,
    Peer,
    compare_all,
    environment_of,
    peer,
    seconds,
    write_table,
)

from recpipe.models.factors import FactorModel
from recpipe.models.registry import build
from recpipe.settings import load
from recpipe.spark.held import narrow_rows
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

N = 10


def make(folder: Path, *, users: int, items: int, ratings: int, rank: int) -> None:
    """Factors and seen pairs as Parquet and as arrays: popularity is skewed, pairs are distinct."""
    if (folder / "tables").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    user = random.integers(0, users, int(ratings * 1.1))
    item = (random.power(0.35, len(user)) * items).astype(np.int64)
    keys = random.permutation(np.unique(user * items + item))[:ratings]
    pairs = np.column_stack([keys // items, keys % items]).astype(np.int32)
    np.save(folder / "seen.npy", pairs)
    table = pa.table({"user": pairs[:, 0].copy(), "item": pairs[:, 1].copy()})
    write_table(folder / "seen.parquet", table, files=4)
    for name, count in (("user", users), ("item", items)):
        factors = random.normal(0, 0.3, (count, rank)).astype(np.float32)
        np.save(folder / f"{name}_factors.npy", factors)
        lists = pa.ListArray.from_arrays(
            np.arange(count + 1, dtype=np.int32) * rank, factors.ravel()
        )
        numbers = np.arange(count, dtype=np.int32)
        bias = np.zeros(count, np.float32)
        factored = pa.table({name: numbers, "factors": lists, "bias": bias})
        write_table(folder / f"{name}.parquet", factored, groups=4)
    (folder / "tables").touch()


class Lists:
    """Each side's way from the files to the lists."""

    def __init__(self, spark: SparkSession, folder: Path, *, users: int, items: int, rank: int):
        # Of files nothing but the schema is read here, as on MLlib's side.
        names = ("user", "item", "seen")
        self.tables = {n: Folder(spark, folder).stored(f"{n}.parquet") for n in names}
        self.users, self.items, self.rank = users, items, rank

    def model(self) -> FactorModel:
        return FactorModel(
            name="als_explicit",
            user_factors=self.tables["user"],
            item_factors=self.tables["item"],
            rank=self.rank,
            mean=0.0,
            refit_config=build("als_explicit", {}),
            users=self.users,
            items=self.items,
        )

    def ours(self) -> DataFrame:
        users = self.tables["user"].frame.select("user")
        return self.model().recommend(users, n=N, seen=self.tables["seen"]).frame


def drained(frame: DataFrame) -> None:
    # As the stages write lists; no other side sends rows to Python.
    with narrow_rows(frame.sparkSession):
        frame.write.format("noop").mode("overwrite").save()


def check(lists: Lists, expected: list[list[int]]) -> None:
    """Ours must be the lists of the other side, but for ties in float32."""
    found = lists.ours().where(F.col("user") < len(expected)).collect()
    mine: dict[int, list[int]] = {}
    for row in sorted(found, key=lambda row: (row.user, row["rank"])):
        mine.setdefault(row.user, []).append(row.item)
    same = np.mean([mine[user] == items for user, items in enumerate(expected)])
    if same < 0.95:  # noqa: PLR2004
        raise SystemExit(f"only {same:.0%} of the lists are the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=70_000)
    parser.add_argument("--items", type=int, default=10_700)
    parser.add_argument("--ratings", type=int, default=8_300_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--work", type=Path, default=Path("build/bench/topn"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/topn.json"))
    parser.add_argument("--only", choices=["implicit", "mllib", "recipe"], action="append")
    given = parser.parse_args()
    sizes = {"users": given.users, "items": given.items, "ratings": given.ratings,
             "rank": given.rank, "n": N}  # fmt: skip
    small = {**sizes, "users": 6_000, "items": 4_000, "ratings": 700_000}
    name = f"{given.users}x{given.items}"
    for folder, size in ((name, sizes), ("6000x4000", small)):
        make(given.work / folder, **{key: size[key] for key in size if key != "n"})
    implicit = environment_of("implicit", ["implicit==0.7.2", "numpy<2.4"])
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    shape = {key: sizes[key] for key in ("users", "items", "rank")}
    wanted = set(given.only or ["implicit", "mllib", "recipe"])
    mllib = Path(sys.executable), "mllib_topn.py"

    def beside(
        against: str,
        rival: Peer,
        lists: Lists,
        *,
        target: float,
        sizes: Mapping[str, int] = sizes,
        versions: Mapping[str, str] = MappingProxyType({}),
        warm_ups: int = 6,
    ) -> None:
        def ours() -> float:
            return seconds(lambda: drained(lists.ours()))

        def theirs() -> float:
            return float(rival.ask("go")["seconds"])

        for _ in range(warm_ups):
            ours()
            theirs()
        contender = Contender("top-10 of all users, seen out", ours, target, sizes)
        compare_all([contender], against, theirs=theirs, versions=versions, out=given.out)

    with spark_session(settings.session, name="topn") as spark:
        lists = Lists(spark, given.work / name, **shape)
        with peer(implicit, "implicit_topn.py", given.work / name, N, threads=2) as rival:
            check(lists, rival.ask("lists")["items"])
            if "implicit" in wanted:
                beside(
                    "implicit, one process, two threads", rival, lists, target=1.0,
                    versions={"implicit": "0.7.2"},
                )  # fmt: skip
        if "mllib" in wanted:
            with peer(*mllib, given.work / name, N, "all", JAVA_BLAS) as rival:
                beside("MLlib recommendForAllUsers, seen left in", rival, lists, target=0.2)
        if "recipe" in wanted:
            folder = given.work / "6000x4000"
            few = Lists(spark, folder, users=6_000, items=4_000, rank=given.rank)
            with peer(*mllib, folder, N, "unseen", JAVA_BLAS) as rival:
                check(few, rival.ask("lists")["items"])
                # A round of theirs takes minutes; the lists of a few users have warmed it.
                drained(few.ours())
                beside(
                    "all pairs, anti join and window (recommenders' recipe)", rival, few,
                    target=0.05, sizes=small, warm_ups=0,
                )  # fmt: skip


if __name__ == "__main__":
    main()
