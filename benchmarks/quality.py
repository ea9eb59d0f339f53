"""Every model under three splits of one release, as the table of the README: `make quality`.

    python benchmarks/quality.py --input ml-latest-small --work build/quality
    python benchmarks/quality.py --synthetic 1000000 --work build/quality --splits global_time

Runs the command line as a user would, and reads metrics.json and manifest.json; each table also
stays in the work folder, as a file of its split's name. A model that cannot be fitted has a line of
dashes, and its error stands below the table. The RMSE of synthetic ratings is held against the
noise floor, the best that any model can reach. With --limit, models are fitted in the order of
--models until so many seconds have passed; the others are named below the table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import label_of
from recpipe.models.registry import SPECS
from recpipe.report.numbers import NONE
from recpipe.report.scores import Scores, ratings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

BLENDED = (
    "popularity",
    "sgd",
    "block_als_implicit",
    "ease",
    "slim",
    "item_knn",
    "rp3beta",
    "content",
    "hybrid",
)
"""The models that `blend` adds: one of each kind, so that it does not fit near copies."""
SPLITS = {
    "random": (
        "(a) random 80/20 by row",
        ["split.strategy=random", "split.fractions=[0.7,0.1,0.2]"],
    ),
    "global_time": ("(b) global time", ["split.strategy=global_time"]),
    "leave_one_out": ("(c) leave-one-out by time", ["split.strategy=leave_one_out"]),
}
"""By strategy the title of a table and what is set for it."""
SHOWN = ("precision", "recall", "ndcg", "coverage")


def recpipe(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "recpipe", *arguments], check=True)


def recpipe_for(seconds: float, *arguments: str) -> None:
    """`recpipe`, told to stop after so many seconds; what it has done by then stays."""
    process = subprocess.Popen([sys.executable, "-m", "recpipe", *arguments])
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        return
    if code:
        raise SystemExit(code)


def evaluated(
    root: Path,
    source: str,
    overrides: list[str],
    *,
    models: Sequence[str],
    run_id: str,
    limit: float | None,
) -> tuple[Scores, dict[str, Any]]:
    """The metrics and the manifest of one run up to `evaluate`: nothing is published.

    Args:
        root: of the run.
        source: of its ratings.
        overrides: of its settings.
        models: that are fitted.
        run_id: of the run.
        limit: seconds after which the models are evaluated that are fitted by then.
    """
    common = ["--root", str(root), *(f"--set={setting}" for setting in overrides)]
    if not (root / "tables").exists():
        recpipe("ingest", "--input", source, *common)
    recpipe("split", *common, "--run-id", run_id)
    blended = f"--set=blend.models={','.join(name for name in BLENDED if name in models)}"
    train = ("train", *common, blended, "--run-id", run_id, "--models", ",".join(models))
    recpipe(*train) if limit is None else recpipe_for(limit, *train)
    recpipe("evaluate", *common, "--run-id", run_id)
    run = root / "runs" / run_id
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    return Scores(rows), json.loads((run / "manifest.json").read_text())


def table(
    scores: Scores,
    manifest: dict[str, Any],
    *,
    models: Sequence[str],
    k: int,
    limit: float | None = None,
) -> list[str]:
    """A Markdown table of test metrics as `recpipe evaluate` has them, one line a model.

    The 95 % interval of NDCG stands beside it, and the seconds of the fit at the end.
    """
    names = [*ratings_of(summary=True), *(f"{metric}@{k}" for metric in SHOWN)]
    found = scores.table("test", names, models=models)
    assert found is not None
    with_interval = list(found.columns).index("NDCG") + 1
    # Where no model predicts ratings there is no column of errors.
    of_lists = {label_of(metric) for metric in SHOWN}
    heads = [f"{column}@{k}" if column in of_lists else column for column in found.columns]
    heads = [*heads[:with_interval], "95 % interval", *heads[with_interval:], "fit, s"]
    lines = [f"| model | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for model, values in found.rows:
        cells = [cell.text.replace(NONE, "-") for cell in values]
        ends = scores.interval(model, f"ndcg@{k}", "test")
        cells.insert(with_interval, " to ".join(f"{end:.4f}" for end in ends) if ends else "-")
        fitted = manifest["models"].get(model)
        cells.append(f"{fitted['folds'][0]['seconds']:.1f}" if fitted else "-")
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    errors = {
        str(entry.get("failed") or entry["model"]): entry["error"]
        for entry in [*manifest["failed"], *manifest["fallbacks"]]
    }
    failed = [f"{model} was not fitted: {error}" for model, error in errors.items()]
    left = [f"`{model}`" for model in models if model not in {*errors, *manifest["models"]}]
    if left:
        failed.append(f"Not fitted within {limit:g} s of all fits: {', '.join(left)}")
    return [*lines, "", *found.notes, *failed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--input")
    what.add_argument("--synthetic", type=int, metavar="RATINGS")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--models", nargs="+", choices=SPECS, default=list(SPECS))
    parser.add_argument("--limit", type=float, help="seconds of all fits; default: none")
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    floor, source = None, given.input
    if given.synthetic:
        source = str(given.work / "release")
        recpipe("data", "synthesize", source, "--ratings", str(given.synthetic))
        floor = json.loads((Path(source) / "truth.json").read_text())["noise_floor"]
    for split in given.splits:
        title, overrides = SPLITS[split]
        scores, manifest = evaluated(
            given.work / "root", source, overrides, models=given.models, run_id=f"quality-{split}",
            limit=given.limit,
        )  # fmt: skip
        lines = table(scores, manifest, models=given.models, k=given.k, limit=given.limit)
        lines = [title, "", *lines]
        if floor is not None:
            lines += ["", f"noise floor: RMSE {floor:.4f}; above it:"]
            for model in scores.models:
                rmse = scores.value(model, "rmse", "test")
                if rmse is not None:
                    lines.append(f"  {model}: {rmse / floor - 1:+.1%}")
        (given.work / f"{split}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(["", *lines]), flush=True)


if __name__ == "__main__":
    main()
