"""The rows of metrics.json as tables: a line a model, the best of each column marked."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe.evaluation.metrics import EXPOSURE, METRICS, RANKING, RATING, label_of
from recpipe.evaluation.rows import COMMON, listed
from recpipe.report.numbers import decimal, is_number, whole
from recpipe.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def ratings_of(*, summary: bool = False) -> list[str]:
    """The metrics of predicted ratings; with `summary` those of the short table."""
    return [metric.name for metric in RATING if metric.summary or not summary]


def lists_of(k: int | None, *, summary: bool = False, beyond_accuracy: bool = False) -> list[str]:
    """The metrics of lists of `k`; none without a length.

    Args:
        k: how many places.
        summary: only those of the short table.
        beyond_accuracy: those that say something other than how good lists are.
    """
    return [
        f"{metric.name}@{k}"
        for metric in (*RANKING, *EXPOSURE)
        if k is not None
        and (metric.summary or not summary)
        and metric.beyond_accuracy is beyond_accuracy
    ]


class Scores:
    """Every value of metrics.json, with folds the mean over them.

    Args:
        rows: those of metrics.json; what has no finite value is passed over.
        order: of the models; those that are not in it come last.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, order: Iterable[str] = ()) -> None:
        self._rows: dict[tuple[str, str, int | None], dict[str, list[Mapping[str, Any]]]]
        self._rows = defaultdict(lambda: defaultdict(list))
        folds = set()
        found: dict[str, None] = {}
        for row in rows:
            if not is_number(row.get("value")):
                continue
            place = (row.get("split", ""), row["metric"], row.get("k"))
            self._rows[place][row["model"]].append(row)
            folds.add(row.get("fold"))
            found[row["model"]] = None
        self.models = [*(model for model in order if model in found)]
        self.models += [model for model in found if model not in self.models]
        self.folds = len(folds - {None})

    @property
    def ks(self) -> list[int]:
        return sorted({k for _, _, k in self._rows if k is not None})

    def value(self, model: str, name: str, split: str) -> float | None:
        """One metric (`ndcg@10`, `rmse`) of one model; errors over common pairs if any."""
        return self._column(name, split).get(model)

    def interval(self, model: str, name: str, split: str) -> tuple[float, float] | None:
        """The 95 % interval of `value`; None where there is none, as of a mean over folds."""
        found = self._rows_of(name, split).get(model, [])
        if len(found) != 1:
            return None
        low, high = (found[0].get(end) for end in ("ci_low", "ci_high"))
        return (float(low), float(high)) if is_number(low) and is_number(high) else None

    def users(self, split: str, *, ranking: bool = True) -> int | None:
        """Users that the numbers of a part rest on; with folds those of the largest."""
        found = [
            row["users"]
            for (part, _, k), models in self._rows.items()
            if part == split and (k is not None) is ranking
            for rows in models.values()
            for row in rows
            if is_number(row.get("users"))
        ]
        return max(found, default=None)

    def rests_on(self, model: str, name: str, split: str) -> tuple[int, int] | None:
        """The users and the rows of `value`; None where there is none, as of a mean over folds."""
        found = self._rows_of(name, split).get(model, [])
        return (found[0]["users"], found[0]["rows"]) if len(found) == 1 else None

    def table(
        self, split: str, names: Iterable[str], *, models: Sequence[str] = ()
    ) -> Table | None:
        """The metrics of those names on one part; None where no model has any of them.

        Args:
            split: the part.
            names: such as `ndcg@10` or `rmse`; one that no model has makes no column.
            models: the lines and their order; without any, the models that have a value.
        """
        columns = {name: column for name in names if (column := self._column(name, split))}
        if not columns:
            return None
        lines = models or [m for m in self.models if any(m in found for found in columns.values())]
        bests = {name: _best(name, column) for name, column in columns.items()}
        rows = [
            (model, [_cell(column.get(model), bests[name]) for name, column in columns.items()])
            for model in lines
        ]
        labels = [label_of(name.partition("@")[0]) for name in columns]
        return Table(labels, rows, list(self._notes(split, list(columns))))

    def _column(self, name: str, split: str) -> dict[str, float]:
        found = self._rows_of(name, split)
        return {model: fmean(row["value"] for row in rows) for model, rows in found.items()}

    def _rows_of(self, name: str, split: str) -> Mapping[str, list[Mapping[str, Any]]]:
        """By model, the rows of a metric; of errors those over common pairs if any."""
        metric, _, k = name.partition("@")
        at = int(k) if k else None
        found = self._rows.get((split, metric, at), {})
        if metric in METRICS and METRICS[metric].on_common_pairs:
            found = self._rows.get((split + COMMON, metric, at)) or found
        return found

    def _notes(self, split: str, names: Sequence[str]) -> Iterable[str]:
        if self.folds:
            yield f"Means over {self.folds} folds."
        users = self.users(split)
        if users is not None and any("@" in name for name in names):
            largest = " in the largest fold" if self.folds else ""
            yield f"Lists: {whole(users)} users with a relevant item{largest}."
        errors = [name for name in names if name in METRICS and METRICS[name].on_common_pairs]
        if errors:
            common = all((split + COMMON, name, None) in self._rows for name in errors)
            whose = "all of these models predict" if common else "each model predicts"
            yield f"{listed([label_of(name) for name in errors])}: over the pairs that {whose}."
        for name in set(names) & {"prediction_coverage"}:
            yield f"{label_of(name).capitalize()}: the share of all pairs that a model predicts."


def _cell(value: float | None, best: float | None) -> Cell:
    return Cell(decimal(value), best=value is not None and value == best)


def _best(name: str, values: Mapping[str, float]) -> float | None:
    """The best value of a column; None where there is nothing to beat or no choice by it."""
    metric = METRICS.get(name.partition("@")[0])
    if metric is None or not metric.selectable or len(values) < 2:  # noqa: PLR2004
        return None
    return max(values.values(), key=lambda value: metric.sign * value)
