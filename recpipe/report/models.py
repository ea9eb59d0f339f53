"""How the models compare, as figures: with intervals, at every length, and precision to recall."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recpipe.evaluation.metrics import METRICS, label_of
from recpipe.report.figures import Figure
from recpipe.report.numbers import NONE, decimal
from recpipe.report.plots import lines
from recpipe.report.plots.models import Estimate, dots, limits
from recpipe.report.tables import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recpipe.report.scores import Scores
    from recpipe.report.tables import Table

_PARTS = ("validation", "test")
_AT_LENGTHS = ("ndcg", "recall", "precision")
_MAX_LINES = 7
"""Lines that a reader tells apart."""


def estimate(scores: Scores, model: str, name: str, split: str, *, chosen: str) -> Estimate | None:
    """A value with its interval; None where there is none."""
    value = scores.value(model, name, split)
    if value is None:
        return None
    return Estimate(model, value, scores.interval(model, name, split), marked=model == chosen)


def in_words(found: Estimate | None) -> str:
    """`0.0456 (0.0400 to 0.0510)`; a dash for nothing."""
    if found is None:
        return NONE
    ends = found.interval
    between = "" if ends is None else f" ({decimal(ends[0])} to {decimal(ends[1])})"
    return decimal(found.value) + between


def compared(scores: Scores, name: str, *, chosen: str) -> Iterator[Figure]:
    """Every model by the metric of the choice, with its interval; a figure a part.

    Both have the same axis and the same order, that of validation.

    Args:
        scores: the values.
        name: of the metric, such as `ndcg@10`.
        chosen: the model to mark.
    """
    found = {
        part: [
            one
            for model in scores.models
            if (one := estimate(scores, model, name, part, chosen=chosen)) is not None
        ]
        for part in _PARTS
    }
    found = {part: estimates for part, estimates in found.items() if estimates}
    if not found:
        return
    metric = METRICS.get(name.partition("@")[0])
    sign = 1 if metric is None else metric.sign
    first = next(iter(found.values()))
    order = {e.name: place for place, e in enumerate(sorted(first, key=lambda e: -sign * e.value))}
    bounds = limits([one for estimates in found.values() for one in estimates])
    label = label_of(name)
    for part, estimates in found.items():
        ordered = sorted(estimates, key=lambda e: (order.get(e.name, len(order)), -sign * e.value))
        best = max(estimates, key=lambda e: sign * e.value)
        side = "highest" if sign > 0 else "lowest"
        said = f"{label} on {part} of {len(ordered)} models; {side}: {best.name} with"
        key = f"models-{part}"
        yield Figure(
            key,
            f"{label} on {part}",
            partial(
                dots, ordered, label=label, bounds=bounds, key=key, alt=f"{said} {in_words(best)}."
            ),
            plain([label, "95 % interval"], [(e.name, _value_and_ends(e)) for e in ordered]),
        )


def _value_and_ends(one: Estimate) -> list[str]:
    ends = NONE if one.interval is None else " to ".join(map(decimal, one.interval))
    return [decimal(one.value), ends]


def at_lengths(scores: Scores, split: str, *, chosen: str) -> Iterator[Figure]:
    """NDCG, recall and precision against the length of lists, and precision against recall.

    Nothing where there is one length alone.

    Args:
        scores: the values.
        split: the part.
        chosen: the model to mark.
    """
    found: dict[str, list[lines.Line]] = {}
    for metric in _AT_LENGTHS:
        of_models = [_line(scores, model, metric, split, chosen) for model in scores.models]
        found[metric] = _shown([line for line in of_models if len(line.points) > 1], metric)
    for metric, shown in found.items():
        if not shown:
            continue
        label = METRICS[metric].label
        key = f"{metric}-at-k"
        yield Figure(
            key,
            f"{label} at k, {split}",
            partial(lines.at_lengths, shown, key=key, alt=_alt(shown, label, split)),
            _by_length(shown),
        )
    precision = found["precision"]
    recall = {line.name: line for line in found["recall"]}
    both = [
        line
        for line in precision
        if line.name in recall and len(line.points.keys() & recall[line.name].points.keys()) > 1
    ]
    if both:
        key = "precision-recall"
        models = ", ".join(line.name for line in both)
        alt = f"Precision against recall on {split}, a point for each length of lists: {models}."
        yield Figure(
            key,
            f"Precision and recall, {split}",
            partial(lines.precision_and_recall, both, recall, key=key, alt=alt),
            plain(
                ["precision", "recall"],
                [
                    (f"{line.name}, {k} places", [decimal(line.points[k].value),
                                                  decimal(recall[line.name].points[k].value)])
                    for line in both
                    for k in sorted(line.points.keys() & recall[line.name].points.keys())
                ],
            ),
            note="A point for each length of lists; of the chosen model the length stands beside.",
        )  # fmt: skip


def _line(scores: Scores, model: str, metric: str, split: str, chosen: str) -> lines.Line:
    points: Mapping[int, Estimate] = {
        k: one
        for k in scores.ks
        if (one := estimate(scores, model, f"{metric}@{k}", split, chosen=chosen)) is not None
    }
    return lines.Line(model, points, marked=model == chosen)


def _shown(found: Sequence[lines.Line], metric: str) -> list[lines.Line]:
    """As many as a reader tells apart: the chosen model, then the best at their longest lists."""
    sign = METRICS[metric].sign

    def last(line: lines.Line) -> float:
        return sign * line.points[max(line.points)].value

    ranked = sorted(found, key=lambda line: (not line.marked, -last(line)))
    return ranked[:_MAX_LINES]


def _alt(shown: Sequence[lines.Line], label: str, split: str) -> str:
    line = shown[0]
    values = ", ".join(f"{decimal(e.value)} at {k}" for k, e in sorted(line.points.items()))
    others = ", ".join(other.name for other in shown[1:])
    beside = f"; beside it {others}" if others else ""
    return f"{label} on {split} against the length of lists. {line.name}: {values}{beside}."


def _by_length(shown: Sequence[lines.Line]) -> Table:
    ks = sorted({k for line in shown for k in line.points})
    rows = [(line.name, [in_words(line.points.get(k)) for k in ks]) for line in shown]
    return plain([f"at {k}" for k in ks], rows)
