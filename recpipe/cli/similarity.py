"""The command that says what is similar to an item, or who to a user."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import click

from recpipe.cli.options import Options, session, stage_options


@click.command("similar")
@click.argument("id", metavar="ID")
@stage_options(
    source=False,
    run_id="With fitted models. Default: the newest run, finished or not.",
    models=False,
    run_date=False,
)
@click.option("--user", "of_user", is_flag=True, help="ID is that of a user.")
@click.option("--model", metavar="NAME", help="That is asked. Default: that of the lists.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option(
    "--measure",
    type=click.Choice(["cosine", "euclidean", "dot"]),
    default="cosine",
    show_default=True,
    help="Of the vectors of two items, or users. Models without vectors have their own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def similar_command(
    id: str,
    *,
    of_user: bool,
    model: str | None,
    k: int,
    measure: Any,
    as_json: bool,
    **given: Any,
) -> None:
    """What is most similar to an item, or who to a user, by a fitted model.

    ID is as the source has it. The similar items of all items are published where
    recommend.similar says how many.
    """
    from recpipe.cli import display
    from recpipe.stages.similar import similar

    options = Options(**given)
    with session(options, "similar", goes_on=True) as context:
        run = context.runs.newest(options.run_id)
        own = replace(context, settings=options.settings(run.manifest["settings"]))
        kind: Literal["item", "user"] = "user" if of_user else "item"
        name, places = similar(own, run, id, kind=kind, k=k, measure=measure, model=model)
    if as_json:
        rows = [place._asdict() for place in places]
        click.echo(json.dumps({"run_id": run.id, "model": name, kind: id, "similar": rows}))
        return
    display.console().print(display.similar_table(f"{kind} {id}", places, model=name))


COMMANDS = (similar_command,)
"""What `recpipe` offers of these."""
