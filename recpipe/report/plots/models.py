"""Models beside each other: a dot each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recpipe.report.numbers import decimal
from recpipe.report.plots.style import ACCENT, INK, SOFT, drawn, grid, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

_ROW = 26
_MARGIN = 52


class Estimate(NamedTuple):
    """A number and how sure it is.

    Args:
        name: whose it is.
        value: the number.
        interval: its ends, where it has an interval.
        marked: whether it is the one that the page is about.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    marked: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        return self.interval or (self.value, self.value)


def limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Where an axis begins and ends that all of them fit on; at 0, where none is near or below."""
    low = min(estimate.ends[0] for estimate in estimates)
    high = max(estimate.ends[1] for estimate in estimates)
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    # From 0 on, unless that would push all dots into a corner, as it does with errors.
    starts_at_zero = low >= 0 and (high - low) > high / 4
    return (0.0 if starts_at_zero else low - room), high + room


def dots(
    estimates: Sequence[Estimate], *, label: str, bounds: tuple[float, float], key: str, alt: str
) -> Markup:
    """A dot and a line for each, the first on top.

    Args:
        estimates: in their order.
        label: of the axis.
        bounds: of the axis.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        places = range(len(estimates), 0, -1)
        for estimate, place in zip(estimates, places, strict=True):
            colour = ACCENT if estimate.marked else INK
            axes.plot(estimate.ends, (place, place), color=colour, linewidth=2.4, alpha=0.55)
            axes.plot(
                [estimate.value],
                [place],
                "o",
                color=colour,
                markersize=7,
                markerfacecolor=colour if estimate.marked else "white",
                markeredgewidth=1.6,
                clip_on=False,
                zorder=3,
            )
            axes.text(
                1.04,
                place,
                decimal(estimate.value),
                transform=axes.get_yaxis_transform(),
                va="center",
                color=colour,
                fontweight="bold" if estimate.marked else "normal",
            )
        axes.set_xlim(*bounds)
        axes.set_ylim(0.4, len(estimates) + 0.6)
        axes.set_xticks(ticks(*bounds, wanted=4))
        axes.set_yticks(list(places), [estimate.name for estimate in estimates])
        for name, estimate in zip(axes.get_yticklabels(), estimates, strict=True):
            name.set_color(ACCENT if estimate.marked else INK)
            name.set_fontweight("bold" if estimate.marked else "normal")
        axes.set_xlabel(label, color=SOFT)
        grid(axes, axis="x")

    return drawn(draw, key=key, alt=alt, height=_MARGIN + _ROW * len(estimates))
