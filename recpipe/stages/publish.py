"""Check the lists, export them, and replace one pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe import publish as publishing
from recpipe.errors import UsageError
from recpipe.stages.context import Context, folds_of, ratings_of, seen_otherwise, stage
from recpipe.stages.rules import written_rules
from recpipe.storage.runs import FINISHED

if TYPE_CHECKING:
    from recpipe.storage import Run


def publish(context: Context, run: Run) -> None:
    """Check the lists, export them under a new folder, and replace one pointer."""
    if "recommended" not in run.manifest:
        raise UsageError(f"run {run.id} has no lists", hint="run `recpipe recommend` first")
    with stage(context, run, "publish"):
        lists = (run.folder / "recommendations").read_table(run.manifest["recommended"])
        run.record(gates=[])
        for gate in publishing.gates(
            lists,
            ratings=ratings_of(context, run).frame,
            n=context.settings.recommend.n,
            unrated=seen_otherwise(context, run),
            rules=written_rules(run),
            no_leak=lambda: _no_leak(context, run),
        ):
            run.record(gates=[*run.manifest["gates"], gate.as_dict()])
            gate.raise_if_refused()
        export = publishing.export(
            lists, root=context.root, run_id=run.id, files=context.settings.publish.files
        )
        run.record(output=export.as_dict())
        publishing.point_to(export, root=context.root, keep=context.settings.publish.keep_versions)
    run.record(status=FINISHED)


def _no_leak(context: Context, run: Run) -> str:
    """What was looked at; a leak is raised."""
    folds = folds_of(context, run, check=True)
    what = "the split" if len(folds) == 1 else f"all {len(folds)} folds of the split"
    return f"read {what} back from the run and found no leak"
