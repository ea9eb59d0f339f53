"""Times our fits beside those of MLlib, `implicit` and LIBMF, alternating, in one run.

    python benchmarks/fits.py --out build/bench/fits.json
    python benchmarks/fits.py --work build/bench/fits-full --ratings 8300000 --only implicit-cg

Every side is a process of its own that has fitted for a minute, or once if that takes longer,
before the clock starts. The ALS of ours and of MLlib begin with a cached DataFrame, `implicit` with
a CSR matrix in memory, all as their users have them; `sgd` and LIBMF begin with a Parquet file.
MLlib is as its guide shows it: 10 blocks, and Java BLAS forced, so that a native one installed for
ours does not change the baseline. For the implicit ones each rating is an interaction, whatever its
value, as a click or a play is. Before anything is timed the models are judged on held-out ratings,
and a work ends there if ours is worse. One round of a rival stands beside one of each of ours.
Where it takes longer than a minute Spark has ended our Python workers meanwhile, and the next round
starts them again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from side_by_side import JAVA_BLAS, Contender, compare_all, environment_of, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

HELD_OUT = 0.1
# How many times worse ours may be. NDCG of 2000 users after ten iterations depends on the first
# factors: MLlib's own differs by 4 % between 4 and 10 blocks, for which it draws others.
WORSE = {"RMSE": 1.02, "NDCG@10": 1.05}
ITERATIONS, EPOCHS, REGULARIZATION, ALPHA, SEED = 10, 20, 0.05, 3.0, 7
SCALE = (0.5, 5.0)
WARM_SECONDS = 60


class Ours(NamedTuple):
    """A model of ours in a work.

    Args:
        model: its name.
        settings: beside rank, iterations and what all sides share.
        target: of its seconds / the rival's.
    """

    model: str
    settings: dict[str, Any]
    target: float


class Work(NamedTuple):
    """What a rival does, and what of ours does the same.

    Args:
        against: the rival in words.
        side: who it is and its arguments, see `rival`.
        versions: of the rival.
        ours: the models.
    """

    against: str
    side: tuple[str, str]
    versions: dict[str, str]
    ours: tuple[Ours, ...]

    @property
    def explicit(self) -> bool:
        return self.side[1] == "explicit"


_DSGD = {"epochs": EPOCHS, "learning_rate": 0.02, "bounded": False, "patience": 0}
_UNSCALED = {"regularization_exponent": 0.0}
WORKS = {
    "explicit": Work(
        "MLlib's explicit ALS, defaults", ("mllib", "explicit"), {},
        (Ours("block_als", {}, 0.12), Ours("als_explicit", {}, 0.5), Ours("sgd", _DSGD, 0.05)),
    ),
    "implicit": Work(
        "MLlib's implicit ALS, defaults", ("mllib", "implicit"), {},
        (Ours("block_als_implicit", {}, 0.12), Ours("als_implicit", {}, 0.5)),
    ),
    "implicit-exact": Work(
        "`implicit`, exact, two threads", ("implicit", "exact"), {"implicit": "0.7.2"},
        (Ours("block_als_implicit", _UNSCALED, 0.45),),
    ),
    "implicit-cg": Work(
        "`implicit`, conjugate gradient, two threads", ("implicit", "cg"), {"implicit": "0.7.2"},
        (Ours("block_als_implicit", {**_UNSCALED, "solver": "cg"}, 1.2),),
    ),
    "libmf": Work(
        "LIBMF, two threads", ("libmf", "explicit"), {"libmf": "0.9.2"},
        (Ours("sgd", _DSGD, 1.5),),
    ),
}  # fmt: skip


# --- the sides: `fit` on standard input, seconds on standard output, factors in a file ---


def spark_session(*, java: str = "") -> AbstractContextManager[SparkSession]:
    from recpipe.spark import session
    from recpipe.spark.settings import Session

    conf = {"spark.driver.extraJavaOptions": java} if java else {}
    return session.spark_session(Session(conf=conf, driver_memory="4g"), name="benchmark")


def cached(train: DataFrame) -> DataFrame:
    train = train.cache()
    train.count()
    return train


def ours(work: Path, rank: int, model: str, own: dict[str, Any]) -> None:
    from recpipe.feedback import Scale
    from recpipe.models import registry
    from recpipe.models.data import TrainingData
    from recpipe.settings import Settings
    from recpipe.spark.interactions import frame_of
    from recpipe.storage import Folder

    settings = {"rank": rank, "regularization": REGULARIZATION, **own}
    if model != "sgd":
        settings["iterations"] = ITERATIONS
    if "implicit" in model:
        settings |= {"alpha": ALPHA, "preference_from": SCALE[0]}
    low, high = SCALE
    built = registry.build(model, dict(Settings.model_validate({model: settings})))
    with spark_session() as spark:
        stored = Folder(spark, work.absolute()).stored("train.parquet")
        train = stored if model == "sgd" else cached(stored.frame)
        scratch = Folder(spark, work.absolute() / f"scratch-{os.getpid()}")

        def fit() -> Any:
            data = TrainingData(ratings=train, scale=Scale(min=low, max=high, step=0.5))
            return built.fit(data, scratch=scratch, seed=SEED)

        def save(fitted: Any, out: Path) -> None:
            users, items = (
                arrays(frame.select(side, "factors", "bias").toArrow())
                for side, frame in (
                    ("user", frame_of(fitted.user_factors)),
                    ("item", frame_of(fitted.item_factors)),
                )
            )
            # The score is one product: biases and the mean are two more factors.
            ones = [np.ones((len(side), 1), np.float32) for side in (users, items)]
            users[:, -1] += fitted.mean
            users = np.concatenate([users, ones[0]], axis=1)
            items = np.concatenate([items[:, :-1], ones[1], items[:, -1:]], axis=1)
            np.savez(out, users=users, items=items)

        serve(fit, save)
        scratch.delete()


def arrays(table: pa.Table) -> np.ndarray:
    """Factors by id, and a bias if there is one: a row for each id from 0, zeros without a fit."""
    ids = table.column(0).to_numpy()
    values = table.column(1).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    rank = len(values) // len(ids)
    out = np.zeros((ids.max() + 1, rank + table.num_columns - 2), np.float32)
    out[ids, :rank] = values.reshape(len(ids), rank)
    if table.num_columns > 2:  # noqa: PLR2004 - the bias
        out[ids, rank] = table.column(2).to_numpy()
    return out


def mllib(work: Path, rank: int, kind: str) -> None:
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as F

    with spark_session(java=JAVA_BLAS) as spark:
        train = spark.read.parquet(str(work / "train.parquet"))
        if kind == "implicit":
            train = train.withColumn("rating", F.lit(1.0))
        train = cached(train)
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

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def side(work: Path, rank: int, *what: Any) -> Side:
    """One that runs on this Python."""
    me = [sys.executable, __file__, "--work", str(work), "--rank", str(rank), "--side"]
    return Side(*me, json.dumps(what))


def rival(given: argparse.Namespace, name: str, kind: str) -> Side:
    """`mllib`, `implicit` or `libmf`, of a kind."""
    if name == "mllib":
        return side(given.work, given.rank, name, kind)
    peers = Path(__file__).parent / "peers"
    if name == "implicit":
        python = environment_of("implicit", ["implicit==0.7.2", "numpy<2.4"])
        told = [kind, ITERATIONS, REGULARIZATION, ALPHA]
    else:
        # As its own Makefile builds it; the wrapper's set-up asks for no optimisation.
        flags = {"CFLAGS": "-O3 -march=native -DUSEAVX"}
        packages = ["numpy<2.4", "pyarrow"]
        python = environment_of("libmf", packages, alone=["libmf==0.9.2"], variables=flags)
        told = [EPOCHS, REGULARIZATION]
    return Side(
        str(python), str(peers / f"{name}_fit.py"), str(given.work), str(given.rank),
        *map(str, told),
    )  # fmt: skip


def prepare(work: Path, ratings: int) -> None:
    """A synthetic release, a tenth of it held out."""
    if (work / "train.parquet" / "_SUCCESS").exists():
        return
    import pyarrow as pa
    from pyarrow import csv

    release = work / "release"
    if not (release / "truth.json").exists():
        command = [sys.executable, "-m", "recpipe", "data", "synthesize", str(release)]
        subprocess.run([*command, "--ratings", str(ratings), "--seed", "1"], check=True)
    table = csv.read_csv(release / "ratings.csv")
    user, item = (
        np.unique(table.column(name).to_numpy(), return_inverse=True)[1].astype(np.int32)
        for name in ("userId", "movieId")
    )
    rating = table.column("rating").to_numpy().astype(np.float32)
    held = np.random.default_rng(SEED).random(len(rating)) < HELD_OUT
    train = {"user": user[~held], "item": item[~held], "rating": rating[~held]}
    np.savez(work / "test.npz", user=user[held], item=item[held], rating=rating[held])
    np.savez(work / "train.npz", **train)
    write_table(work / "train.parquet", pa.table(train), files=8)


def judged(work: Path, factors: Path, *, explicit: bool) -> float:
    """RMSE, or NDCG@10 of 2000 users over items that they have not rated in train."""
    data, test = np.load(factors), np.load(work / "test.npz")
    users, items = data["users"], data["items"]
    user, item = test["user"], test["item"]
    known = (user < len(users)) & (item < len(items))
    user, item, rating = user[known], item[known], test["rating"][known]
    if explicit:
        score = np.clip(np.einsum("nk,nk->n", users[user], items[item]), *SCALE)
        return float(np.sqrt(np.mean((score - rating).astype(np.float64) ** 2)))
    seen = np.load(work / "train.npz")
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
    work = WORKS[name]
    metric = "RMSE" if work.explicit else "NDCG@10"
    with ExitStack() as stack:
        fitted = {"theirs": stack.enter_context(rival(given, *work.side))}
        for own in work.ours:
            told = (given.work, given.rank, "ours", own.model, own.settings)
            fitted[own.model] = stack.enter_context(side(*told))
        quality = {}
        for who, process in fitted.items():
            file = given.work / f"factors-{who}.npz"
            took = [process.fit(file)]
            quality[who] = judged(given.work, file, explicit=work.explicit)
            while sum(took) < WARM_SECONDS:
                took.append(process.fit())
            warm = ", ".join(f"{seconds:.1f}" for seconds in took)
            print(f"{name}, {who}: {metric} {quality[who]:.4f}, warm-up {warm} s", flush=True)
        compare_all(
            list(_contenders(work, fitted, quality, metric, sizes, given.rank)),
            work.against, theirs=fitted["theirs"].fit, versions=work.versions, out=given.out,
        )  # fmt: skip


def _contenders(
    work: Work,
    fitted: dict[str, Side],
    quality: dict[str, float],
    metric: str,
    sizes: dict[str, Any],
    rank: int,
) -> Iterator[Contender]:
    for own in work.ours:
        values = quality[own.model], quality["theirs"]
        worse = values[0] / values[1] if work.explicit else values[1] / values[0]
        if not worse < WORSE[metric]:
            print(f"{own.model} is worse than {work.against}, and not timed", flush=True)
            continue
        passes = f"{EPOCHS} epochs" if own.model == "sgd" else f"{ITERATIONS} iterations"
        shown = {f"our {metric}": round(values[0], 4), f"their {metric}": round(values[1], 4)}
        more = "".join(f", {key} {value}" for key, value in own.settings.items() if key == "solver")
        yield Contender(
            work=f"`{own.model}` fit{more}, rank {rank}, {passes}",
            seconds=fitted[own.model].fit,
            target=own.target,
            sizes={**sizes, **shown},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/bench/fits"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/fits.json"))
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--only", choices=list(WORKS), action="append")
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        who, *rest = given.side
        one: Any = {"ours": ours, "mllib": mllib}[who]
        one(given.work, given.rank, *rest)
        return
    given.work = given.work / str(given.ratings)
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
