"""The command that replays an A/B test of two models."""

from __future__ import annotations

from typing import Any

import click

from recpipe.cli.options import Options, session, stage_options


@click.command("simulate")
@click.argument("model")
@click.argument("other")
@stage_options(
    source=False, run_id="That has been evaluated. Default: the newest run, finished or not."
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
    with session(Options(**given), "simulate") as context:
        run = context.runs.newest(given["run_id"])
        found = simulate(context, run, (model, other), lift=lift, clicks=clicks)
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
    rates = (
        f"A visit succeeds with chance {one:.4f} under {model} and {two:.4f} under {other}: a lift"
        f" of {found['lift']:+.1%}; replays measure {found['lift_low']:+.1%} to"
        f" {found['lift_high']:+.1%}."
    )
    power = (
        f"With the {found['users']:,} users of the test part {found['power']:.0%} of"
        f" {found['replays']:,} replays show a difference. {enough}{of_wish}"
    )
    return [
        f"SIMULATION of an A/B test: {model} against {other}, run {found['run_id']}",
        rates,
        power,
        "Assumed, not known:",
        *(f"- {text};" for text in found["assumptions"]),
    ]


COMMANDS = (simulate_command,)
"""What `recpipe` offers of these."""
