"""Times a fit of `ease` and the lists of all users beside SciPy and NumPy with two threads.

    python benchmarks/ease.py --out build/bench/ease.json
    python benchmarks/ease.py --work build/bench/fits-full --ratings 8300000

Every rating is a liking. SciPy's side begins with a CSR matrix in memory, ours with a table at
rest; ours ends with a table of weights, from which its lists begin. Lists go to a sink that drops
them. Before anything is timed the lists of 200 users must be those of SciPy's side, but for ties.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fits import SCALE, SEED, prepare
from pyspark.sql import functions as F
from side_by_side import Contender, compare_all, environment_of, peer, seconds

from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.settings import Settings, load
from recpipe.spark.held import narrow_rows
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.models.base import FittedModel

PENALTY, N = 500.0, 10
TARGETS = {"fit": 1.5, "lists": 0.7}
ALIKE = 0.95
"""Of the lists, how many are item for item those of SciPy's side."""


class Ours:
    """A fit from a table at rest to a table of weights, and lists from that table."""

    def __init__(self, folder: Folder) -> None:
        own = {"regularization": PENALTY, "preference_from": SCALE[0], "method": "dense"}
        self.model = registry.build("ease", dict(Settings.model_validate({"ease": own})))
        self.ratings = folder.stored("train.parquet")
        self.users = self.ratings.frame.select("user").distinct().cache()
        self.users.count()
        self.scratch = folder / f"scratch-{os.getpid()}"
        self.fitted: FittedModel = self.fit()

    def fit(self) -> FittedModel:
        low, high = SCALE
        data = TrainingData(ratings=self.ratings, scale=Scale(min=low, max=high, step=0.5))
        return self.model.fit(data, scratch=self.scratch, seed=SEED)

    def lists(self) -> Any:
        return self.fitted.recommend(self.users, n=N, seen=self.ratings).frame

    def drained(self) -> None:
        with narrow_rows(self.users.sparkSession):
            self.lists().write.format("noop").mode("overwrite").save()

    def check(self, expected: list[list[int]]) -> None:
        found = self.lists().where(F.col("user") < len(expected)).collect()
        mine: dict[int, list[int]] = {}
        for row in sorted(found, key=lambda row: (row.user, row["rank"])):
            mine.setdefault(row.user, []).append(row.item)
        # A user without a rating has no list of ours.
        same = np.mean([mine[user] == items for user, items in enumerate(expected) if user in mine])
        print(f"   {same:.1%} of {len(expected)} lists are those of SciPy's side", flush=True)
        # Without any list of ours it is NaN.
        if not same >= ALIKE:
            raise SystemExit("not the lists of SciPy's side")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("build/bench/fits"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/ease.json"))
    given = parser.parse_args()
    prepare(given.work, given.ratings)
    data = np.load(given.work / "train.npz")
    sizes: Mapping[str, int] = {
        "ratings": len(data["user"]),
        "users": len(np.unique(data["user"])),
        "items": len(np.unique(data["item"])),
    }
    python = environment_of("scipy", ["scipy==1.16.3", "numpy<2.4"])
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    with (
        spark_session(settings.session, name="benchmark") as spark,
        peer(python, "scipy_ease.py", given.work, PENALTY, N, threads=2) as rival,
    ):

        def theirs(word: str) -> float:
            return float(rival.ask(word)["seconds"])

        ours = Ours(Folder(spark, given.work.absolute()))
        theirs("fit")
        ours.check(rival.ask("show")["items"])
        for what, mine in (("fit", ours.fit), ("lists", ours.drained)):
            compare_all(
                [Contender(f"`ease` {what}", partial(seconds, mine), TARGETS[what],
                           {**sizes, "n": N} if what == "lists" else sizes)],
                "SciPy and NumPy, one process, two threads",
                theirs=partial(theirs, what),
                versions={"scipy": "1.16.3"},
                out=given.out,
            )  # fmt: skip
        ours.scratch.delete()


if __name__ == "__main__":
    main()
