"""A whole run against the same steps written out with Spark's own parts.

    python benchmarks/whole_run.py --out build/bench/whole_run.json

Both sides are a process from its start to its end: raw CSV to Parquet, ids to numbers, each user's
last ratings held out, explicit ALS of one rank and number of iterations, test RMSE, ranking metrics
of test lists, the ten best unseen items of every user, published as Parquet. Ours is `recpipe run`
with one model, `block_als`; it checks, quarantines, evaluates on validation as well, fits again on
all ratings and writes a report besides. Theirs is benchmarks/peers/spark_parts.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
from side_by_side import compare

from recpipe.datasets.synthetic import synthesize

RANK, ITERATIONS = 16, 10


def command(*words: object) -> float:
    begin = time.perf_counter()
    told = [sys.executable, *map(str, words)]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(told)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.perf_counter() - begin


def ours(release: Path, root: Path) -> float:
    shutil.rmtree(root, ignore_errors=True)
    settings = {
        "block_als.rank": RANK, "block_als.iterations": ITERATIONS,
        "block_als.regularization": 0.1, "split.strategy": "user_fraction",
    }  # fmt: skip
    given = [f"--set={name}={value}" for name, value in settings.items()]
    return command(
        "-m", "recpipe", "run", "--input", release, "--root", root, "--models", "block_als", *given
    )


def theirs(release: Path, target: Path) -> float:
    shutil.rmtree(target, ignore_errors=True)
    script = Path(__file__).parent / "peers" / "spark_parts.py"
    return command(script, release / "ratings.csv", target, RANK, ITERATIONS)


def check(root: Path, target: Path) -> None:
    """Both must have lists for the same number of users."""
    current = json.loads((root / "published" / "CURRENT.json").read_text())
    tables = pq.read_table(root / current["path"]), pq.read_table(target / "top_n")
    users = [len(set(table["user_id"].to_pylist())) for table in tables]
    if users[0] != users[1]:
        raise SystemExit(f"lists for {users[0]} users, and theirs for {users[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("build/bench/whole_run"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/whole_run.json"))
    given = parser.parse_args()
    release = given.work / f"release-{given.ratings}"
    if not (release / "truth.json").exists():
        synthesize(release, ratings=given.ratings)
    root, target = given.work.absolute() / "root", given.work.absolute() / "spark-parts"
    ours(release, root)
    theirs(release, target)
    check(root, target)
    compare(
        "a whole run, raw files to published lists", "the same steps of Spark's own parts",
        ours=lambda: ours(release, root), theirs=lambda: theirs(release, target),
        target=0.33, sizes={"ratings": given.ratings, "rank": RANK, "iterations": ITERATIONS},
        versions={}, out=given.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
