"""Our models beside the same methods of other libraries, on the same split: docs/results.md.

    python benchmarks/quality_peers.py --input ml-latest-small --work build/quality-peers

The split is made by our stage. A process of the other library is given what our fit is given, the
rows of train, and answers with predictions of the test pairs or lists of ten unseen items; our
evaluation measures both sides, and draws the same users for both. What is compared with what, and
with which values, stands in quality_pairs.py. Rows are saved and the page is written as they come;
`--page` writes the page alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from quality import SPLITS
from quality_pairs import LIBRARIES, PAIRS, Fit
from side_by_side import environment_of, machine, peer, save, write_table

from recpipe import evaluation
from recpipe.evaluation.metrics import label_of, metric_at
from recpipe.models import registry
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings, load
from recpipe.spark.interactions import frame_of
from recpipe.spark.session import spark_session
from recpipe.stages.context import Context, counts_of, folds_of, scale
from recpipe.stages.fit import training_data
from recpipe.stages.held_out import held_out
from recpipe.stages.ingest import ingest
from recpipe.stages.split import split as split_stage
from recpipe.stages.start import start
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import SparkSession
    from quality_pairs import Pair
    from side_by_side import Peer

    from recpipe.models.base import FittedModel
    from recpipe.split import SplitParts
    from recpipe.stages.held_out import HeldOut
    from recpipe.storage import Run

    Difference = evaluation.Difference

ROWS = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
HEADING = "## Against the same method elsewhere\n"
_INTRODUCTION = """\
Written by `make quality-peers` (`benchmarks/quality_peers.py`) from
`benchmarks/quality_peers.json`; do not edit. ml-latest-small, seed 42.

