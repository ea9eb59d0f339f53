"""The command line: arguments, logging, progress and exit codes. No Spark until a stage runs."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import click

from recpipe import __version__
from recpipe.cli import (
    backtest,
    clusters,
    comparison,
    description,
    inspection,
    similarity,
    simulation,
    stages,
    tuning,
)
from recpipe.errors import MissingError, RecpipeError, UsageError
from recpipe.runtime import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("recpipe")

INTERRUPTED, TERMINATED = 130, 143


class _Commands(click.Group):
    """The commands in the order in which a person needs them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="recpipe")
def cli() -> None:
    """From raw ratings to published top-N tables, on Apache Spark."""


_ON_SPARK = (stages, backtest, tuning, simulation, similarity, description)
"""Whose commands open a session of Spark, whatever its master."""
_HERE = (comparison, inspection, clusters)
"""Whose commands are for the machine that they are given on."""

for _command in (command for module in (*_ON_SPARK, *_HERE) for command in module.COMMANDS):
    cli.add_command(_command)

_JOB_OF_ALL = "pipeline"
"""What jobs/ calls the command `run`, which runs all stages."""


def jobs() -> dict[str, click.Command]:
    """The commands that can be submitted to a cluster, by the names of their jobs in jobs/."""
    commands = [command for module in _ON_SPARK for command in module.COMMANDS]
    return {
        _JOB_OF_ALL if command is stages.run_command else str(command.name): command
        for command in commands
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (docs/contracts.md)."""
    signals.install()
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="recpipe",
            standalone_mode=False,
        )
    except BaseException as error:  # noqa: BLE001 - the last place that can turn it into a line
        return _ended_by(error)
    return code if isinstance(code, int) else 0


def job(command: str, arguments: Sequence[str] | None = None) -> int:
    """What jobs/ runs under spark-submit: `recpipe <command>` with the same options."""
    return main([command, *(sys.argv[1:] if arguments is None else arguments)])


def _ended_by(error: BaseException) -> int:
    """Say in one line what ended the command; its exit code."""
    # Whatever else went wrong on the way out: a signal is what ended it.
    if signals.received() == signal.SIGTERM:
        return _refuse("terminated; nothing half-written is left", code=TERMINATED)
    if signals.received() or isinstance(error, KeyboardInterrupt | click.Abort):
        return _refuse("interrupted; nothing half-written is left", code=INTERRUPTED)
    if isinstance(error, OSError) and error.filename:
        error = MissingError(
            f"{error.filename}: {error.strerror}",
            hint="is it where it should be, and this user allowed?",
        )
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.UsageError():
            return _refuse(_one_line(_with_help(error)), code=UsageError.exit_code)
        case RecpipeError():
            return _refuse(str(error), *error.details, code=error.exit_code)
        case Exception():
            # The number of an error of the system says nothing to people.
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            said = f"a fault in recpipe: {type(error).__name__}: {_one_line(words)}"
            kept = "; ".join(getattr(error, "__notes__", ())) or "run again with --verbose"
            return _refuse(f"{said} ({kept})", code=RecpipeError.exit_code)
    raise error


def _refuse(message: str, *details: str, code: int) -> int:
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    from recpipe.runtime import logs

    if logs.logs_are_json():
        logger.error(message, extra={"exit_code": code, "details": list(details)})
        return code
    click.echo(f"recpipe: {message}", err=True)
    for line in details:
        click.echo(f"  {line}", err=True)
    return code


def _with_help(error: click.UsageError) -> str:
    """What is wrong with a command line, and where its options are explained."""
    message = error.format_message()
    return message if error.ctx is None else f"{message} (see `{error.ctx.command_path} --help`)"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
