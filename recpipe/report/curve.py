"""A learning curve as inline SVG, whose colours are those of the page (dark or light).

Written by hand: a library of plots would be the heaviest dependency of the page, for one picture,
and its colours would not follow the reader's dark or light mode.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from recpipe.report.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 74, 12, 40
_SERIES = (("train_rmse", "train"), ("validation_rmse", "validation"))
_TICKS = 5


class _Scale(NamedTuple):
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def learning_curve(curves: Sequence[Sequence[Mapping[str, Any]]]) -> Markup | None:
    """Train and validation RMSE against epochs; a line a fold, the best epoch marked.

    Args:
        curves: for each fold its points: epoch, train_rmse and, where there was a validation
            part, validation_rmse. What is not a finite number is left out.

    Returns:
        An `<svg>` without script or outside reference; None where no two points can be joined.
    """
    lines = [
        (name, points)
        for curve in curves
        for key, name in _SERIES
        if len(points := _points(curve, key)) > 1
    ]
    if not lines:
        return None
    everything = [point for _, points in lines for point in points]
    ticks = _ticks(min(y for _, y in everything), max(y for _, y in everything))
    last = max(x for x, _ in everything)
    x = _Scale(min(x for x, _ in everything), last, _LEFT, _WIDTH - _RIGHT)
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    best = [min(points, key=lambda p: (p[1], p[0])) for name, points in lines if name != "train"]
    parts = [
        *(_grid(y(tick), f"{tick:g}") for tick in ticks),
        *(_epoch(x(at), at) for at in _epochs(x.low, last)),
        _text("axis", (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, "epoch", anchor="middle"),
        *(_line(name, [(x(a), y(b)) for a, b in points]) for name, points in lines),
        *(f'<circle class="best" cx="{x(a)}" cy="{y(b)}" r="3.5"/>' for a, b in best),
        *_names(lines, x, y),
    ]
    said = "RMSE against epochs" + (
        f"; the lowest on validation is {best[0][1]:.4f} after epoch {best[0][0]:g}" if best else ""
    )
    # Only numbers and our own words are in it: nothing of a source, so nothing to escape.
    return Markup(  # noqa: S704
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{said}">'
        + "".join(parts)
        + "</svg>"
    )


def _points(curve: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [
        (float(point["epoch"]), float(point[key]))
        for point in curve
        if is_number(point.get("epoch")) and is_number(point.get(key))
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Round values from at or below `low` to at or above `high`, evenly apart."""
    span = (high - low) or abs(high) or 1.0
    raw = span / _TICKS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _epochs(first: float, last: float) -> list[int]:
    step = max(1, math.ceil((last - first) / 10))
    return list(range(int(first), int(last) + 1, step))


def _grid(at: float, tick: str) -> str:
    line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
    return line + _text("axis", _LEFT - 8, at + 4, tick, anchor="end")


def _epoch(at: float, number: int) -> str:
    return _text("axis", at, _HEIGHT - _BOTTOM + 18, str(number), anchor="middle")


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _line(name: str, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{a},{b}" for a, b in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _names(
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], x: _Scale, y: _Scale
) -> list[str]:
    """The name of each kind of line at its end, moved apart where the ends are close."""
    ends: dict[str, float] = {}
    for name, points in lines:
        ends.setdefault(name, y(points[-1][1]))
    placed: list[str] = []
    above = -math.inf
    for name, at in sorted(ends.items(), key=lambda end: end[1]):
        height = max(at + 4, above + 16)
        above = height
        placed.append(_text(f"name {name}", x.end + 8, height, name))
    return placed
