"""The commands that look: a person's list, the known releases, this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import click

from recpipe.cli.options import logging_options, readable_root


@click.command()
@click.argument("user")
@click.option("--root", metavar="DIR", default=".", envvar="RECPIPE_ROOT", show_envvar=True)
@click.option(
    "--run-id", metavar="ID", help="A run that has made lists. Default: the published run."
)
@logging_options
def show(
    user: str, *, root: str, run_id: str | None, verbose: bool, log_format: Literal["text", "json"]
) -> None:
    """A person's history and list, with titles.

    USER is an id as the source has it. Spark starts only where the tables are Delta tables, or on
    a store that pyarrow cannot open.
    """
    from recpipe.cli import display
    from recpipe.publish import lookup
    from recpipe.runtime import logs

    logs.logging_setup(verbose=verbose, log_format=log_format)
    with readable_root(root, "show", verbose=verbose) as folder:
        found, profile = lookup(folder, user, run_id=run_id)
    console = display.console()
    for table in display.profile_tables(profile, run_id=found):
        console.print(table)


@click.command("settings")
@click.argument("section", required=False)
def settings_(section: str | None) -> None:
    """Print every setting, or those of a SECTION, with its default and what it means.

    The output is TOML: a file for --config may begin as a copy of it.
    """
    from recpipe.settings import as_toml

    click.echo(as_toml(section), nl=False)


@click.group()
def data() -> None:
    """Known releases: list them, fetch one, or make one up."""


@data.command("list")
def list_() -> None:
    """Names, sizes and checksums of the known releases."""
    from recpipe.cli.display import console
    from recpipe.datasets.catalogue import list_table

    console().print(list_table())


@data.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download a release once; prints where it is."""
    click.echo(fetched(name))


def fetched(name: str) -> Path:
    """The archive of a release in the cache, downloaded where it is not there yet."""
    from recpipe.datasets.download import fetch
    from recpipe.runtime import bars, cache

    with bars.bar(f"fetching {name}", unit="bytes") as bar:
        return fetch(
            name,
            cache=cache.cache_folder() / "datasets",
            base_url=os.environ.get("RECPIPE_MOVIELENS_URL"),
            progress=bar,
        )


@data.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--ratings", default=100_000, show_default=True, type=click.IntRange(min=1))
@click.option("--users", type=click.IntRange(min=1), help="Default: as MovieLens of that size.")
@click.option("--items", type=click.IntRange(min=1), help="Default: as MovieLens of that size.")
@click.option("--rank", default=8, show_default=True, help="Planted factors.")
@click.option("--sigma", default=0.8, show_default=True, help="Noise, in stars.")
@click.option(
    "--taste", default=2.5, show_default=True, help="How much liking decides what is rated."
)
@click.option("--seed", default=42, show_default=True)
def synthesize(folder: Path, **shape: Any) -> None:
    """Make up a release of MovieLens' shape in FOLDER; the same seed gives the same bytes."""
    from recpipe.datasets.synthetic import synthesize as write
    from recpipe.runtime import bars

    with bars.bar("synthesizing", unit="rows") as bar:
        truth = write(folder, progress=bar, **shape)
    click.echo(
        f"{shape['ratings']:,} ratings in {folder}; noise floor: RMSE {truth.noise_floor:.4f}"
    )


@click.command()
def doctor() -> int:
    """What this machine has and lacks."""
    from recpipe.runtime import doctor as examination

    return examination.main()


COMMANDS = (show, settings_, data, doctor)
