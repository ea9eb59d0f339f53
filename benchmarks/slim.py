"""Fits `slim` beside scikit-learn's `ElasticNet`, item by item in two processes.

    python benchmarks/slim.py --out build/bench/slim.json

A million synthetic interactions of some 4,000 items; a rating counts as a liking, whatever its
value. Both sides have weights from 0 up, the same penalties, and stop where they do by default
(scikit-learn: a duality gap of 1e-4 of the sum of squares). scikit-learn begins with a sparse
matrix in memory, ours with a table at rest, and ours ends with a table. scikit-learn solves every
`--every`-th item, and its seconds are multiplied by as much: extrapolated, and the row says so.
Before anything is timed the losses of some items are compared: ours must not be the worse by more
than a thousandth.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from fits import SCALE, SEED, prepare
from side_by_side import Contender, compare_all, peer, seconds

from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.settings import Settings, load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from recpipe.models.neighbours.model import NeighbourModel

TARGET = 0.3
L1, L2 = 1.0, 50.0
WORSE = 1.001
"""How many times the loss of an item may be that of scikit-learn's."""


class Ours:
    """Fits of ours, from a table at rest to a table of weights."""

    def __init__(self, folder: Folder) -> None:
        own = {"l1": L1, "l2": L2, "preference_from": SCALE[0]}
        self.model = registry.build("slim", dict(Settings.model_validate({"slim": own})))
        self.ratings = folder.stored("train.parquet")
        self.scratch = folder / f"scratch-{os.getpid()}"

    def fit(self) -> NeighbourModel:
        low, high = SCALE
        data = TrainingData(ratings=self.ratings, scale=Scale(min=low, max=high, step=0.5))
        fitted: Any = self.model.fit(data, scratch=self.scratch, seed=SEED)
        return fitted  # type: ignore[no-any-return]


def losses(work: Path, columns: dict[int, tuple[np.ndarray, np.ndarray]]) -> dict[int, float]:
    """Of the weights of some items, given as rows and numbers."""
    from scipy.sparse import csc_matrix

    data = np.load(work / "train.npz")
    x = csc_matrix((np.ones(len(data["user"])), (data["user"], data["item"])))
    found = {}
    for column, (rows, weights) in columns.items():
        left = x[:, [column]].toarray()[:, 0] - x[:, rows] @ weights
        penalty = L1 * np.abs(weights).sum() + L2 / 2 * (weights @ weights)
        found[column] = float(left @ left / 2 + penalty)
    return found


def check(work: Path, mine: NeighbourModel, theirs: dict[str, Any]) -> None:
    """End a run whose weights are worse."""
    columns = {int(key): value for key, value in theirs.items()}
    due = losses(
        work, {key: (np.array(rows), np.array(own)) for key, (rows, own) in columns.items()}
    )
    table = mine.table.frame.where(f"item IN ({', '.join(map(str, columns))})").collect()
    found = losses(
        work,
        {
            row.item: (
                np.frombuffer(row.sources, np.int32),
                np.frombuffer(row.numbers, np.float32).astype(np.float64),
            )
            for row in table
        },
    )
    ratios = [found[key] / due[key] for key in due]
    kept = (
        np.mean([len(row.sources) / 4 for row in table]),
        np.mean([len(own) for _, own in columns.values()]),
    )
    print(f"loss of {len(due)} items, ours / theirs: {min(ratios):.6f} to {max(ratios):.6f};"
          f" weights of an item {kept[0]:.0f} and {kept[1]:.0f}", flush=True)  # fmt: skip
    if max(ratios) > WORSE:
        raise SystemExit("not the weights that scikit-learn finds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=20, help="of scikit-learn's items; 1: all")
    parser.add_argument("--work", type=Path, default=Path("build/bench/slim"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/slim.json"))
    given = parser.parse_args()
    prepare(given.work, given.ratings)
    items = len(np.unique(np.load(given.work / "train.npz")["item"]))
    settings = load(overrides=["session.driver_memory=4g"], environment={})
    python = Path(sys.executable)
    with (
        spark_session(settings.session, name="benchmark") as spark,
        peer(python, "sklearn_slim.py", given.work, L1, L2, given.every, threads=1) as rival,
    ):
        ours = Ours(Folder(spark, given.work.absolute()))
        fitted = ours.fit()
        check(given.work, fitted, rival.ask("weights")["weights"])
        sizes = {
            "ratings": len(np.load(given.work / "train.npz")["user"]),
            "items": items,
            "weights": fitted.info()["weights"],
            "their items": -(-items // given.every),
        }
        extrapolated = "" if given.every == 1 else f", every {given.every}th item, extrapolated"
        compare_all(
            [Contender("`slim` fit", partial(seconds, ours.fit), TARGET, sizes)],
            f"scikit-learn's ElasticNet by item, two processes{extrapolated}",
            theirs=lambda: float(rival.ask("go")["seconds"]) * items / sizes["their items"],
            versions={"scikit-learn": sklearn.__version__},
            out=given.out,
        )
        ours.scratch.delete()


if __name__ == "__main__":
    main()
