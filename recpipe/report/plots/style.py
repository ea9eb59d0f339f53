"""How every plot looks, and how it becomes a part of the page.

A plot is drawn at the width of a phone, one unit a pixel, so that its letters are readable there,
and a little enlarged elsewhere. Its text stays text: the page's own font is used, and a reader can
search it.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from markupsafe import Markup, escape

from recpipe.runtime.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

WIDE, PHONE, THIRD = 704, 358, 300
"""Widths of a whole column, of a phone's, and of one of three beside each other."""

INK, SOFT, LINE = "#1d1f24", "#5c6270", "#d9dbe0"
ACCENT = "#0b5cad"
"""Of what the page is about: the chosen model, the data."""

COLOURS = ("#0b5cad", "#b3401a", "#00705a", "#8a3a86", "#7a5c00", "#5c6270", "#1d1f24")
"""Hues that people with any vision tell apart, each with a contrast of 4.5 or more on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""A shape for each of `COLOURS`, so that no difference is one of colour alone."""

_TEXT, _SMALL = 11.0, 10.0
_POINTS_PER_INCH = 72
_STYLE: dict[RcKeyType, Any] = {
    # A text in SVG as a text, not as outlines; the page says which font.
    "svg.fonttype": "none",
    # The same data give the same page.
    "svg.hashsalt": "recpipe",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": _TEXT,
    "axes.titlesize": _TEXT,
    "axes.labelsize": _SMALL,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "legend.fontsize": _SMALL,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.dpi": _POINTS_PER_INCH,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}
_ONE_AT_A_TIME = Lock()
"""matplotlib's settings belong to the process."""

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def prepare() -> None:
    """Import matplotlib, which takes half a second, while something else is waited for.

    The first import on a machine looks for its fonts, which takes longer.
    """
    # Where it keeps its list of fonts; and no style of this user's gets into the page.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def drawn(
    draw: Callable[[Axes], None], *, key: str, alt: str, width: int = PHONE, height: int = 220
) -> Markup:
    """A plot as an `<svg>` without script, style sheet or outside reference.

    Args:
        draw: what is in it.
        key: of the figure; its ids begin with it, so that those of two figures differ.
        alt: what it shows, for who does not see it.
        width: in pixels of a phone.
        height: the same.
    """
    prepare()
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    text = io.StringIO()
    with _ONE_AT_A_TIME, rc_context(_STYLE), warnings.catch_warnings():
        # Of letters that matplotlib's own font lacks: the reader's will have them.
        warnings.simplefilter("ignore")
        size = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        # Not by `savefig`, which draws a figure twice.
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(text, metadata=_NO_METADATA)
    return _embedded(text.getvalue(), key=key, alt=alt, size=f"{width} {height}")


def _embedded(svg: str, *, key: str, alt: str, size: str) -> Markup:
    """The inside of a file of matplotlib's as a part of an HTML page."""
    body = svg[svg.index("<svg") :]
    body = body[body.index(">") + 1 :].rstrip().removesuffix("</svg>")
    # Its rules would be those of the whole page, which has them in its own style sheet.
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    names = re.compile(r'(\bid="|href="#|url\(#)')
    body = re.sub(
        r"<[^>]+>",
        lambda tag: names.sub(rf"\g<1>{key}-", tag[0]).replace("xlink:href", "href"),
        body,
    )
    # What came from a source was escaped by matplotlib, and stands between tags only.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {size}" role="img" aria-label="{escape(alt)}">{body}</svg>'
    )


def grid(axes: Axes, *, axis: Literal["x", "y"] = "y") -> None:
    """Thin lines across, for one axis."""
    axes.grid(visible=True, axis=axis)
    if axis == "x":
        axes.spines["bottom"].set_visible(False)


class Ends(NamedTuple):
    """The end of a line, and its name.

    Args:
        x: of its last point.
        y: the same.
        name: what it shows.
        colour: of it.
        bold: whether it is the one that the page is about.
    """

    x: float
    y: float
    name: str
    colour: str
    bold: bool = False


def label_ends(axes: Axes, ends: Sequence[Ends], *, height: int) -> None:
    """The name of each line to the right of all of them, moved apart where ends are close.

    Called last, when the limits of the axes stand.

    Args:
        axes: with the lines.
        ends: of the lines.
        height: of the plot.
    """
    low, high = axes.get_ylim()
    gap = (high - low) * 1.2 * _SMALL / max(height - 60, 1)
    places = spread([end.y for end in ends], gap=gap, low=low, high=high)
    right = axes.get_xlim()[1]
    left = axes.get_xlim()[0]
    for end, y in zip(ends, places, strict=True):
        start = right + 0.05 * (right - left)
        axes.plot(
            [end.x, start], [end.y, y], color=end.colour, linewidth=0.6, clip_on=False, zorder=1
        )
        axes.annotate(
            end.name,
            (start, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=end.colour,
            fontsize=_SMALL,
            fontweight="bold" if end.bold else "normal",
            annotation_clip=False,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def spread(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """The values, moved as little as need be so that neighbours are `gap` apart.

    Args:
        values: in any order.
        gap: between two.
        low: where they begin, as far as there is room.
        high: where they end.
    """
    order = sorted(range(len(values)), key=lambda place: (values[place], place))
    groups: list[tuple[list[int], float]] = []
    for place in order:
        members, middle = [place], values[place]
        # A group stands evenly around the mean of its values, and takes in whom it meets.
        while groups and groups[-1][1] + gap * (len(groups[-1][0]) + len(members)) / 2 > middle:
            before, _ = groups.pop()
            members = before + members
            middle = sum(values[member] for member in members) / len(members)
            half = gap * (len(members) - 1) / 2
            middle = max(min(middle, high - half), low + half)
        groups.append((members, middle))
    found = [0.0] * len(values)
    for members, middle in groups:
        for rank, member in enumerate(members):
            found[member] = middle + gap * (rank - (len(members) - 1) / 2)
    return found


def ticks(low: float, high: float, *, wanted: int = 5) -> list[float]:
    """Round values within `low` to `high`, evenly apart, about as many as are wanted."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(wanted, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in found if low - 1e-12 <= tick <= high + 1e-12]
