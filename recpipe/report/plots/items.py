"""Items as points of a plane, the best known with their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from recpipe.report.plots.style import COLOURS, INK, MARKERS, PHONE, SOFT, WIDE, drawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes

_NAMED = 12
_LONGEST, _LONGEST_ON_PHONE = 34, 22
"""Letters of a name."""

_LETTER = 5.6
"""Pixels of a letter, about."""
_LINE = 13
_APART = 34, 12
"""Pixels between two names, across and up, so that they are of the whole plane."""

_LEGEND_ROW = 17
_MARGIN = 14


class Point(NamedTuple):
    """An item in the plane.

    Args:
        name: its title.
        group: its colour.
        x: its place.
        y: the same.
    """

    name: str
    group: str
    x: float
    y: float


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )


def item_map(
    points: Sequence[Point], groups: Sequence[str], *, key: str, alt: str, phone: bool
) -> Markup:
    """A dot for each item, coloured and shaped by group, with names where there is room.

    Args:
        points: the best known first: they are named first.
        groups: in the order of the legend; no more than there are colours.
        key: of the figure.
        alt: what it shows, in words.
        phone: whether it is for a narrow screen.
    """
    width = PHONE if phone else WIDE
    columns = 2 if phone else 4
    legend = _LEGEND_ROW * -(-len(groups) // columns) + 12
    height = (380 if phone else 480) + legend
    # Both axes have one scale, so that distances mean the same in every direction.
    room = width - 2 * _MARGIN, height - legend - 2 * _MARGIN
    low = min(p.x for p in points), min(p.y for p in points)
    high = max(p.x for p in points), max(p.y for p in points)
    unit = max((h - b) / r for b, h, r in zip(low, high, room, strict=True)) or 1.0
    middle = tuple((b + h) / 2 for b, h in zip(low, high, strict=True))
    longest = _LONGEST_ON_PHONE if phone else _LONGEST
    names = {point: _short(point.name, longest) for point in points}
    reach = (room[0] / 2 + _MARGIN / 2) * unit, (room[1] / 2 + _MARGIN / 2) * unit

    def draw(axes: Axes) -> None:
        for number, group in enumerate(groups):
            of_group = [point for point in points if point.group == group]
            axes.scatter(
                [point.x for point in of_group],
                [point.y for point in of_group],
                s=16 if phone else 22,
                marker=MARKERS[number],
                color=COLOURS[number],
                alpha=0.8,
                linewidths=0,
                label=group,
            )
        for at, name in _named(names, unit, width=room[0] * unit, middle=middle[0]):
            axes.text(at.left, at.bottom, name, fontsize=10, color=INK, va="bottom")
        axes.set_xlim(middle[0] - reach[0], middle[0] + reach[0])
        axes.set_ylim(middle[1] - reach[1], middle[1] + reach[1])
        axes.set_axis_off()
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            ncols=columns,
            frameon=False,
            labelcolor=SOFT,
            handletextpad=0.2,
            columnspacing=1.2,
        )

    return drawn(draw, key=key, alt=alt, width=width, height=height)


def _named(
    names: Mapping[Point, str], unit: float, *, width: float, middle: float
) -> list[tuple[_Box, str]]:
    """The names that have room, the first ones first, and where they stand.

    Args:
        names: of the points, the best known first.
        unit: a pixel, in the units of the plane.
        width: of the plane.
        middle: of the plane, across.
    """
    found: list[tuple[_Box, str]] = []
    right = middle + width / 2
    for point, name in names.items():
        if len(found) == _NAMED:
            break
        wide, high = _LETTER * len(name) * unit, _LINE * unit
        # To the right of the dot, or to the left where it would leave the plane.
        left = point.x + 5 * unit
        if left + wide > right:
            left = point.x - 5 * unit - wide
        box = _Box(left, point.y - high / 2, left + wide, point.y + high / 2)
        across, up = (pixels * unit for pixels in _APART)
        around = _Box(box.left - across, box.bottom - up, box.right + across, box.top + up)
        if not any(around.meets(other) for other, _ in found) and left > middle - width / 2:
            found.append((box, name))
    return found


def _short(name: str, longest: int) -> str:
    """A title without its year and other names, cut where it is long."""
    plain = re.sub(r"(\s*\([^()]*\))+\s*$", "", name) or name
    return plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…"
