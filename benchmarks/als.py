"""Times `block_als` beside MLlib's ALS and beside `implicit`, alternating, in one run.

Every side is a process of its own that has its data in memory and has fitted once before the clock
starts: ours from a cached DataFrame to written factor tables, MLlib from the same DataFrame to
cached factors, with its guide's defaults (10 blocks) and Java BLAS forced, `implicit` from a CSR
matrix in memory, with two threads. Before anything is timed the models are judged on held-out
ratings, and the run ends there if ours is worse.

    python benchmarks/als.py --out build/bench/als.json
    python benchmarks/als.py --work build/bench/als-full --ratings 8300000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from side_by_side import compare, environment_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

HELD_OUT, WORSE = 0.1, 1.02
ITERATIONS, REGULARIZATION, ALPHA, LIKED, SEED = 10, 0.05, 3.0, 4.0, 7
# work: (our model, settings, the other side, its argument, target)
WORKS: dict[str, tuple[str, dict[str, Any], str, str, float]] = {
    "explicit": ("block_als", {}, "mllib", "explicit", 0.12),
    "implicit": ("block_als_implicit", {}, "mllib", "implicit", 0.12),
    "implicit exact": (
        "block_als_implicit",
        {"scale_by_count": False},
        "implicit",
        "exact",
        0.45,
    ),
    "implicit cg": (
        "block_als_implicit",
        {"scale_by_count": False, "solver": "cg"},
        "implicit",
        "cg",
        1.2,
    ),
}
JAVA_BLAS = " ".join(
    f"-Ddev.ludovic.netlib.{library}.allowNative=false" for library in ("blas", "lapack", "arpack")
)


# --- the sides: `fit` on standard input, seconds on standard output, factors in a file ---


def spark_session(*, java: str = "") -> AbstractContextManager[SparkSession]:
    from recpipe import session
    from recpipe.settings import Settings

    conf = {"spark.driver.extraJavaOptions": java} if java else {}
    return session.spark_session(
        Settings.model_validate({"session": {"conf": conf}}), name="benchmark"
    )


def cached(spark: SparkSession, work: Path, *, liked: bool) -> DataFrame:
    train = spark.read.parquet(str(work / "train.parquet"))
    train = train.where(f"rating >= {LIKED}") if liked else train
    train = train.cache()
    train.count()
    return train


def ours(work: Path, rank: int, model: str, own: dict[str, Any]) -> None:
    from recpipe.models import registry
    from recpipe.settings import Scale, Settings
    from recpipe.storage import Folder

    settings = {
        "rank": rank,
        "iterations": ITERATIONS,
        "regularization": REGULARIZATION,
        **({"alpha": ALPHA, "preference_from": LIKED} if "implicit" in model else {}),
        **own,
    }
    built = registry.build(model, Settings.model_validate({model: settings}), scale=Scale())
    with spark_session() as spark:
        train = cached(spark, work, liked="implicit" in model)
        scratch = Folder(spark, work / f"scratch-{os.getpid()}")

        def fit() -> Any:
            return built.fit(train, validation=None, scratch=scratch, seed=SEED)

        def save(fitted: Any, out: Path) -> None:
            sides = []
            for side, frame in (("user", fitted.user_factors), ("item", fitted.item_factors)):
                sides.append(arrays(frame.select(side, "factors").toArrow()))
            np.savez(out, users=sides[0], items=sides[1])

        serve(fit, save)
        scratch.delete()


def arrays(table: pa.Table) -> np.ndarray:
    """Factors by id: a row for each id from 0, zeros for one that was not fitted."""
    ids = table.column(0).to_numpy()
    values = table.column(1).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    out = np.zeros((ids.max() + 1, len(values) // len(ids)), np.float32)
    out[ids] = values.reshape(len(ids), -1)
    return out


def mllib(work: Path, rank: int, kind: str) -> None:
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as F

    with spark_session(java=JAVA_BLAS) as spark:
        train = cached(spark, work, liked=kind == "implicit")
        if kind == "implicit":
            train = train.withColumn("rating", F.lit(1.0))
        als = ALS(
            rank=rank,
            maxIter=ITERATIONS,
            regParam=REGULARIZATION,
            implicitPrefs=kind == "implicit",
            alpha=ALPHA,
            seed=SEED,
        )

        def save(fitted: Any, out: Path) -> None:
            sides = [arrays(f.toArrow()) for f in (fitted.userFactors, fitted.itemFactors)]
            np.savez(out, users=sides[0], items=sides[1])

        serve(lambda: als.fit(train), save)


IMPLICIT = """
import json, os, sys, time
import numpy as np, scipy.sparse
from implicit.cpu.als import AlternatingLeastSquares
work, rank, kind, iterations, regularization, alpha = json.loads(sys.argv[1])
data = np.load(work + "/liked.npz")
value = np.full(len(data["user"]), 1 + alpha, np.float32)
ratings = scipy.sparse.csr_matrix((value, (data["user"], data["item"])))
print("ready", flush=True)
for line in sys.stdin:
    model = AlternatingLeastSquares(
        factors=rank, regularization=regularization, alpha=1.0, iterations=iterations,
        use_cg=kind == "cg", num_threads=2, random_state=7, dtype=np.float32)
    start = time.perf_counter()
    model.fit(ratings, show_progress=False)
    seconds = time.perf_counter() - start
    if line.strip() != "fit":
        np.savez(line.strip(), users=model.user_factors, items=model.item_factors)
    print(json.dumps(seconds), flush=True)
