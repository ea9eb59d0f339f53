"""`recpipe recommend --for FILE`: lists of people who are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recpipe.cli.options import Options, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.stages.recommend_for import ListsFor

_MAX_N = 1000


def for_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --for, --n and --out to a command."""
    options = (
        click.option(
            "--for",
            "people",
            metavar="FILE",
            help="Instead, lists for the people of a folder, zip or file of ratings, by the"
            " fitted model of a run (default: the published one). Nothing is fitted.",
        ),
        click.option("--n", type=click.IntRange(1, _MAX_N), help="With --for: places of a list."),
        click.option(
            "--out",
            metavar="DIR",
            help="With --for: where the table goes. Default: a folder of the run.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def recommend_people(options: Options, people: str, *, n: int | None, out: str | None) -> None:
    """Lists for the people of a file, and what a person is told of them."""
    with session(options, "recommend", goes_on=True) as context:
        from recpipe.stages.recommend_for import recommend_for, run_for, settings_for

        run = run_for(context, options.run_id)
        own = options.settings(run.manifest["settings"])
        known = settings_for(context, run, own, options.settings().ingest)
        click.echo("\n".join(said(recommend_for(known, run, people, n=n, out=out))))


def said(found: ListsFor) -> list[str]:
    """What was made, in sentences."""
    lines = [
        f"lists of {found.people:,} people by {found.model} of run {found.run_id}: {found.uri}",
    ]
    if found.unknown_ratings:
        lines.append(
            f"{found.unknown_ratings:,} of {found.ratings:,} ratings are of items that the run"
            " does not know; they were not used"
        )
    if found.unknown_people:
        lines.append(
            f"{found.unknown_people:,} of {found.people:,} people rated nothing that the run knows:"
            " their lists are those of the mean user, or filled up by popularity"
        )
    missing = found.n * found.people - found.rows
    if missing:
        lines.append(
            f"{missing:,} places are empty: no item was left, or the run has no fit of popularity"
            " to fill them"
        )
    return lines


__all__ = ["for_options", "recommend_people", "said"]
