"""Settings of `time_sgd` by the error on validation, from which its defaults are chosen.

    python benchmarks/time_sgd.py --input ml-latest-small --work build/time_sgd

Each candidate changes the defaults in what it names, is fitted on train, with early stopping by
validation, and evaluated on validation: of rows that are drawn at random, of the latest ratings of
each user, and of all ratings between two instants. The test parts are never opened. The interval is
that of the difference from the defaults over users, above 0 where the candidate has the lower
error; it does not account for choosing the best.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quality import recpipe

from recpipe import evaluation
from recpipe.evaluation.metrics import metric_at
from recpipe.runtime.progress import Progress
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.split import VALIDATION
from recpipe.stages.context import Context
from recpipe.stages.objective import objective_of
from recpipe.storage import Folder
from recpipe.tuning.request import Request

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPLITS = {
    "random": ["split.strategy=random"],
    "latest of each user": ["split.strategy=user_fraction"],
    "one instant": ["split.strategy=global_time", "split.validation=global_time"],
}
ONE_BY_ONE: dict[str, tuple[float, ...]] = {
    "bins": (1, 10, 20, 50),
    "power": (0.3, 0.6),
    "user_regularization": (2.0, 10.0),
    "drift_regularization": (300.0, 1000.0, 10_000.0, 100_000.0),
    "day_regularization": (3.0, 5.0, 20.0, 50.0),
    "item_regularization": (2.0, 10.0),
    "bin_regularization": (15.0, 25.0, 100.0, 200.0),
}


def run_of(split: str) -> str:
    return split.replace(" ", "-")


def measured(
    spark: SparkSession, root: Path, split: str, candidates: list[dict[str, Any]]
) -> list[tuple[float, str]]:
    """RMSE of each candidate, and the interval of how much lower than that of the first it is."""
    settings = load(
        overrides=[*SPLITS[split], "evaluate.metric=rmse", "train.models=time_sgd"], environment={}
    )
    context = Context(
        Folder(spark, root), settings, datetime.now(UTC).date(), Progress(interactive=False)
    )
    run = context.runs.get(run_of(split))
    metric, _ = metric_at("rmse")
    found: list[tuple[float, str]] = []
    first = None
    with objective_of(context, run, Request("time_sgd"), metric) as objective:
        for number, candidate in enumerate(candidates):
            (row,), _ = objective.measured(candidate)
            shown = "-"
            if first is None:
                first = row
            else:
                pair = [replace(row, model="candidate"), replace(first, model="defaults")]
                (of_both,) = evaluation.differences(
                    pair, metric="rmse", split=VALIDATION, seed=settings.seed, tested=False
                )
                shown = f"{of_both.ci_low:+.4f} to {of_both.ci_high:+.4f}"
            found.append((row.value, shown))
            print(split, number, json.dumps(candidate), f"{row.value:.4f}", shown, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument(
        "--candidates", help="a JSON list of settings, in place of one setting at a time"
    )
    parser.add_argument("--again", action="store_true", help="on the splits of an earlier run")
    given = parser.parse_args()
    own = (
        json.loads(given.candidates)
        if given.candidates
        else [{name: value} for name, values in ONE_BY_ONE.items() for value in values]
    )
    candidates: list[dict[str, Any]] = [{}, *own]
    root = given.work / "root"
    if not given.again:
        shutil.rmtree(given.work, ignore_errors=True)
        given.work.mkdir(parents=True)
        recpipe("ingest", "--input", given.input, "--root", str(root))
        for split in given.splits:
            overrides = [f"--set={setting}" for setting in SPLITS[split]]
            recpipe("split", "--root", str(root), "--run-id", run_of(split), *overrides)
    session = load(environment={}).session
    with spark_session(session, name="bench-time-sgd") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        columns = {split: measured(spark, root, split, candidates) for split in given.splits}
    head = " | ".join(f"{split} | difference" for split in columns)
    print(f"| settings | {head} |\n|---|{'---:|---|' * len(columns)}")
    for at, candidate in enumerate(candidates):
        name = ", ".join(f"{key} {value:g}" for key, value in candidate.items()) or "defaults"
        cells = (f"{rows[at][0]:.4f} | {rows[at][1]}" for rows in columns.values())
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
