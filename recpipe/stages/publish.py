"""Check the lists, export them, and replace one pointer; then the page about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe import publish as publishing
from recpipe import report as reporting
from recpipe.errors import UsageError
from recpipe.stages.context import Context, folds_of, stage, table
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
            ratings=table(context, run, "ratings"),
            n=context.settings.recommend.n,
            no_leak=lambda: (
                f"{len(folds_of(context, run, check=True))} split(s), checked as they lie there"
            ),
        ):
            run.record(gates=[*run.manifest["gates"], gate.as_dict()])
            gate.hold()
        export = publishing.export(
            lists, root=context.root, run_id=run.id, files=context.settings.publish.files
        )
        run.record(output=export.as_dict())
        publishing.point_to(export, root=context.root, keep=context.settings.publish.keep_versions)
    run.record(status=FINISHED)


def report(context: Context, run: Run) -> str:
    """A page that a person opens; returns where it is. Belongs to finished runs as well."""
    with context.progress.stage("report"):
        metrics = run.folder.read_json("metrics.json") if run.folder.exists("metrics.json") else {}
        page = reporting.render(run.manifest, metrics=metrics, people=_people(context, run))
        run.folder.write_text("report.html", page)
    return run.folder.path("report.html")


def _people(context: Context, run: Run) -> list[publishing.Profile]:
    """Three people of few, middling and many ratings, with what the run recommends to them."""
    if "recommended" not in run.manifest:
        return []
    ratings = table(context, run, "ratings")
    titled = "movies" in run.manifest["tables"]
    return publishing.profiles(
        (run.folder / "recommendations").read_table(run.manifest["recommended"]),
        publishing.typical_users(ratings),
        ratings=ratings,
        movies=table(context, run, "movies") if titled else None,
    )
