"""`block_als` held against MLlib's ALS: equal rank, regularization and iterations, three data sets.

    .venv/bin/python benchmarks/als_quality.py --input ml-latest-small --work build/als-quality \\
        --out build/als-quality.json

Runs the command line as a user would, random 70/10/20 by row, once for each seed, and prints the
means over the seeds: test RMSE of the explicit models, test NDCG@10 of the implicit ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Any

from quality import SPLITS, recpipe

PAIRS = (("als_explicit", "block_als", "rmse"), ("als_implicit", "block_als_implicit", "ndcg"))
MODELS = ",".join(name for theirs, ours, _ in PAIRS for name in (theirs, ours))
K = 10


def judged(root: Path, source: str, *, seed: int) -> dict[tuple[str, str], float]:
    """(model, metric) -> value on test."""
    settings = [*SPLITS["random"][1], f"seed={seed}"]
    common = ["--root", str(root), *(f"--set={setting}" for setting in settings)]
    if not (root / "tables").exists():
        recpipe("ingest", "--input", source, *common)
    run = ["--run-id", f"seed-{seed}"]
    recpipe("split", *common, *run)
    recpipe("train", *common, *run, "--models", MODELS)
    recpipe("evaluate", *common, *run)
    rows = json.loads((root / f"runs/seed-{seed}/metrics.json").read_text())["rows"]
    return {
        (row["model"], row["metric"]): row["value"]
        for row in rows
        if row["split"] == "test" and row["k"] in {None, K}
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, help="ml-latest-small: a folder or zip")
    parser.add_argument("--synthetic", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    print("| ratings | metric | MLlib | ours | ours / MLlib |\n|---|---|---:|---:|---:|")
    for name in ["ml-latest-small", *(f"synthetic {n:,}" for n in given.synthetic)]:
        source = given.input
        if name.startswith("synthetic"):
            source = str(given.work / name.replace(" ", "-"))
            recpipe("data", "synthesize", source, "--ratings", name.split()[1].replace(",", ""))
        root = given.work / f"root-{name.replace(' ', '-').replace(',', '')}"
        values = [judged(root, source, seed=seed) for seed in given.seeds]
        for theirs, ours, metric in PAIRS:
            them, us = (mean(v[model, metric] for v in values) for model in (theirs, ours))
            rows.append({"data": name, "metric": metric, "mllib": them, "ours": us})
            shown = "RMSE" if metric == "rmse" else f"NDCG@{K}"
            print(f"| {name} | {shown} | {them:.4f} | {us:.4f} | {us / them:.4f} |", flush=True)
            if given.out:
                given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
