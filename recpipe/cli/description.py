"""The command that looks at the ratings before anything is learned from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from recpipe.cli.options import Options, logging_options, session


@click.command()
@click.option("--root", metavar="DIR", default=".", envvar="RECPIPE_ROOT", show_envvar=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of settings.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="One setting, such as split.test_from=2018-01-01; may be given many times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@logging_options
def describe(
    *,
    root: str,
    config: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    log_format: Literal["text", "json"],
) -> None:
    """What the ratings look like: how many, of whom, when, of what, and who is cold.

    Speaks of the tables under the root as they are now. The page of a run shows the same of the
    run's tables, with plots.
    """
    from recpipe.cli import display
    from recpipe.stages.description import described

    options = Options(
        root=root, config=config, overrides=overrides, verbose=verbose, log_format=log_format
    )
    with session(options, "describe") as context:
        data = described(context).as_json()
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    console = display.console()
    for table in display.description_tables(data):
        console.print(table)


COMMANDS = (describe,)
"""What `recpipe` offers of these."""
