"""What ratings look like: bars, shares, and the curve of popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from recpipe.report.numbers import share
from recpipe.report.plots.style import (
    ACCENT,
    COLOURS,
    INK,
    SOFT,
    THIRD,
    Ends,
    drawn,
    grid,
    label_ends,
    ticks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

_HEIGHT = 200
_MAX_LABELS = 12
_ROW = 19
_THOUSAND, _MILLION = 1_000, 1_000_000
_CLOSE, _LABEL_LETTERS = 0.8, 48


def short(count: float) -> str:
    """`950`, `12k`, `1.2M`: a number that has little room."""
    for unit, letter in ((_MILLION, "M"), (_THOUSAND, "k")):
        if count >= unit:
            return (
                f"{count / unit:.2g}{letter}"
                if count < 100 * unit
                else f"{count / unit:.0f}{letter}"
            )
    return f"{count:g}"


class Names(NamedTuple):
    """What the axes of bars are called."""

    across: str
    up: str


def bars(
    labels: Sequence[str],
    counts: Sequence[int],
    names: Names,
    *,
    key: str,
    alt: str,
    marks: Sequence[tuple[int, str]] | None = None,
) -> Markup:
    """A bar for each label, from left to right.

    Args:
        labels: of the bars; of many every second, third, ... is shown.
        counts: their heights.
        names: of the axes.
        key: of the figure.
        alt: what it shows, in words.
        marks: what stands below the bars in place of the labels: the place of a bar, and a text.
    """
    if marks is None:
        fit = max(2, min(_MAX_LABELS, _LABEL_LETTERS // max(map(len, labels))))
        marks = list(enumerate(labels))[:: -(-len(labels) // fit)]

    def draw(axes: Axes) -> None:
        few = len(labels) <= 2 * _MAX_LABELS
        axes.bar(range(len(labels)), counts, color=ACCENT, width=0.86 if few else 1)
        axes.set_xticks([place for place, _ in marks], [text for _, text in marks])
        _count_axis(axes)
        axes.set_xlabel(names.across)
        axes.set_ylabel(names.up)
        grid(axes)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=_HEIGHT)


def rows(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    key: str,
    alt: str,
    said: Callable[[float], str] = short,
) -> Markup:
    """A bar for each label, from top to bottom, with its number at the end.

    Args:
        labels: of the bars.
        values: their lengths.
        key: of the figure.
        alt: what it shows, in words.
        said: the number as it is written.
    """

    def draw(axes: Axes) -> None:
        places = range(len(labels), 0, -1)
        axes.barh(places, values, color=ACCENT, height=_CLOSE)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                said(value),
                (value, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=SOFT,
                fontsize=10,
            )
        axes.set_yticks(list(places), labels)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlim(0, 1.12 * max(values))
        axes.set_ylim(0.4, len(labels) + 0.6)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=20 + _ROW * len(labels))


def popularity(points: Sequence[tuple[float, float]], *, key: str, alt: str) -> Markup:
    """Which share of all ratings the most rated items have, beside that of equal items.

    Args:
        points: share of the items and of the ratings, from 0 to 1.
        key: of the figure.
        alt: what it shows, in words.
    """

    def draw(axes: Axes) -> None:
        x, y = zip(*points, strict=True)
        axes.plot((0, 1), (0, 1), color=SOFT, linestyle=":", linewidth=1)
        axes.plot(x, y, color=ACCENT, linewidth=2)
        axes.annotate(
            "if all were rated alike",
            (0.56, 0.54),
            xytext=(4, -9),
            textcoords="offset points",
            color=SOFT,
            fontsize=9,
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        shares = [0, 0.2, 0.4, 0.6, 0.8, 1]
        axes.set_xticks(shares, [share(each) for each in shares])
        axes.set_yticks(shares, [share(each) for each in shares])
        axes.set_xlabel("share of the items, the most rated first")
        axes.set_ylabel("share of the ratings")
        grid(axes)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=_HEIGHT + 20)


class Series(NamedTuple):
    """A share by year."""

    name: str
    points: Sequence[tuple[int, float]]


def shares_by_year(series: Sequence[Series], *, key: str, alt: str) -> Markup:
    """Shares by year, a line each.

    Args:
        series: no more than there are colours, each of at least two years.
        key: of the figure.
        alt: what it shows, in words.
    """
    height = _HEIGHT + 20

    def draw(axes: Axes) -> None:
        ends = []
        for colour, line in zip(COLOURS, series, strict=False):
            x, y = zip(*line.points, strict=True)
            axes.plot(x, y, color=colour)
            ends.append(Ends(x[-1], y[-1], line.name, colour))
        years = sorted({year for line in series for year, _ in line.points})
        axes.set_xlim(years[0], years[-1])
        axes.set_ylim(0, axes.get_ylim()[1])
        step = -(-len(years) // 4)
        axes.set_xticks(years[::step], [str(year) for year in years[::step]])
        found = ticks(*axes.get_ylim())
        axes.set_yticks(found, [share(tick) for tick in found])
        grid(axes)
        label_ends(axes, ends, height=height)

    return drawn(draw, key=key, alt=alt, width=THIRD, height=height)


def _count_axis(axes: Axes) -> None:
    found = ticks(0, axes.get_ylim()[1])
    axes.set_yticks(found, [short(tick) for tick in found])
