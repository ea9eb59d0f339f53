"""The command that puts two runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from recpipe.cli.options import logging_options, readable_root


@click.command()
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@click.option("--root", metavar="DIR", default=".", envvar="RECPIPE_ROOT", show_envvar=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page. Default: compare-RUN-RUN.html in this folder.",
)
@logging_options
def compare(
    one: str,
    other: str,
    *,
    root: str,
    out: Path | None,
    verbose: bool,
    log_format: Literal["text", "json"],
) -> None:
    """Put two runs beside each other: the second compared with the first.

    Prints how their chosen models do on test, and writes a page with the rest: settings that
    differ, data, split and times. Where both hold out the same pairs of users and items, and the
    same of them are relevant, it also says how much better the second is over the same users, with
    an interval. Spark starts only where the tables are Delta tables, or on a store that pyarrow
    cannot open.
    """
    from recpipe.cli import display
    from recpipe.errors import UsageError
    from recpipe.report import render_comparison
    from recpipe.runtime import logs
    from recpipe.stages.comparison import compare_runs

    logs.logging_setup(verbose=verbose, log_format=log_format)
    with readable_root(root, "compare", verbose=verbose) as folder:
        found = compare_runs(folder, one, other)
    place = out or Path(f"compare-{one}-{other}.html")
    try:
        place.write_text(render_comparison(found), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{place}: the page cannot be written: {error.strerror}", hint="give another --out"
        ) from error
    console = display.console()
    for table in display.comparison_tables(found):
        console.print(table)
    click.echo(f"comparison: {place}")


COMMANDS = (compare,)
"""What `recpipe` offers of these."""
