"""Where the chosen model is weak: its metrics by kinds of users and items, beside popularity's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recpipe.evaluation.metrics import METRICS, label_of
from recpipe.evaluation.subgroups import PAIR_RECALL
from recpipe.report.numbers import NONE, decimal, is_number, whole
from recpipe.report.tables import Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_BASELINE = "popularity"
_KINDS = {
    "activity": "Users by how much they have rated",
    "age": "Users by the time since their first rating",
    "popularity": "Items by their share of all ratings",
    "genre": "Items by genre",
}
_ORDER = (
    "fewer than 10", "10 to 29", "30 to 99", "100 to 299", "300 and more",
    "under a week", "a week to a month", "a month to a year", "a year and more",
    "half of all ratings", "the next 30 %", "the last 20 %", "not in train",
)  # fmt: skip
"""Groups that have an order of their own; others are in that of the alphabet."""


class Weakness(NamedTuple):
    """One metric of the chosen model by one kind of groups.

    Args:
        title: what is told apart, by what, on which part.
        sentence: the worst group that is not small; empty where there are fewer than two.
        table: a row a group.
    """

    title: str
    sentence: str
    table: Table


def weaknesses(rows: Iterable[Mapping[str, Any]], *, model: str, metric: str) -> Iterator[Weakness]:
    """What subgroups.json says of the chosen model.

    Kinds of users are told apart by the metric of the choice, kinds of items by the share of
    relevant pairs in lists or, where the choice is by errors, by these.

    Args:
        rows: those of subgroups.json; what has no finite value is passed over.
        model: the chosen one.
        metric: that it was chosen by, such as `ndcg@10`.
    """
    found: dict[tuple[str, str, str], dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        if is_number(row.get("value")) and row["model"] in {model, _BASELINE}:
            place = (row["split"], row["by"], row["metric"])
            found.setdefault(place, {}).setdefault(row["group"], {})[row["model"]] = row
    for by, title in _KINDS.items():
        for split in ("test", "validation"):
            names = [name for part, kind, name in found if (part, kind) == (split, by)]
            name = _shown(names, metric)
            groups = {} if name is None else found[split, by, name]
            groups = {group: of for group, of in groups.items() if model in of}
            if name is not None and groups:
                title_of = f"{title}: {_label(name)} on {split}"
                yield Weakness(title_of, _weakest(groups, model, name), _table(groups, model))


def _shown(names: Sequence[str], metric: str) -> str | None:
    """The metric to tell groups apart by: that of the choice, or recall of pairs."""
    if metric in names:
        return metric
    return next((name for name in names if name.startswith(PAIR_RECALL)), None)


def _label(name: str) -> str:
    measured, _, k = name.partition("@")
    return f"share of relevant pairs in lists of {k}" if measured == PAIR_RECALL else label_of(name)


def _table(groups: Mapping[str, Mapping[str, Mapping[str, Any]]], model: str) -> Table:
    baseline = model != _BASELINE and any(_BASELINE in of for of in groups.values())
    of = next(iter(groups.values()))[model]["of"]
    rows = []
    for group in sorted(groups, key=lambda g: (_ORDER.index(g) if g in _ORDER else 99, g)):
        mine = groups[group][model]
        cells = [decimal(mine["value"]), _between(mine)]
        if baseline:
            theirs = groups[group].get(_BASELINE)
            cells.append(NONE if theirs is None else decimal(theirs["value"]))
        cells.append(whole(mine["count"]) + (" (few)" if mine["small"] else ""))
        rows.append((group, cells))
    columns = [model, "95 % interval", *([_BASELINE] if baseline else []), of]
    return plain(columns, rows, head="group")


def _between(row: Mapping[str, Any]) -> str:
    low, high = row.get("ci_low"), row.get("ci_high")
    return f"{decimal(low)} to {decimal(high)}" if is_number(low) and is_number(high) else NONE


def _weakest(groups: Mapping[str, Mapping[str, Mapping[str, Any]]], model: str, name: str) -> str:
    large = {group: of[model] for group, of in groups.items() if not of[model]["small"]}
    if len(large) < 2:  # noqa: PLR2004 - the weakest of one is no news
        return ""
    metric = METRICS.get(name.partition("@")[0])
    sign = 1 if metric is None else metric.sign
    weakest = min(large, key=lambda group: (sign * large[group]["value"], group))
    value = decimal(large[weakest]["value"])
    end = "Lowest" if sign > 0 else "Highest"
    return f"{end}: {weakest}, with {value}; not tested against the other groups."


__all__ = ["Weakness", "weaknesses"]
