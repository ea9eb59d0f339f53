"""Lines: metrics against the length of lists, precision against recall, errors against epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from recpipe.report.plots.style import (
    ACCENT,
    PHONE,
    SOFT,
    THIRD,
    Ends,
    drawn,
    grid,
    label_ends,
    ticks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

    from recpipe.report.plots.models import Estimate

_HEIGHT = 230
_DASHES = ("-", "--", ":", "-.")
_MAX_TICKS = 8
_MAX_NAMES = 3
"""Days below an axis that do not run into each other."""


class Line(NamedTuple):
    """The values of a model.

    Args:
        name: of the model.
        points: by the length of lists.
        marked: whether it is the chosen one.
    """

    name: str
    points: Mapping[int, Estimate]
    marked: bool


def _plot(axes: Axes, x: Sequence[float], y: Sequence[float], line: Line, number: int) -> Ends:
    """Draw a line of points; returns its end.

    Args:
        axes: to draw on.
        x: of its points.
        y: the same.
        line: whose they are.
        number: of the line, by which those that are not marked have other dashes.
    """
    colour = ACCENT if line.marked else SOFT
    axes.plot(
        x,
        y,
        marker="o",
        markersize=4,
        color=colour,
        linewidth=2.2 if line.marked else 1.2,
        linestyle="-" if line.marked else _DASHES[number % len(_DASHES)],
    )
    return Ends(x[-1], y[-1], line.name, colour, line.marked)


def _with_intervals(axes: Axes, lines: Sequence[Line], place: Callable[[int], float]) -> list[Ends]:
    """Draw lines whose points have intervals; returns their ends.

    Args:
        axes: to draw on.
        lines: one a model.
        place: where a point stands, from its key.
    """
    ends = []
    for number, line in enumerate(lines):
        # Beside each other: intervals of several models at one place would hide each other.
        shift = 0.05 * (number - (len(lines) - 1) / 2)
        points = sorted(line.points.items())
        x = [place(key) + shift for key, _ in points]
        for at, (_, estimate) in zip(x, points, strict=True):
            colour = ACCENT if line.marked else SOFT
            axes.plot((at, at), estimate.ends, color=colour, linewidth=1, alpha=0.6)
        ends.append(_plot(axes, x, [estimate.value for _, estimate in points], line, number))
    return ends


def at_lengths(lines: Sequence[Line], *, key: str, alt: str) -> Markup:
    """A metric against the length of lists, each value with its interval.

    Args:
        lines: one a model.
        key: of the figure.
        alt: what it shows, in words.
    """
    ks = sorted({k for line in lines for k in line.points})

    def draw(axes: Axes) -> None:
        ends = _with_intervals(axes, lines, math.log2)
        axes.set_xlim(math.log2(ks[0]) - 0.15, math.log2(ks[-1]) + 0.15)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_xticks([math.log2(k) for k in ks], [str(k) for k in ks])
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xlabel("places of the list")
        grid(axes)
        label_ends(axes, ends, height=_HEIGHT)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=_HEIGHT)


def over_time(lines: Sequence[Line], names: Sequence[str], *, key: str, alt: str) -> Markup:
    """A metric in each of several windows, with its intervals.

    Args:
        lines: one a model, whose points are by the place of the window.
        names: of the windows, such as the days on which they begin.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        ends = _with_intervals(axes, lines, float)
        step = max(1, math.ceil(len(names) / _MAX_NAMES))
        axes.set_xlim(-0.3, len(names) - 0.7)
        axes.set_xticks(range(0, len(names), step), list(names)[::step])
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xlabel("test from")
        grid(axes)
        label_ends(axes, ends, height=_HEIGHT)

    return drawn(draw, key=key, alt=alt, width=PHONE, height=_HEIGHT)


def precision_and_recall(
    precision: Sequence[Line], recall: Mapping[str, Line], *, key: str, alt: str
) -> Markup:
    """Precision against recall, a point for each length of lists.

    Args:
        precision: of each model.
        recall: of the same models, by name.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        ends = []
        for number, line in enumerate(precision):
            both = sorted(line.points.keys() & recall[line.name].points.keys())
            x = [recall[line.name].points[k].value for k in both]
            y = [line.points[k].value for k in both]
            ends.append(_plot(axes, x, y, line, number))
            if line.marked:
                for k, at, value in zip(both, x, y, strict=True):
                    axes.annotate(
                        str(k),
                        (at, value),
                        xytext=(0, 6),
                        textcoords="offset points",
                        ha="center",
                        color=ACCENT,
                        fontweight="bold",
                        fontsize=9,
                    )
        axes.set_xlim(0, axes.get_xlim()[1])
        axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
        axes.set_xticks(ticks(*axes.get_xlim(), wanted=4))
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        grid(axes)
        label_ends(axes, ends, height=_HEIGHT)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=_HEIGHT)


class Curve(NamedTuple):
    """Errors after each epoch of one fit.

    Args:
        name: of what they are errors: `train` or `validation`.
        points: epoch and error, at least two.
    """

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def lowest(self) -> tuple[float, float]:
        """The first epoch of the lowest error, and this error."""
        return min(self.points, key=lambda point: (point[1], point[0]))


def learning(curves: Sequence[Curve], *, key: str, alt: str) -> Markup:
    """Errors against epochs, the lowest on validation marked.

    Args:
        curves: of all folds.
        key: of the figure.
        alt: what it shows, in words.
    """
    colours = {"train": SOFT, "validation": ACCENT}

    def draw(axes: Axes) -> None:
        ends: dict[str, Ends] = {}
        for curve in curves:
            x, y = zip(*curve.points, strict=True)
            colour = colours[curve.name]
            axes.plot(x, y, color=colour, linestyle="--" if curve.name == "train" else "-")
            if curve.name != "train":
                axes.plot(*curve.lowest, "o", color=colour, markersize=6)
            ends.setdefault(curve.name, Ends(x[-1], y[-1], curve.name, colour))
        first, last = (end(x for c in curves for x, _ in c.points) for end in (min, max))
        axes.set_xlim(first, last)
        step = max(1, math.ceil((last - first) / _MAX_TICKS))
        axes.set_xticks(range(int(first), int(last) + 1, step))
        axes.set_yticks(ticks(*axes.get_ylim()))
        axes.set_xlabel("epoch")
        axes.set_ylabel("RMSE")
        grid(axes)
        label_ends(axes, list(ends.values()), height=_HEIGHT)

    return drawn(draw, key=key, alt=alt, width=PHONE, height=_HEIGHT)