Each row is a model of ours and the same method of another library, fitted on the same train part
and measured by the same code: RMSE over the test pairs that both predict, NDCG@10 over the users
with a relevant item. `better by` is above 0 where ours is better, whatever the metric's direction;
its 95 % interval draws the same users for both sides. Ours is *worse* where the whole interval lies
below 0, *better* where it lies above, else *no worse*. Both sides have one seed, so the interval
says nothing of what other seeds would do. Settings and arguments that are not named are the
defaults of each side. No library here has `content`, `hybrid`, `blend` or `time_sgd`, or the same
method under another name; `gmf`, `mlp`, `neumf` and `sasrec` have not been compared."""
_COLUMNS = (
    "model", "our settings", "against", "their arguments", "metric", "ours", "theirs", "better by",
    "95 % interval", "verdict", "values",
)  # fmt: skip
_NUMBERS = {"ours", "theirs", "better by"}
_HEAD = "\n".join(
    [
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'|'.join('---:' if name in _NUMBERS else '---' for name in _COLUMNS)}|",
    ]
)
TYPES: dict[str, type[Any]] = {
    "user": np.int32, "item": np.int32, "rank": np.int32, "score": np.float32,
    "prediction": np.float32,
}  # fmt: skip


class Split:
    """A split of one run, with our fits and the processes of the other libraries on its train."""

    def __init__(self, context: Context, run: Run, parts: SplitParts, held: HeldOut) -> None:
        self.context, self.run, self.parts, self.held = context, run, parts, held
        self.folder = context.root / "peers" / run.id
        self.work = Path(self.folder.uri.removeprefix("file:"))
        self.work.mkdir(parents=True, exist_ok=True)
        self.users = counts_of(run, parts)["train"]["users"]
        self._fits: dict[str, FittedModel] = {}
        self._peers: dict[str, Peer] = {}
        self.stack = ExitStack()
        self._write_task()

    def _write_task(self) -> None:
        frames = {
            "": self.parts.train.select("user", "item", "rating"),
            "test_": self.parts.test.select("user", "item"),
            "seen_": frame_of(self.held.seen.source).select("user", "item"),
        }
        arrays: dict[str, Any] = {}
        for prefix, frame in frames.items():
            table = frame.toArrow()
            arrays |= {prefix + name: table[name].to_numpy() for name in table.column_names}
        known = scale(self.run)
        assert known is not None
        np.savez(
            self.work / "task.npz",
            users=np.sort(self.held.users.toArrow()["user"].to_numpy()),
            liked_from=known.liked_from(),
            scale=np.array([known.min, known.max]),
            **arrays,
        )

    def fitted(self, model: str, own: Mapping[str, Any]) -> FittedModel:
        """A model of ours by settings of its section; each is fitted once."""
        name = f"{model} {json.dumps(dict(own), sort_keys=True)}"
        if name not in self._fits:
            sections = dict(Settings.model_validate({model: dict(own)} if own else {}))
            data = training_data(
                self.context,
                self.run,
                self.parts.stored["train"],
                as_of=self.parts.asked_at("validation") or self.context.end,
                validation=self.parts.stored["validation"],
            )
            scratch = self.stack.enter_context(self.context.root.scratch("peers"))
            seed = self.context.settings.seed
            with self.context.progress.stage("fit", name):
                fit = registry.build(model, sections).fit(data, scratch=scratch, seed=seed)
            self._fits[name] = fit
        return self._fits[name]

    def compare(self, pair: Pair) -> dict[str, Any]:
        """The row of a pair."""
        ours = self.fitted(pair.model, pair.ours)
        arguments = dict(pair.arguments(Fit(ours.info(), self.users)))
        wanted = "predictions" if pair.metric == "rmse" else "lists"
        if pair.library == "spark":
            other, their_version = self.fitted(pair.method, arguments), version("pyspark")
            both = {"ours": self._made(ours, wanted), "theirs": self._made(other, wanted)}
        else:
            answer = self._peer(pair.library).ask(
                json.dumps(
                    {
                        "method": pair.method,
                        "arguments": arguments,
                        "wanted": wanted,
                        "given": pair.given,
                        "weight": pair.weight,
                        "package": LIBRARIES[pair.library].package,
                    }
                )
            )
            their_version = answer["version"]
            both = {"ours": self._made(ours, wanted), "theirs": self._read()}
        found, rows = self._measured(both, pair.metric)
        return {
            "work": f"{self.run.id}: {pair.model} {json.dumps(dict(pair.ours), sort_keys=True)}",
            "against": f"{pair.library} {pair.method} {json.dumps(arguments, sort_keys=True)}",
            "split": self.run.manifest["settings"]["split"]["strategy"],
            "model": pair.model,
            "our_settings": dict(pair.ours),
            "library": pair.library,
            "version": their_version,
            "method": pair.method,
            "their_arguments": arguments,
            "note": pair.note,
            "metric": pair.metric,
            "ours": rows["ours"].value,
            "theirs": rows["theirs"].value,
            "users": rows["ours"].users,
            "rows": rows["ours"].rows,
            "better_by": found.value,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
        }

    def _made(self, model: FittedModel, wanted: str) -> Any:
        return (
            self.held.predictions(model)
            if wanted == "predictions"
            else self.held.lists(model, n=10)
        )

    def _peer(self, library: str) -> Peer:
        if library not in self._peers:
            packages = LIBRARIES[library].packages
            python = environment_of(library, packages) if packages else Path(sys.executable)
            process = peer(python, "same_method.py", library, self.work, threads=2)
            self._peers[library] = self.stack.enter_context(process)
        return self._peers[library]

    def _read(self) -> Any:
        """What the other library has answered, as a table."""
        with np.load(self.work / "theirs.npz") as found:
            columns = {name: found[name].astype(TYPES[name]) for name in found.files}
        (self.folder / "theirs").delete()
        write_table(self.work / "theirs", pa.table(columns))
        return self.folder.stored("theirs")

    def _measured(
        self, both: Mapping[str, Any], metric: str
    ) -> tuple[Difference, dict[str, evaluation.MetricRow]]:
        one, k = metric_at(metric)
        if k is None:
            rows = evaluation.rating_metrics(
                both, self.held.rows, split="test", metrics=[one],  # type: ignore[list-item]
                users=counts_of(self.run, self.parts)["test"]["users"],
            )  # fmt: skip
            # Of the two sets of rows that of the pairs that both sides predict.
            rows = [row for row in rows if row.split != "test"]
        else:
            rows = evaluation.ranking_metrics(
                both, self.held.rows, ks=[k], split="test", users=self.held.count,
                relevance_threshold=self.held.relevance_threshold,
                metrics=[one],  # type: ignore[list-item]
            )  # fmt: skip
        seed = self.context.settings.seed
        (found,) = evaluation.differences(rows, metric=metric, split="test", seed=seed)
        return found, {row.model: row for row in rows}


# -- the page ---------------------------------------------------------------------------------


def verdict(row: Mapping[str, Any]) -> str:
    """What the interval says: ours is worse only where all of it lies below 0."""
    if row["ci_high"] < 0:
        return "**worse**"
    return "better" if row["ci_low"] > 0 else "no worse"


def _values(values: Mapping[str, Any]) -> str:
    if not values:
        return "defaults"
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        flat += value.items() if isinstance(value, dict) else [(name, value)]
    told = {
        name: f"{value:.6g}" if isinstance(value, float) else value
        for name, value in flat
        if name not in {"verbose", "random_state"}
    }
    return (
        f"`{', '.join(f'{name}={value}' for name, value in told.items())}`" if told else "defaults"
    )


def _line(row: Mapping[str, Any]) -> str:
    library = LIBRARIES[row["library"]]
    method = "ALS" if row["library"] == "spark" else row["method"]
    return (
        f"| `{row['model']}` | {_values(row['our_settings'])} | {library.title} {row['version']}"
        f" `{method}` | {_values(row['their_arguments'])} | {label_of(row['metric'])} |"
        f" {row['ours']:.4f} | {row['theirs']:.4f} | {row['better_by']:+.4f} |"
        f" {row['ci_low']:+.4f} to {row['ci_high']:+.4f} | {verdict(row)} | {row['note']} |"
    )


def _users_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """On how many users the metrics that have been measured rest."""
    counts = {
        metric: max((row["users"] for row in rows if row["metric"] == metric), default=0)
        for metric in ("rmse", "ndcg@10")
    }
    words = {"rmse": "RMSE over the pairs of up to {} users", "ndcg@10": "NDCG@10 over {} users"}
    said = [words[metric].format(count) for metric, count in counts.items() if count]
    return f"{', '.join(said)}."


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The section of docs/results.md."""
    lines = [HEADING + _INTRODUCTION]
    for split, (title, _) in SPLITS.items():
        of_split = [row for row in rows if row["split"] == split]
        if not of_split:
            continue
        lines += [
            "",
            f"### {title}",
            _users_of(of_split),
            "",
            _HEAD,
            *map(_line, of_split),
        ]
    return "\n".join(lines) + "\n"