"""


def serve(fit: Callable[[], Any], save: Callable[[Any, Path], None]) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        fitted = fit()
        seconds = time.perf_counter() - start
        if line.strip() != "fit":
            save(fitted, Path(line.strip()))
        print(json.dumps(seconds), flush=True)


# --- the run ---


class Side:
    """A process that fits when it is told to."""

    def __init__(self, *command: str) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "ready" or line[0].isdigit():
                return line
        raise SystemExit(f"a side ended with exit code {self.process.wait()}")

    def fit(self, out: Path | None = None) -> float:
        """Seconds of a fit; its factors go to `out`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{out or 'fit'}\n")
        self.process.stdin.flush()
        return float(json.loads(self._line()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def sides(work: Path, rank: int, name: str) -> tuple[Side, Side]:
    model, own, other, kind, _ = WORKS[name]
    me = [sys.executable, __file__, "--work", str(work), "--rank", str(rank), "--side"]
    first = Side(*me, json.dumps(["ours", model, own]))
    if other == "mllib":
        return first, Side(*me, json.dumps(["mllib", kind]))
    given = json.dumps([str(work), rank, kind, ITERATIONS, REGULARIZATION, ALPHA])
    return first, Side(
        str(environment_of("implicit", ["implicit==0.7.2", "numpy<2.4"])), "-c", IMPLICIT, given
    )


def prepare(work: Path, ratings: int) -> None:
    """A synthetic release, a tenth of it held out."""
    if (work / "test.npz").exists():
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "recpipe", "data", "synthesize", str(work / "release")]
    subprocess.run([*command, "--ratings", str(ratings), "--seed", "1"], check=True)
    table = csv.read_csv(work / "release/ratings.csv")
    user, item = (
        np.unique(table.column(name).to_numpy(), return_inverse=True)[1].astype(np.int32)
        for name in ("userId", "movieId")
    )
    rating = table.column("rating").to_numpy().astype(np.float32)
    held = np.random.default_rng(SEED).random(len(rating)) < HELD_OUT
    train = {"user": user[~held], "item": item[~held], "rating": rating[~held]}
    (work / "train.parquet").mkdir(exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(train["user"])), 8)):
        part = pa.table({name: column[rows] for name, column in train.items()})
        parquet.write_table(part, work / f"train.parquet/part-{number}.parquet")
    liked = train["rating"] >= LIKED
    np.savez(work / "liked.npz", user=train["user"][liked], item=train["item"][liked])
    np.savez(work / "test.npz", user=user[held], item=item[held], rating=rating[held])


def judged(work: Path, factors: Path, *, explicit: bool) -> float:
    """RMSE, or NDCG@10 of 2000 users over items that they have not liked in train."""
    data, test = np.load(factors), np.load(work / "test.npz")
    users, items = data["users"], data["items"]
    user, item = test["user"], test["item"]
    if explicit:
        known = (user < len(users)) & (item < len(items))
        user, item, rating = user[known], item[known], test["rating"][known]
        error = (np.einsum("nk,nk->n", users[user], items[item]) - rating).astype(np.float64)
        return float(np.sqrt(np.mean(error**2)))
    liked = (test["rating"] >= LIKED) & (user < len(users)) & (item < len(items))
    user, item = user[liked], item[liked]
    seen = np.load(work / "liked.npz")
    asked = np.random.default_rng(1).choice(np.unique(user), 2000, replace=False)
    gains = 1 / np.log2(np.arange(2, 12))
    order = np.argsort(seen["user"], kind="stable")
    seen_user, seen_item = seen["user"][order], seen["item"][order]
    values = []
    for u in asked:
        scores = items @ users[u]
        scores[seen_item[slice(*np.searchsorted(seen_user, [u, u + 1]))]] = -np.inf
        top = np.argsort(-scores, kind="stable")[:10]
        relevant = item[user == u]
        values.append(gains[np.isin(top, relevant)].sum() / gains[: len(relevant)].sum())
    return float(np.mean(values))


def measured(name: str, given: argparse.Namespace, sizes: dict[str, Any]) -> None:
    _, _, other, kind, target = WORKS[name]
    mine, theirs = sides(given.work, given.rank, name)
    try:
        files = [given.work / f"factors-{who}.npz" for who in ("ours", "theirs")]
        for side, file in zip((mine, theirs), files, strict=True):
            side.fit(file)
        explicit = name == "explicit"
        quality = [judged(given.work, file, explicit=explicit) for file in files]
        metric = "RMSE" if explicit else "NDCG@10"
        print(f"{name}: {metric} {quality[0]:.4f}, {other}: {quality[1]:.4f}", flush=True)
        worse = quality[0] / quality[1] if explicit else quality[1] / quality[0]
        if not worse < WORSE:
            raise SystemExit(f"{name}: ours is worse, and not timed")
        shown = {f"our {metric}": round(quality[0], 4), f"their {metric}": round(quality[1], 4)}
        compare(
            f"`block_als` {name}, rank {given.rank}, {ITERATIONS} iterations",
            "MLlib's ALS, defaults" if other == "mllib" else f"`implicit`, {kind}",
            ours=mine.fit,
            theirs=theirs.fit,
            target=target,
            sizes={**sizes, **shown},
            versions={} if other == "mllib" else {"implicit": "0.7.2"},
            out=given.out,
        )
    finally:
        mine.close()
        theirs.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/bench/als"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/als.json"))
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--only", choices=list(WORKS), action="append")
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        who, *rest = given.side
        side: Any = {"ours": ours, "mllib": mllib}[who]
        side(given.work, given.rank, *rest)
        return
    prepare(given.work, given.ratings)
    test = np.load(given.work / "test.npz")
    sizes = {
        "ratings": given.ratings,
        "users": int(test["user"].max()) + 1,
        "items": int(test["item"].max()) + 1,
    }
    for name in given.only or WORKS:
        measured(name, given, sizes)


if __name__ == "__main__":
    main()
