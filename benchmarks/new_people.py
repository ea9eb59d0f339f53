"""Seconds of `recipe recommend --for FILE`: lists for people who were not there at the fit.

    python benchmarks/new_people.py

A run is made once: ratings of 10,000 items by 20,000 users, and a fit of rank 64 on them (few
iterations: what is timed does not depend on how good it is). The file is CSV: 100,000 further
people with about 20 ratings each. What is timed, in a warm session, is everything that the command
does between the start of Spark and its end: the file is read, checked and numbered, vectors are
found, 10 unseen items of each person are ranked, and the table is written and checked. There is
no rival: the target is one of seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from side_by_side import machine, seconds

from recpipe.ingest import ingest
from recpipe.models.data import TrainingData
from recpipe.runtime.progress import Progress
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.stages.context import Context, ratings_of, scale
from recpipe.stages.fit import fit, new_model
from recpipe.stages.recommend_for import recommend_for, settings_for
from recpipe.stages.start import start
from recpipe.storage import Folder

if TYPE_CHECKING:
    from recpipe.storage import Run

TARGET = 10.0
"""Seconds for 100,000 people on two cores."""
RUN_DATE = date(2026, 1, 2)


def write_ratings(path: Path, *, users: int, items: int, each: int, seed: int) -> None:
    """CSV of whole stars, popularity skewed, about `each` ratings a user, pairs distinct."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), random.poisson(each - 1, users) + 1)
    item = (random.power(0.35, len(user)) * items).astype(np.int64)
    keys = np.unique(user * items + item)
    at = 1_500_000_000 + random.integers(0, 10**8, len(keys))
    columns = {
        "userId": keys // items + 1,
        "movieId": (items - keys % items) * 3,
        "rating": random.integers(1, 6, len(keys)),
        "timestamp": at,
    }
    pc.write_csv(pa.table(columns), path)


def made_run(context: Context, source: Path, names: list[str]) -> Run:
    """A run that has the fits of a run which has come as far as `recommend`."""
    ingest(str(source), tables=context.tables, settings=context.settings.ingest, run_date=RUN_DATE)
    run = start(context, "one")
    ratings = ratings_of(context, run)
    data = TrainingData(ratings=ratings, scale=scale(run), as_of=context.end)
    for name in names:
        entry = fit(context, new_model(context, name), data, run.folder / "final" / name)
        run.add("final", {name: entry})
    run.record(chosen={"model": names[0]}, recommended=names[0], models={})
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--models", default="block_als_implicit,block_als,sgd")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/bench/new_people"))
    told = parser.parse_args()
    names = told.models.split(",")
    write_ratings(told.work / "ratings.csv", users=told.users, items=told.items, each=50, seed=1)
    write_ratings(told.work / "people.csv", users=told.people, items=told.items, each=20, seed=2)
    given: dict[str, Any] = {"session.master": "local[2]", "sgd.epochs": 2}
    for name in names:
        given[f"{name}.rank"] = told.rank
        if name.startswith("block_als"):
            given[f"{name}.iterations"] = 2
    settings = load(given=given)
    root = told.work.absolute() / "root"
    shutil.rmtree(root, ignore_errors=True)
    measured: dict[str, Any] = {}
    with spark_session(settings.session, name="new people") as spark:
        context = Context(Folder(spark, root), settings, RUN_DATE, Progress(interactive=False))
        run = made_run(context, told.work / "ratings.csv", [*names, "popularity"])
        for name in names:
            run.record(recommended=name)
            own = settings_for(context, run, settings, settings.ingest)
            people = str(told.work / "people.csv")
            taken = [
                seconds(lambda: recommend_for(own, run, people, n=10))  # noqa: B023
                for _ in range(told.repeat + 1)
            ]
            measured[name] = {"first": taken[0], "seconds": statistics.median(taken[1:])}
            print(f"{name}: {measured[name]['seconds']:.1f} s for {told.people:,} people", taken)
    result = {"machine": machine(), "target_seconds": TARGET, "models": measured}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
