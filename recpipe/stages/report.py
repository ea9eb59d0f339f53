"""The page about a run."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from recpipe import publish as publishing
from recpipe import report as reporting
from recpipe import tracking
from recpipe.runtime.parallel import run_all
from recpipe.stages.context import Context, ratings_of, table
from recpipe.stages.description import DATA, data_of
from recpipe.stages.known_items import known_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.storage import Run

logger = logging.getLogger(__name__)


def report(context: Context, run: Run) -> str:
    """A page that a person opens; returns where it is. Belongs to finished runs as well."""
    with context.progress.stage("report"):
        metrics = run.folder.read_json("metrics.json") if run.folder.exists("metrics.json") else {}
        if _keeps_tables(context, run):
            work: list[Callable[[], Any]] = [
                partial(look, context, run) for look in (known_items, data_of, _people)
            ]
            items, data, people, _ = run_all([*work, reporting.prepare])
        else:
            people, items = [], None
            data = run.folder.read_json(DATA) if run.folder.exists(DATA) else None
        page = reporting.render(
            run.manifest,
            metrics=metrics,
            people=people,
            data=data,
            subgroups=_rows(run, "subgroups.json"),
            items=items,
        )
        run.folder.write_text("report.html", page)
        _track(context, run, metrics.get("rows") or [], page)
    return run.folder.path("report.html")


def _track(context: Context, run: Run, rows: list[dict[str, Any]], page: str) -> None:
    """Log the run where `tracking` says; where that fails the run is as good as without."""
    settings = context.settings.tracking
    if not settings.mlflow:
        return
    try:
        found = tracking.log_run(settings, run.manifest, rows, page)
    except Exception as error:  # noqa: BLE001 - whatever a server has, it must not end a run
        logger.warning("run %s is not in MLflow: %s: %s", run.id, type(error).__name__, error)
    else:
        logger.info("MLflow run %s in experiment %s", found, settings.experiment)


def _rows(run: Run, name: str) -> list[dict[str, Any]]:
    """The rows of a JSON file of the run; none where it is not there."""
    rows: list[dict[str, Any]] = (
        run.folder.read_json(name)["rows"] if run.folder.exists(name) else []
    )
    return rows


def _keeps_tables(context: Context, run: Run) -> bool:
    """Whether the tables that the run is pinned to are still there; said in the log where not."""
    versions = run.manifest.get("tables") or {}
    kept = context.tables.exist() and all(
        context.tables.keeps(name, version=version) for name, version in versions.items()
    )
    if not kept:
        logger.warning(
            "the page shows no lists of people and no items: later ingests have replaced the"
            " ratings of run %s",
            run.id,
        )
    return kept


def _people(context: Context, run: Run) -> list[publishing.Profile]:
    """Three people of few, middling and many ratings, with what the run recommends to them."""
    if "recommended" not in run.manifest:
        return []
    ratings = ratings_of(context, run).frame
    titled = "movies" in run.manifest["tables"]
    return publishing.profiles(
        (run.folder / "recommendations").read_table(run.manifest["recommended"]),
        publishing.typical_users(ratings),
        ratings=ratings,
        movies=table(context, run, "movies") if titled else None,
        explanations=publishing.explanations_of(run),
    )
