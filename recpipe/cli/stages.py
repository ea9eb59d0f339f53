"""The commands that run the stages, one by one or all of them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from recpipe.cli.inspection import fetched
from recpipe.cli.options import Options, fresh_id, session, stage_options
from recpipe.cli.people import for_options, recommend_people
from recpipe.errors import UsageError
from recpipe.stages.table import STAGES, Stage, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recpipe.stages.context import Context
    from recpipe.storage import Run

logger = logging.getLogger("recpipe")


_NEW_RUN_ID = "Of the new run. Default: <run-date>T<HHMMSS>Z."
_RUN_ID: dict[Subject, str] = {
    "source": "Not used: tables belong to no run.",
    "new run": _NEW_RUN_ID,
    "unfinished run": "Default: the newest unfinished run.",
    "any run": "Default: the newest run, finished or not.",
}
"""What `--help` says of `--run-id`."""


def _stage_command(stage: Stage) -> click.Command:
    """The command of a stage: `recpipe <name>`."""

    @click.command(stage.name, help=stage.summary)
    @stage_options(source=stage.subject == "source", run_id=_RUN_ID[stage.subject])
    def command(**given: Any) -> None:
        _run_stage(stage, Options(**given))

    return command


def _recommend_command(stage: Stage) -> click.Command:
    """`recpipe recommend`: the stage, or with --for lists of people who are new."""

    @click.command(stage.name, help=stage.summary)
    @stage_options(source=False, run_id=_RUN_ID[stage.subject])
    @for_options
    def command(*, people: str | None, n: int | None, out: str | None, **given: Any) -> None:
        options = Options(**given)
        if people is not None:
            recommend_people(options, people, n=n, out=out)
            return
        for option, value in (("--n", n), ("--out", out)):
            if value is not None:
                raise click.UsageError(f"{option} goes with --for")
        _run_stage(stage, options)

    return command


def _run_stage(stage: Stage, options: Options) -> None:
    """A stage on its subject, and what a person is told of it."""
    goes_on = stage.subject == "unfinished run"
    with (
        session(options, stage.name, goes_on=goes_on, fits=stage.fits_models) as context,
        _subject(context, options, stage) as (own, subject),
    ):
        said = stage.run(own, subject)
        if "metrics" in stage.writes:
            _print_metrics(subject)
        if isinstance(said, str):
            click.echo(said)


@contextmanager
def _subject(context: Context, options: Options, stage: Stage) -> Iterator[tuple[Context, Any]]:
    """What a stage works on, and its context, which has the settings of a run that goes on."""
    from recpipe.stages.start import resumed, start

    match stage.subject:
        case "source":
            source = source_of(options)
            if source is None:
                raise UsageError(
                    f"{stage.name}: no source",
                    hint="give --input or --dataset, or --train and --test",
                )
            yield context, source
        case "new run":
            yield context, start(context, options.run_id or fresh_id(context))
        case "unfinished run":
            run = context.runs.unfinished(options.run_id)
            with resumed(_going_on(context, options, run), run, stage.name) as own:
                yield own, run
        case "any run":
            yield context, context.runs.newest(options.run_id)


def _going_on(context: Context, options: Options, run: Run) -> Context:
    """The context with the settings of a run that goes on, and on top of them what is given."""
    logger.info("run %s", run.id)
    settings = options.settings(base=run.manifest["settings"])
    if options.run_date and options.run_date.isoformat() != run.manifest["run_date"]:
        raise UsageError(
            f"run {run.id} stands for {run.manifest['run_date']}",
            hint="leave --run-date out, or start another run",
        )
    return replace(context, settings=settings)


def source_of(options: Options) -> str | dict[str, str] | None:
    """What to ingest: a path, one for each part, or a release, downloaded where it is not yet."""
    if options.parts:
        return options.parts
    if options.dataset is None:
        return options.source
    return str(fetched(options.dataset))


@click.command("run", help="All stages, from raw ratings to published lists.")
@stage_options(source=True, run_id=_NEW_RUN_ID)
def run_command(**given: Any) -> None:
    """All stages, one after the other."""
    from recpipe.stages.pipeline import run_pipeline

    options = Options(**given)
    with session(options, "run", fits=True) as context:
        run_id = options.run_id or fresh_id(context)
        context.runs.refuse_finished(run_id)
        run = run_pipeline(context, run_id, source=source_of(options))
        _print_metrics(run)
        rows = run.manifest["output"]["rows"]
        click.echo(f"published {rows:,} rows: {context.root.uri}/published")
        click.echo(f"report: {run.folder.path('report.html')}")


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


_OWN = {"recommend": _recommend_command}
"""Stages whose command has options beside those of all."""

COMMANDS = (
    run_command,
    *(_OWN.get(stage.name, _stage_command)(stage) for stage in STAGES),
)
