"""Every model under three splits of one release, as the table of the README: `make quality`.

    python benchmarks/quality.py --input ml-latest-small --work build/quality
    python benchmarks/quality.py --synthetic 1000000 --work build/quality

Runs the command line as a user would and reads metrics.json; the RMSE of synthetic ratings is
held against the noise floor, the best that any model can reach.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

MODELS = "mean,biases,popularity,random,als_explicit,nmf,sgd,als_implicit"
SPLITS = {
    "(a) random 80/20 by row": ["split.strategy=random", "split.fractions=[0.7,0.1,0.2]"],
    "(b) global time": ["split.strategy=global_time"],
    "(c) leave-one-out by time": ["split.strategy=leave_one_out"],
}
SHOWN = ("rmse", "mae", "precision", "recall", "ndcg")


def recpipe(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "recpipe", *arguments], check=True)


def judged(root: Path, source: str, overrides: list[str], *, run_id: str) -> Any:
    """metrics.json of one run up to the judgement: nothing is published."""
    common = ["--root", str(root), *(f"--set={setting}" for setting in overrides)]
    if not (root / "tables").exists():
        recpipe("ingest", "--input", source, *common)
    recpipe("split", *common, "--run-id", run_id)
    recpipe("train", *common, "--run-id", run_id, "--models", MODELS)
    recpipe("evaluate", *common, "--run-id", run_id)
    return json.loads((root / "runs" / run_id / "metrics.json").read_text())["rows"]


def table(rows: list[dict[str, Any]], *, k: int) -> list[str]:
    """Lines of a Markdown table: test metrics, one model a line."""
    cells = {
        (row["model"], row["metric"]): row
        for row in rows
        if row["split"] == "test" and row["k"] in {None, k}
    }
    lines = [
        f"| model | RMSE | MAE | precision@{k} | recall@{k} | NDCG@{k} | users |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model in MODELS.split(","):
        shown = [cells.get((model, metric)) for metric in SHOWN]
        values = [f"{row['value']:.4f}" if row else "-" for row in shown]
        users = cells[model, "ndcg"]["users"]
        lines.append(f"| `{model}` | {' | '.join(values)} | {users:,} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--input")
    what.add_argument("--synthetic", type=int, metavar="RATINGS")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    splits, floor, source = SPLITS, None, given.input
    if given.synthetic:
        source = str(given.work / "release")
        recpipe("data", "synthesize", source, "--ratings", str(given.synthetic))
        floor = json.loads((Path(source) / "truth.json").read_text())["noise_floor"]
        splits = dict(list(SPLITS.items())[:1])
    for number, (title, overrides) in enumerate(splits.items()):
        rows = judged(given.work / "root", source, overrides, run_id=f"quality-{number}")
        print(f"\n{title}\n\n" + "\n".join(table(rows, k=given.k)))
        if floor is not None:
            print(f"\nnoise floor: RMSE {floor:.4f}; above it:")
            for row in rows:
                if row["split"] == "test" and row["metric"] == "rmse":
                    print(f"  {row['model']}: {row['value'] / floor - 1:+.1%}")


if __name__ == "__main__":
    main()
