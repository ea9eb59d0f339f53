"""A laptop's first minute: a whole run on ml-latest-small against a bare session of Spark.

    python benchmarks/first_minute.py --input ml-latest-small --out build/bench/first_minute.json

Both sides are a process from its start to its end. Ours is `recpipe run` with the default models;
the other side starts Spark, reads ratings.csv with its header and a schema, and writes it as
Parquet: what nobody who uses Spark at all can do without. Afterwards the stages of our median round
are printed with their seconds, so that it can be seen where the rest goes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from side_by_side import compare
from whole_run import command


def ours(source: Path, root: Path, rounds: list[tuple[float, dict[str, float]]]) -> float:
    shutil.rmtree(root, ignore_errors=True)
    seconds = command("-m", "recpipe", "run", "--input", source, "--root", root, "--run-id", "one")
    told: dict[str, Any] = json.loads((root / "runs" / "one" / "manifest.json").read_text())
    fits = {
        f"fit {name}": sum(fit["seconds"] for fit in model["folds"])
        for name, model in told["models"].items()
    }
    again = {f"fit {name} again": fit["seconds"] for name, fit in told["final"].items()}
    rounds.append((seconds, {**told["timings"], **fits, **again}))
    return seconds


def theirs(source: Path, target: Path) -> float:
    shutil.rmtree(target, ignore_errors=True)
    script = Path(__file__).parent / "peers" / "bare_spark.py"
    return command(script, source / "ratings.csv", target)


def check(source: Path, root: Path, target: Path) -> None:
    """Both must have read every rating."""
    with (source / "ratings.csv").open() as lines:
        rows = sum(1 for _ in lines) - 1
    told = json.loads((root / "runs" / "one" / "manifest.json").read_text())
    kept = told["input"]["ratings"]["kept"]
    if (kept, pq.read_table(target).num_rows) != (rows, rows):
        raise SystemExit(f"{rows} ratings: {kept} kept, and by Spark another number")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, required=True, help="the unpacked ml-latest-small")
    parser.add_argument("--work", type=Path, default=Path("build/bench/first_minute"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/first_minute.json"))
    given = parser.parse_args()
    root, target = given.work.absolute() / "root", given.work.absolute() / "bare"
    rounds: list[tuple[float, dict[str, float]]] = []
    ours(given.input, root, rounds)
    theirs(given.input, target)
    check(given.input, root, target)
    compare(
        "a whole run with the default models", "a bare Spark session: CSV to Parquet",
        ours=lambda: ours(given.input, root, rounds), theirs=lambda: theirs(given.input, target),
        target=3.5, sizes={"ratings": 100_836}, versions={}, out=given.out,
    )  # fmt: skip
    seconds, parts = sorted(rounds, key=lambda one: one[0])[len(rounds) // 2]
    print(f"the median of {len(rounds)} runs took {seconds:.1f} s")
    for name, each in parts.items():
        print(f"  {name:<28}{each:7.1f} s{each / seconds:8.0%}")


if __name__ == "__main__":
    main()
