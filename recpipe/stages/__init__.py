"""The stages: each reads tables, transforms, checks, and writes tables. They meet nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.stages.context import Context
from recpipe.stages.evaluate import evaluate
from recpipe.stages.ingest import ingest
from recpipe.stages.publish import publish, report
from recpipe.stages.recommend import recommend
from recpipe.stages.split import resume, split, start
from recpipe.stages.train import train
from recpipe.storage.runs import FINISHED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.storage import Run

IN_ORDER: dict[str, Callable[[Context, Run], object]] = {
    "split": split,
    "train": train,
    "evaluate": evaluate,
    "recommend": recommend,
    "publish": publish,
    "report": report,
}
"""The stages of a run, in their order."""


def run_all(context: Context, run_id: str, *, source: str | None) -> Run:
    """Every stage, from the source (or the tables there) to the page; the run that they made.

    The page is written also when a check refuses to publish.

    Raises:
        RecpipeError: what ended the run. Where the input is unusable, which may show only when
            it is split, tables and runs are as they were before.
    """
    with context.tables.provisional():
        if source is not None:
            ingest(context, source)
        run = start(context, run_id)
        split(context, run)
    try:
        for stage in (train, evaluate, recommend, publish):
            stage(context, run)
    finally:
        if run.manifest["status"] in {REFUSED, FINISHED}:
            report(context, run)
    return run


__all__ = ["IN_ORDER", "Context", "ingest", "report", "resume", "run_all", "split", "start"]
