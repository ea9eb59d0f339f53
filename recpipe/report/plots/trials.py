"""Trials of a search: values in their order and against each setting, and how they learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from recpipe.report.plots.style import ACCENT, COLOURS, PHONE, SOFT, THIRD, drawn, grid, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

_HEIGHT = 230
_CURRENT = COLOURS[1]


class Point(NamedTuple):
    """A trial that ended well.

    Args:
        x: its number, or the value of a setting; of choices their place.
        value: of the metric.
        best: whether it is the best of all.
        current: whether it has the settings as they are without a search.
    """

    x: float
    value: float
    best: bool = False
    current: bool = False


def _points(axes: Axes, points: Sequence[Point]) -> None:
    """Draw trials: a dot each, the best filled, a square for the current settings."""
    for point in points:
        colour = ACCENT if point.best else _CURRENT if point.current else SOFT
        axes.plot(
            [point.x],
            [point.value],
            "s" if point.current else "o",
            color=colour,
            markersize=8 if point.best else 5,
            markerfacecolor=colour if point.best else "white",
            markeredgewidth=1.4,
            clip_on=False,
            zorder=4 if point.best else 3,
        )


def _whole_ticks(low: float, high: float) -> list[float]:
    """Ticks of an axis that counts: no trial and no epoch lies between two whole numbers."""
    return [tick for tick in ticks(low, high) if tick.is_integer()]


def _ticks_of_powers(low: float, high: float) -> list[float]:
    """1 and 3 times each power of ten within `low` to `high`: about evenly apart on a log scale."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{digit}e{power}") for power in powers for digit in (1, 3)]
    return [tick for tick in found if low <= tick <= high]


def course(
    points: Sequence[Point],
    so_far: Sequence[float],
    gone: Sequence[int],
    *,
    label: str,
    key: str,
    alt: str,
) -> Markup:
    """The value of each trial in their order, and the best so far.

    Args:
        points: the trials that have a value, by number.
        so_far: the best value after each of them.
        gone: the numbers of those that have none.
        label: of the metric.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        last = max([*(point.x for point in points), *gone])
        axes.step(
            [*(point.x for point in points), last],
            [*so_far, so_far[-1]],
            where="post",
            color=ACCENT,
        )
        _points(axes, points)
        if gone:
            low = axes.get_ylim()[0]
            axes.plot(gone, [low] * len(gone), "x", color=SOFT, markersize=5, clip_on=False)
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xticks(_whole_ticks(0, last))
        axes.set_xlabel("trial")
        axes.set_ylabel(label)
        grid(axes)

    return drawn(draw, key=key, alt=alt, width=PHONE, height=_HEIGHT)


def against_setting(
    points: Sequence[Point],
    *,
    ends: tuple[float, float],
    log: bool,
    names: Sequence[str],
    label: str,
    key: str,
    alt: str,
) -> Markup:
    """The values of the trials against one setting.

    Args:
        points: the trials that have a value.
        ends: of the range that was searched.
        log: whether it was searched on a log scale.
        names: of its values, where it is a choice.
        label: of the metric.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        low, high = ends
        if log:
            axes.set_xscale("log")
            axes.set_xlim(low, high)
        else:
            room = 0.5 if names else 0.0
            axes.set_xlim(low - room, high + room)
        if names:
            axes.set_xticks(range(len(names)), list(names))
        elif log:
            # matplotlib's own labels of powers are formulas, which stay unset in a page.
            axes.minorticks_off()
            found = _ticks_of_powers(low, high)
            axes.set_xticks(found, [f"{tick:g}" for tick in found])
        else:
            axes.set_xticks(ticks(low, high, wanted=4))
        _points(axes, points)
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_ylabel(label)
        grid(axes)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=_HEIGHT)


class Learned(NamedTuple):
    """The errors of a trial after each epoch.

    Args:
        errors: at least two.
        best: whether it is the best of all.
        given_up: whether it was given up.
    """

    errors: Sequence[float]
    best: bool
    given_up: bool


def learned(curves: Sequence[Learned], *, key: str, alt: str) -> Markup:
    """Errors on validation against epochs, a line a trial; those given up are dashed.

    Args:
        curves: of the trials.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        for curve in curves:
            axes.plot(
                range(1, len(curve.errors) + 1),
                curve.errors,
                color=ACCENT if curve.best else SOFT,
                linewidth=2.2 if curve.best else 0.9,
                linestyle="--" if curve.given_up else "-",
                zorder=4 if curve.best else 2,
            )
        # One trial that diverges would leave all others a line at the bottom.
        lowest = min(min(curve.errors) for curve in curves)
        starts = sorted(curve.errors[0] for curve in curves)
        axes.set_ylim(lowest - 0.02, starts[len(starts) // 2] + (starts[0] - lowest) / 2 + 0.05)
        last = max(len(curve.errors) for curve in curves)
        axes.set_xlim(1, last)
        axes.set_xticks(_whole_ticks(1, last))
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xlabel("epoch")
        axes.set_ylabel("RMSE on validation")
        grid(axes)

    return drawn(draw, key=key, alt=alt, width=PHONE, height=_HEIGHT)
