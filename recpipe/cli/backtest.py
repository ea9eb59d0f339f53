"""The command that fits the same settings at several cutoffs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from recpipe.cli.options import Options, fresh_id, session, stage_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _period(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """A period such as 30d as a time delta."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no period such as 12h, 30d or 4w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _instants(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> Any:
    """Instants in ISO 8601; without a zone in UTC."""
    try:
        return tuple(datetime.fromisoformat(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write an instant as 2016-03-22T08:00:00Z") from error


def _in_parts(_context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            f"a backtest cuts the ratings itself, and {option.opts[0]} gives them already split;"
            " give all of them by --input"
        )


def _refuse_parts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have the options of ratings in parts, which people know from `run`, refused with a reason."""
    for name in ("--train", "--validation", "--test"):
        option = click.option(name, callback=_in_parts, expose_value=False, hidden=True)
        command = option(command)
    return command


@click.command("backtest")
@click.option(
    "--cutoffs",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Number of windows: of equally many ratings over the later half, or with --every of that"
    " length, counted back from the last rating. Not used with --at.",
)
@click.option(
    "--at", multiple=True, callback=_instants, metavar="INSTANT",
    help="A cutoff, in place of --cutoffs; may be given many times.",
)  # fmt: skip
@click.option(
    "--every", callback=_period, metavar="PERIOD",
    help="The length of a window, such as 30d or 4w, counted back from the last rating.",
)  # fmt: skip
@stage_options(
    source=True,
    parts=False,
    run_id="Of the backtest; one that was stopped goes on. Default: new.",
)
@_refuse_parts
def backtest_command(cutoffs: int, at: Any, every: Any, **given: Any) -> None:
    """Fit and evaluate at several cutoffs, each model as it would have been then.

    Each window is tested by models that have learned from what came before it. Metrics are pooled
    over windows, and lists compared from each to the next.
    """
    from recpipe.backtest import Windows
    from recpipe.cli import display
    from recpipe.cli.inspection import fetched
    from recpipe.stages.backtest import PAGE, backtest, check_settings
    from recpipe.storage.runs import check_run_id

    if at and every is not None:
        raise click.UsageError("--at and --every exclude each other")
    options = Options(**given)
    # Before Spark starts, and before anything is ingested.
    if options.run_id is not None:
        check_run_id(options.run_id)
    check_settings(options.settings())
    with session(options, "backtest", fits=True) as context:
        name = options.run_id or fresh_id(context)
        source = fetched(options.dataset) if options.dataset else options.source
        wanted = Windows(cutoffs, at, every)
        result = backtest(context, name, wanted, source=None if source is None else str(source))
        console = display.console()
        for table in display.backtest_tables(result):
            console.print(table)
        click.echo(f"report: {(context.root / 'backtests' / name).path(PAGE)}")


COMMANDS = (backtest_command,)
