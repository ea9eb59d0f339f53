"""Truncated SVD of filled ratings against SciPy's `svds` with two threads, from Parquet to factors.

    python benchmarks/svd.py --out build/bench/svd.json

Ratings are those of `recpipe.datasets.synthetic`; unknown ones are filled with the mean of the
item. SciPy's side reads the file, makes a sparse matrix in memory and searches to the precision of
float64, which is its default. Ours is timed twice: to the default tolerance and to one of 1e-9.
Before anything is timed both must explain the ratings as well as SciPy's does, and the finer one
must predict what SciPy's predicts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import numpy as np
import pyarrow.parquet as pq
import scipy
import scipy.sparse
from scipy.sparse.linalg import svds
from sgd import ratings_file
from side_by_side import Contender, compare_all, seconds

from recpipe.feedback import Scale
from recpipe.models.data import TrainingData
from recpipe.models.svd.model import Svd
from recpipe.models.svd.settings import SvdSettings
from recpipe.settings import load
from recpipe.spark.interactions import frame_of
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.models.factors import FactorModel

TARGET = 0.7
DEFAULT, FINE = SvdSettings().tolerance, 1e-9
WORSE = 1.0001
"""How many times the error of ours on the fitted ratings may be that of SciPy's."""
SAME = 1e-5
"""How far a prediction of the finer fit may be from SciPy's: factors are float32."""


class Ours:
    """Fits of ours, from Parquet to tables of factors."""

    def __init__(self, spark: SparkSession, path: Path, rank: int) -> None:
        self.folder = Folder(spark, path.parent.absolute() / "scratch")
        self.train = Folder(spark, path.parent.absolute()).stored(path.name)
        self.rank = rank

    def fit(self, tolerance: float) -> tuple[np.ndarray, np.ndarray, FactorModel]:
        """Factors of users and of items by id, the biases of items beside both, and the model."""
        with self.folder.scratch("svd") as scratch:
            model = self._fit(tolerance, scratch)
            sides = []
            for side, frame in (("user", model.user_factors), ("item", model.item_factors)):
                assert frame is not None
                table = frame_of(frame).select(side, "factors", "bias").toArrow().sort_by(side)
                factors = table.column("factors").combine_chunks().flatten().to_numpy()
                bias = table.column("bias").to_numpy()[:, None]
                sides.append(np.hstack([factors.reshape(len(bias), -1), bias]))
        users, items = sides
        users[:, -1] = 1
        items[:, -1] += model.mean
        return users, items, model

    def timed(self, tolerance: float) -> float:
        with self.folder.scratch("svd") as scratch:
            return seconds(lambda: self._fit(tolerance, scratch))

    def _fit(self, tolerance: float, scratch: Folder) -> FactorModel:
        settings = SvdSettings(rank=self.rank, fill="item", tolerance=tolerance)
        data = TrainingData(ratings=self.train, scale=Scale(min=0.5, max=5, step=0.5))
        return Svd(settings).fit(data, scratch=scratch, seed=1)


def scipys(path: Path, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users and of items, as `Ours.fit` has them."""
    table = pq.read_table(path)
    user, item, rating = (table[name].to_numpy() for name in ("user", "item", "rating"))
    means = np.bincount(item, rating) / np.bincount(item)
    centred = scipy.sparse.csr_matrix((rating - means[item], (user, item)))
    u, s, v = svds(centred, k=rank, random_state=1)
    return np.hstack([u * s, np.ones((len(u), 1))]), np.hstack([v.T, means[:, None]])


def check(ours: Ours, path: Path, rank: int) -> dict[str, Any]:
    """What both sides explain, and how far apart they predict; ends a run that is wrong."""
    table = pq.read_table(path)
    user, item, rating = (table[name].to_numpy() for name in ("user", "item", "rating"))
    some = np.random.default_rng(1).choice(len(user), min(len(user), 1_000_000), replace=False)
    user, item, rating = user[some], item[some], rating[some]

    def scores(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.einsum("nk,nk->n", users[user].astype(np.float64), items[item])
        return found

    due = scores(*scipys(path, rank))
    error = float(np.sqrt(np.mean((due - rating) ** 2)))
    shown: dict[str, Any] = {"their RMSE on train": round(error, 6)}
    for tolerance in (DEFAULT, FINE):
        users, items, model = ours.fit(tolerance)
        found = scores(users, items)
        mine = float(np.sqrt(np.mean((found - rating) ** 2)))
        apart = float(abs(found - due).max())
        passes = model.info()["passes"]
        print(f"   tolerance {tolerance:g}: {passes} passes, RMSE {mine:.6f} ({error:.6f}), "
              f"predictions up to {apart:.1e} apart", flush=True)  # fmt: skip
        if mine > WORSE * error or (tolerance == FINE and apart > SAME):
            raise SystemExit("not the decomposition that SciPy finds")
        shown[f"our RMSE at {tolerance:g}"] = round(mine, 6)
        shown[f"passes at {tolerance:g}"] = passes
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--work", type=Path, default=Path("build/bench/svd"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/svd.json"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    path = ratings_file(given.work, given.ratings)
    settings = load(overrides=["session.master=local[2]"], environment={})
    with spark_session(settings.session, name="bench-svd") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        ours = Ours(spark, path, given.rank)
        sizes = {"ratings": given.ratings, **check(ours, path, given.rank)}
        compare_all(
            [
                Contender(
                    f"`svd` fit, rank {given.rank}, tolerance {tolerance:g}",
                    lambda tolerance=tolerance: ours.timed(tolerance),  # type: ignore[misc]
                    TARGET,
                    sizes,
                )
                for tolerance in (DEFAULT, FINE)
            ],
            "SciPy's svds, one process, two threads",
            theirs=lambda: seconds(lambda: scipys(path, given.rank)),
            versions={"scipy": scipy.__version__},
            out=given.out,
        )


if __name__ == "__main__":
    main()
