"""Times `item_knn`, a fit and the lists of all users, beside `implicit` with two threads.

    python benchmarks/neighbours.py --out build/bench/neighbours.json
    python benchmarks/neighbours.py --work build/bench/fits-full --ratings 8300000

Cosine of interactions, 100 neighbours, ten items for each user, none of them
the user's own already.
`implicit` begins with a CSR matrix in memory, ours with a table at rest; lists go to a sink that
drops them. Before anything is timed the scores of both are shown: ours keeps the nearest of each
item that is recommended, and `implicit` of each item of the history, so that lists are alike and
not the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fits import SCALE, SEED, prepare
from side_by_side import Contender, compare_all, environment_of, peer, seconds

from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.settings import Settings, load
from recpipe.spark.held import narrow_rows
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

K, N, TARGET = 100, 10, 0.8


class Ours:
    """From a table at rest to lists."""

    def __init__(self, folder: Folder, name: str) -> None:
        own = {"k": K, "preference_from": SCALE[0]}
        if name == "item_knn":
            own["shrinkage"] = 0
        self.model = registry.build(name, dict(Settings.model_validate({name: own})))
        self.ratings = folder.stored("train.parquet")
        self.users = self.ratings.frame.select("user").distinct().cache()
        self.users.count()
        self.scratch = folder / f"scratch-{os.getpid()}"

    def lists(self) -> Any:
        low, high = SCALE
        data = TrainingData(ratings=self.ratings, scale=Scale(min=low, max=high, step=0.5))
        fitted = self.model.fit(data, scratch=self.scratch, seed=SEED)
        return fitted.recommend(self.users, n=N, seen=self.ratings).frame

    def drained(self) -> None:
        with narrow_rows(self.users.sparkSession):
            self.lists().write.format("noop").mode("overwrite").save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("build/bench/neighbours"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/neighbours.json"))
    parser.add_argument("--model", action="append", help="default: item_knn")
    given = parser.parse_args()
    prepare(given.work, given.ratings)
    sizes = {"ratings": len(np.load(given.work / "train.npz")["user"]), "k": K, "n": N}
    python = environment_of("implicit", ["implicit==0.7.2", "numpy<2.4"])
    settings = load(overrides=["session.driver_memory=6g"], environment={})
    with (
        spark_session(settings.session, name="benchmark") as spark,
        peer(python, "implicit_neighbours.py", given.work, K, N, threads=1) as rival,
    ):
        folder = Folder(spark, given.work.absolute())
        sides = {name: Ours(folder, name) for name in given.model or ["item_knn"]}
        theirs = np.array(rival.ask("lists")["scores"])
        for name, side in sides.items():
            rows = side.lists().where(f"user < {len(theirs)}").collect()
            mean = sum(row.score for row in rows) / len(theirs)
            print(f"sum of the scores of a list: {name} {mean:.3f},", end=" ")
            print(f"implicit {theirs.sum(axis=1).mean():.3f}", file=sys.stdout)
            side.drained()
        compare_all(
            [
                Contender(f"{name}: fit and lists", partial(seconds, side.drained), TARGET, sizes)
                for name, side in sides.items()
            ],
            "`implicit`, two threads",
            theirs=lambda: float(rival.ask("go")["seconds"]),
            versions={"implicit": "0.7.2"},
            out=given.out,
        )
        for side in sides.values():
            side.scratch.delete()


if __name__ == "__main__":
    main()
