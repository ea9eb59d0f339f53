"""The commands that run the stages, one by one or all of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from recpipe.cli.inspection import fetched
from recpipe.cli.options import Options, session, stage_options
from recpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.stages import Context
    from recpipe.storage import Run

logger = logging.getLogger("recpipe")


def _command(name: str, summary: str, run: Callable[[Context, Options], None]) -> click.Command:
    """The command of a stage, or of all of them."""

    @click.command(name, help=summary)
    @stage_options
    def command(**given: Any) -> None:
        options = Options(**given)
        with session(options, name) as context:
            run(context, options)

    return command


def _source(options: Options) -> str | None:
    """What to ingest: a path, or the release of that name, downloaded where it is not yet."""
    if options.dataset is None:
        return options.source
    return str(fetched(options.dataset))


def _ingest(context: Context, options: Options) -> None:
    from recpipe import stages

    source = _source(options)
    if source is None:
        raise UsageError("ingest: no source", hint="give --input or --dataset")
    stages.ingest(context, source)


def _split(context: Context, options: Options) -> None:
    from recpipe import stages

    stages.split(context, stages.start(context, options.run_id or _fresh_id(context)))


def _later(stage: str) -> Callable[[Context, Options], None]:
    """The command of a stage that goes on with a run."""

    def run(context: Context, options: Options) -> None:
        from recpipe import stages

        found = context.runs.unfinished(options.run_id)
        logger.info("run %s", found.id)
        settings = options.settings(base=found.manifest["settings"])
        if options.run_date and options.run_date.isoformat() != found.manifest["run_date"]:
            raise UsageError(
                f"run {found.id} stands for {found.manifest['run_date']}",
                hint="leave --run-date out, or start another run",
            )
        context = stages.resume(replace(context, settings=settings), found, stage)
        stages.IN_ORDER[stage](context, found)
        if stage == "evaluate":
            _print_metrics(found)

    return run


def _report(context: Context, options: Options) -> None:
    """Of a finished run as well: a page is made of what is there."""
    from recpipe import stages

    click.echo(stages.report(context, context.runs.newest(options.run_id)))


def _run(context: Context, options: Options) -> None:
    from recpipe import stages

    run_id = options.run_id or _fresh_id(context)
    context.runs.refuse_finished(run_id)
    run = stages.run_all(context, run_id, source=_source(options))
    _print_metrics(run)
    click.echo(f"published {run.manifest['output']['rows']:,} rows: {context.root.uri}/published")
    click.echo(f"report: {run.folder.path('report.html')}")


def _fresh_id(context: Context) -> str:
    return f"{context.run_date.isoformat()}T{datetime.now(UTC):%H%M%S}Z"


def _print_metrics(run: Run) -> None:
    from recpipe.cli import display

    settings = run.manifest["settings"]["evaluate"]
    _, _, k = settings["metric"].partition("@")
    console = display.console()
    console.print(
        display.metrics_table(
            run.folder.read_json("metrics.json")["rows"],
            models=list(run.manifest["models"]),
            k=int(k) if k else settings["ks"][0],
            chosen=run.manifest["chosen"]["model"],
        )
    )


COMMANDS = (
    _command("run", "All stages, from raw ratings to published lists.", _run),
    _command("ingest", "Raw files to checked tables.", _ingest),
    _command("split", "Start a run: ratings to train, validation and test.", _split),
    _command("train", "Fit every model on train.", _later("train")),
    _command("evaluate", "Judge the models and choose one.", _later("evaluate")),
    _command(
        "recommend", "The chosen model on all ratings: lists of every user.", _later("recommend")
    ),
    _command("publish", "Check, export and point to the lists.", _later("publish")),
    _command("report", "Write the page that a person opens.", _report),
)
