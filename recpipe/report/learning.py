"""How models learned, epoch by epoch, as figures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from recpipe.report.figures import Figure
from recpipe.report.manifest import folds_of, section
from recpipe.report.numbers import decimal, is_number, whole
from recpipe.report.plots import lines
from recpipe.report.tables import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SERIES = (("train_rmse", "train"), ("validation_rmse", "validation"))


def learning_curves(manifest: Mapping[str, Any]) -> Iterator[Figure]:
    """A figure for each model that told of its epochs."""
    for name, model in section(manifest, "models").items():
        curves = [section(fold, "info").get("learning_curve") or [] for fold in folds_of(model)]
        if (figure := learning_curve(name, curves)) is not None:
            yield figure


def learning_curve(model: str, curves: Sequence[Sequence[Mapping[str, Any]]]) -> Figure | None:
    """Train and validation RMSE against epochs; a line a fold, the best epoch marked.

    Args:
        model: its name.
        curves: for each fold its points: epoch, train_rmse and, where there was a validation
            part, validation_rmse. What is not a finite number is left out.

    Returns:
        None where no two points can be joined.
    """
    found = [
        lines.Curve(name, points)
        for curve in curves
        for key, name in _SERIES
        if len(points := _points(curve, key)) > 1
    ]
    if not found:
        return None
    judged = [curve for curve in found if curve.name == "validation"]
    said = f"RMSE of {model} against epochs" + (
        f"; the lowest on validation is {decimal(judged[0].lowest[1])} after epoch"
        f" {judged[0].lowest[0]:g}"
        if judged
        else ""
    )
    key = f"learning-{model.replace('_', '-')}"
    note = (
        "The dot is the epoch that was kept, the lowest on validation. An epoch’s RMSE on train is"  # noqa: RUF001
        " measured while it runs, each rating before the step that learns from it."
    )
    return Figure(
        key,
        f"How {model} learned",
        partial(lines.learning, found, key=key, alt=said),
        plain(
            [f"{curve.name}, fold {i}" if len(curves) > 1 else curve.name
             for i, curve in _numbered(found)],
            _rows(found),
            head="epoch",
        ),
        note=note if judged else "",
    )  # fmt: skip


def _points(curve: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [
        (float(point["epoch"]), float(point[key]))
        for point in curve
        if is_number(point.get("epoch")) and is_number(point.get(key))
    ]


def _numbered(curves: Sequence[lines.Curve]) -> Iterator[tuple[int, lines.Curve]]:
    """The curves, each with the number of its fold: how many of its name came before it."""
    seen: dict[str, int] = {}
    for curve in curves:
        yield seen.get(curve.name, 0), curve
        seen[curve.name] = seen.get(curve.name, 0) + 1


def _rows(curves: Sequence[lines.Curve]) -> list[tuple[str, list[str]]]:
    by_epoch = [dict(curve.points) for curve in curves]
    epochs = sorted({epoch for points in by_epoch for epoch in points})
    return [(whole(epoch), [decimal(points.get(epoch)) for points in by_epoch]) for epoch in epochs]