def write_page() -> None:
    """Put the section in its place in docs/results.md: at the end, or where it was."""
    rows = json.loads(ROWS.read_text())
    order = {(pair.model, pair.metric, pair.library): n for n, pair in enumerate(PAIRS)}
    rows.sort(key=lambda row: order.get((row["model"], row["metric"], row["library"]), len(order)))
    page = PAGE.read_text()
    before, _, rest = page.partition(HEADING)
    at = rest.find("\n## ")
    after = rest[at:] if at >= 0 else ""
    PAGE.write_text(before.rstrip("\n") + "\n\n" + section(rows) + after)


# -- all of it --------------------------------------------------------------------------------


def prepared(spark: SparkSession, given: argparse.Namespace) -> Iterator[Split]:
    """Each split, made and held out, as long as it is worked on."""
    root = Folder(spark, str(given.work.absolute() / "root"))
    for strategy in given.splits:
        settings = load(overrides=SPLITS[strategy][1], environment={})
        today = datetime.now(UTC).date()
        context = Context(root, settings, today, Progress(interactive=False))
        if not context.tables.exist():
            ingest(context, given.input)
        run = start(context, f"peers-{strategy}")
        split_stage(context, run)
        (parts,) = folds_of(context, run)
        before = [parts.train, parts.validation]
        with held_out(context, run, parts, "test", before) as held:
            split = Split(context, run, parts, held)
            with split.stack:
                yield split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input")
    parser.add_argument("--work", type=Path, default=Path("build/quality-peers"))
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["random", "global_time"])
    parser.add_argument("--models", nargs="+", help="those of ours; default: all")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--page", action="store_true", help="write the page alone")
    given = parser.parse_args()
    if given.page:
        write_page()
        return
    if not given.input:
        parser.error("give --input")
    pairs = [
        pair
        for pair in PAIRS
        if pair.library in given.libraries and (not given.models or pair.model in given.models)
    ]
    common = load(overrides=["session.driver_memory=4g"], environment={})
    with spark_session(common.session, name="benchmark") as spark:
        for split in prepared(spark, given):
            for pair in pairs:
                row = split.compare(pair)
                save(row, ROWS)
                write_page()
                print(_line(row), flush=True)


if __name__ == "__main__":
    main()
