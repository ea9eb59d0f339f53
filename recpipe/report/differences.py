"""Pairs of models in words: which is better, by how much, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.rows import COMMON
from recpipe.report.numbers import NONE, decimal, is_number
from recpipe.report.tables import Cell, Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PARTS = ("validation", "test")


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another on a part.

    Args:
        model: the one.
        other: the other.
        split: the part.
        value: above 0 where `model` is better, whatever the metric's direction.
        interval: its ends; None where there is none.
        p: of the randomisation, corrected for all pairs of the part, where there is one.
        shown: whether it is more than chance.
    """

    model: str
    other: str
    split: str
    value: float
    interval: tuple[float, float] | None
    p: float | None
    shown: bool

    def turned(self) -> Difference:
        """The same, seen from the other model."""
        ends = None if self.interval is None else (-self.interval[1], -self.interval[0])
        return Difference(self.other, self.model, self.split, -self.value, ends, self.p, self.shown)

    def __str__(self) -> str:
        """`better by 0.0360 (0.0120 to 0.0610)`, or `no difference shown (...)`."""
        if not self.shown:
            ends = f", {_between(self.interval)}" if self.interval else ""
            return f"no difference shown ({self.value:+.4f}{ends})"
        better = self.value >= 0
        seen = self if better else self.turned()
        ends = f" ({_between(seen.interval)})" if seen.interval else ""
        return f"{'better' if better else 'worse'} by {decimal(seen.value)}{ends}"


def _between(ends: tuple[float, float]) -> str:
    return " to ".join(map(decimal, ends))


class Differences:
    """The pairs of metrics.json.

    Args:
        pairs: its `differences`; what has no finite value is passed over.
    """

    def __init__(self, pairs: Iterable[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str, str], Difference] = {}
        for pair in pairs:
            if not is_number(pair.get("value")):
                continue
            low, high = pair.get("ci_low"), pair.get("ci_high")
            p = pair.get("p_holm")
            one = Difference(
                model=pair["model"],
                other=pair["other"],
                split=str(pair.get("split", "")).removesuffix(COMMON),
                value=float(pair["value"]),
                interval=(low, high) if is_number(low) and is_number(high) else None,
                p=p if is_number(p) else None,
                shown=bool(pair.get("shown")),
            )
            for seen in (one, one.turned()):
                self._found[seen.split, seen.model, seen.other] = seen

    def of(self, model: str, other: str, split: str) -> Difference | None:
        """How much better `model` is than `other`; None where nobody knows."""
        return self._found.get((split, model, other))

    def seen_from(self, model: str, others: Sequence[str]) -> Table | None:
        """How `model` differs from each of the others on each part, in words; None without any."""
        parts = [part for part in _PARTS if any(self.of(model, o, part) for o in others)]
        rows = []
        for other in others:
            found = [self.of(model, other, part) for part in parts]
            if other != model and any(found):
                rows.append((other, [_cell(one) for one in found]))
        if not rows:
            return None
        return Table([f"on {part}" for part in parts], rows, head="compared with", words=True)

    def of_all(self, split: str, models: Sequence[str]) -> Table | None:
        """Every pair on a part with its corrected p; None without any."""
        rows = []
        for place, model in enumerate(models):
            for other in models[place + 1 :]:
                one = self.of(model, other, split)
                if one is not None:
                    seen = one if one.value >= 0 else one.turned()
                    p = NONE if seen.p is None else f"{seen.p:.3f}"
                    rows.append((seen.model, [seen.other, str(seen), p]))
        return plain(["compared with", "difference", "p"], rows, words=True) if rows else None


def _cell(one: Difference | None) -> Cell:
    return Cell(NONE) if one is None else Cell(str(one), best=one.shown)
