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

from recpipe.report.numbers import NONE
from recpipe.report.scores import Scores, ratings_of

MODELS = (
    "random,popularity,mean,biases,sgd,block_als,als_explicit,nmf,"
    "block_als_implicit,als_implicit,ease,blend"
)
BLENDED = "popularity,biases,sgd,block_als,block_als_implicit,als_implicit,ease"
"""The models that `blend` adds."""
SPLITS = {
    "(a) random 80/20 by row": ["split.strategy=random", "split.fractions=[0.7,0.1,0.2]"],
    "(b) global time": ["split.strategy=global_time"],
    "(c) leave-one-out by time": ["split.strategy=leave_one_out"],
}
SHOWN = ("precision", "recall", "ndcg")


def recpipe(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "recpipe", *arguments], check=True)


def evaluated(root: Path, source: str, overrides: list[str], *, run_id: str) -> Any:
    """metrics.json of one run up to `evaluate`: nothing is published."""
    common = ["--root", str(root), *(f"--set={setting}" for setting in overrides)]
    if not (root / "tables").exists():
        recpipe("ingest", "--input", source, *common)
    recpipe("split", *common, "--run-id", run_id)
    blended = f"--set=blend.models={BLENDED}"
    recpipe("train", *common, blended, "--run-id", run_id, "--models", MODELS)
    recpipe("evaluate", *common, "--run-id", run_id)
    return json.loads((root / "runs" / run_id / "metrics.json").read_text())["rows"]


def table(scores: Scores, *, k: int) -> list[str]:
    """A Markdown table of test metrics as `recpipe evaluate` has them, one line a model."""
    names = [*ratings_of(summary=True), *(f"{metric}@{k}" for metric in SHOWN)]
    found = scores.table("test", names, models=MODELS.split(","))
    assert found is not None
    lengths = [f"@{k}" if "@" in name else "" for name in names]
    heads = [column + at for column, at in zip(found.columns, lengths, strict=True)]
    lines = [f"| model | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for model, cells in found.rows:
        lines.append(f"| `{model}` | {' | '.join(c.text.replace(NONE, '-') for c in cells)} |")
    return [*lines, "", *found.notes]


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
        rows = evaluated(given.work / "root", source, overrides, run_id=f"quality-{number}")
        scores = Scores(rows)
        print(f"\n{title}\n\n" + "\n".join(table(scores, k=given.k)))
        if floor is not None:
            print(f"\nnoise floor: RMSE {floor:.4f}; above it:")
            for model in scores.models:
                rmse = scores.value(model, "rmse", "test")
                if rmse is not None:
                    print(f"  {model}: {rmse / floor - 1:+.1%}")


if __name__ == "__main__":
    main()
