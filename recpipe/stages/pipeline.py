"""Every stage, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.stages.start import start
from recpipe.stages.table import STAGES
from recpipe.storage.runs import FINISHED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.stages.context import Context
    from recpipe.stages.table import Subject
    from recpipe.storage import Run


def run_pipeline(context: Context, run_id: str, *, source: str | Mapping[str, str] | None) -> Run:
    """Every stage, from the source (or the tables there) to the page; the run that they made.

    The page is written also when a check refuses to publish.

    Args:
        context: of every stage.
        run_id: of the run.
        source: as of `ingest`: a path, or one for each part; None: the tables that are there.

    Raises:
        RecpipeError: what ended the run. Where the input is unusable, which may show only when
            it is split, tables and runs are as they were before.
    """
    with context.tables.provisional():
        if source is not None:
            _run_stages("source", context, source)
        run = start(context, run_id)
        _run_stages("new run", context, run)
    try:
        _run_stages("unfinished run", context, run)
    finally:
        if run.manifest["status"] in {REFUSED, FINISHED}:
            _run_stages("any run", context, run)
    return run


def _run_stages(on: Subject, context: Context, subject: str | Mapping[str, str] | Run) -> None:
    """The stages that work on a subject of that kind, in their order."""
    for stage in STAGES:
        if stage.subject == on:
            stage.run(context, subject)
