"""The page about a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recpipe import publish as publishing
from recpipe import report as reporting
from recpipe.stages.context import Context, table

if TYPE_CHECKING:
    from recpipe.storage import Run

logger = logging.getLogger(__name__)


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
    if not context.tables.keeps("ratings", version=run.manifest["tables"]["ratings"]):
        logger.warning(
            "the page shows no lists of people: later ingests have replaced the ratings of run %s",
            run.id,
        )
        return []
    ratings = table(context, run, "ratings")
    titled = "movies" in run.manifest["tables"]
    return publishing.profiles(
        (run.folder / "recommendations").read_table(run.manifest["recommended"]),
        publishing.typical_users(ratings),
        ratings=ratings,
        movies=table(context, run, "movies") if titled else None,
    )
