"""The command that replays an A/B test of two models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from recpipe.cli.options import Options, session, stage_options


@click.command("simulate")
@click.argument("model")
@click.argument("other")
@stage_options(
    source=False,
    run_id="That has been evaluated. Default: the newest run, finished or not.",
    models=False,
    run_date=False,
)
@click.option(
    "--lift",
    type=click.FloatRange(min=0, min_open=True),
    default=0.05,
    show_default=True,
    help="The lift for which a number of users is asked for, as a share of MODEL's rate.",
)
@click.option(
    "--bias",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="How fast attention falls: place r is looked at with chance (1 / r)^bias.",
)
@click.option(
    "--click-relevant",
    type=click.FloatRange(0, 1),
    default=0.6,
    show_default=True,
    help="The chance that a relevant item is clicked once it is looked at.",
)
@click.option(
    "--click-other",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="The same of any other item.",
)
def simulate_command(
    model: str,
    other: str,
    *,
    lift: float,
    bias: float,
    click_relevant: float,
    click_other: float,
    **given: Any,
) -> None:
    """Replay an A/B test of MODEL against OTHER from their lists on the test part.

    A simulation by a model of clicks whose assumptions are printed with it: how large a test would
    have to be to show the difference that held-out ratings show, not what people would do.
    """
    from recpipe.evaluation.simulation import ClickModel
    from recpipe.stages.simulate import simulate

    clicks = ClickModel(bias, click_relevant, click_other)
    options = Options(**given)
    with session(options, "simulate", goes_on=True) as context:
        run = context.runs.newest(options.run_id)
        own = replace(context, settings=options.settings(run.manifest["settings"]))
        found = simulate(own, run, (model, other), lift=lift, clicks=clicks)
        click.echo("\n".join(_said(found)))


def _said(found: dict[str, Any]) -> list[str]:
    """The result in sentences, the assumptions last."""
    model, other = found["models"]
    one, two = found["rates"]
    needed = found["needed"]
    enough = (
        "No number of users would show a difference: there is none."
        if needed is None
        else f"To show this difference in 80 of 100 tests takes {needed:,} users for each model."
    )
    wished = found["needed_for_wished"]
    of_wish = (
        ""
        if wished is None
        else f" A lift of {found['wished_lift']:.1%} would take {wished:,} for each."
    )
    rates = f"A visit succeeds with chance {one:.4f} under {model} and {two:.4f} under {other}:"
    power = (
        f"With the {found['users']:,} users of the test part {found['power']:.0%} of"
        f" {found['replays']:,} replays show a difference. {enough}{of_wish}"
    )
    return [
        f"SIMULATION of an A/B test: {model} against {other}, run {found['run_id']}",
        f"{rates} {_lift(found)}.",
        power,
        "Assumed, not known:",
        *(f"- {text};" for text in found["assumptions"]),
    ]


def _lift(found: dict[str, Any]) -> str:
    """How much higher the rate of the second model is, in words."""
    if found["lift"] is None:
        return f"no lift: {found['models'][0]} never succeeds"
    if found["lift_low"] is None:
        return f"a lift of {found['lift']:+.1%}; no replay measures one"
    return (
        f"a lift of {found['lift']:+.1%}; replays measure {found['lift_low']:+.1%} to"
        f" {found['lift_high']:+.1%}"
    )


COMMANDS = (simulate_command,)
"""What `recpipe` offers of these."""
