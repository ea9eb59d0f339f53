"""The command that searches the settings of a model."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from recpipe.cli.options import Options, fresh_id, session, stage_options
from recpipe.errors import UsageError

if TYPE_CHECKING:
    from recpipe.tuning.request import Request

logger = logging.getLogger("recpipe")

_TRIALS = 30
"""How many there are where neither their number nor a time is given."""


@click.command(
    help="Search the settings of MODEL for the best value on validation.\n\n"
    "Trials share the split of a run, which stays as it is, and read nothing of its test part."
    " Without --run-id that is the newest unfinished run that has a split; where there is none, one"
    " is started. A search that was interrupted goes on when it is started again. What it finds is"
    " in tuning/MODEL below the root: best.toml for `recpipe run --config`, tuning.html."
)
@click.argument("model")
@stage_options(
    source=False,
    run_id="Whose split is used. Default: the newest unfinished run that has one, or a new run.",
    models=False,
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help=f"How many are made, beside those of an earlier search. Default: {_TRIALS}, or as many as"
    " --timeout allows.",
)
@click.option(
    "--timeout",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="No trial begins after that.",
)
@click.option(
    "--parallel",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Trials at a time, in one session. With more than 1 their order depends on timing.",
)
@click.option(
    "--metric", metavar="NAME", help="By which trials are compared. Default: evaluate.metric."
)
@click.option("--restart", is_flag=True, help="Remove an earlier search of the model first.")
def tune(model: str, *, trials: int | None, seconds: float | None, **given: Any) -> None:
    """Search the settings of a model."""
    from recpipe.tuning.request import Request

    parallel, restart = given.pop("parallel"), given.pop("restart")
    if trials is None and seconds is None:
        trials = _TRIALS
    request = Request(model, trials, seconds, parallel, restart)
    options = Options(**given)
    _refuse_early(request, options)
    with session(options, "tune", goes_on=True) as context:
        from recpipe.cli import display
        from recpipe.stages import tune as tuning

        run = tuning.tuning_run(context, options.run_id)
        own = replace(context, settings=options.settings(run.manifest["settings"] if run else None))
        if run is None:
            run = tuning.new_run(own, fresh_id(own))
        logger.info("the split of run %s", run.id)
        tuned = tuning.tune(own, run, request)
        console = display.console()
        console.print(display.tuned_table(tuned))
        place = context.root / "tuning" / model
        click.echo(f"profile: {place.path(tuning.PROFILE)}")
        click.echo(f"page: {place.path(tuning.PAGE)}")


def _refuse_early(request: Request, options: Options) -> None:
    """Refuse before Spark starts what can be known to be wrong by then.

    Raises:
        UsageError: if the model is not tuned, or there is no such metric.
        MissingError: if Optuna, or what the fit of the model needs, is not installed.
    """
    from recpipe.models.registry import check_extras
    from recpipe.tuning.request import require_optuna

    if request.space and options.metric is not None:
        from recpipe.evaluation.metrics import metric_at

        try:
            metric_at(options.metric)
        except ValueError as error:
            raise UsageError(f"--metric {options.metric}: {error}") from error
    require_optuna()
    check_extras([request.model])


COMMANDS = (tune,)
