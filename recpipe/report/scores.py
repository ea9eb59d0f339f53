"""The rows of metrics.json as tables: a line a model, the best of each column marked."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recpipe.report.numbers import NONE, decimal, is_number, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LABELS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "prediction_coverage": "predicted",
    "precision": "precision",
    "recall": "recall",
    "ndcg": "NDCG",
    "map": "MAP",
    "mrr": "MRR",
    "hit_rate": "hit rate",
}
_RATING = ("rmse", "mae", "prediction_coverage")
_RANKING = ("precision", "recall", "ndcg", "map", "mrr", "hit_rate")
LOWER_IS_BETTER = frozenset({"rmse", "mae"})
# Predicting more pairs is not winning: it stands there to qualify RMSE and MAE.
_UNJUDGED = frozenset({"prediction_coverage"})
_COMMON = "_common"


@dataclass(frozen=True)
class Cell:
    """A value as text, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Models against metrics on one part of the split."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str]


def label(name: str) -> str:
    """`ndcg@10` as `NDCG@10`."""
    metric, at, k = name.partition("@")
    return LABELS.get(metric, metric) + at + k


class Scores:
    """Every value of metrics.json, with folds the mean over them.

    Args:
        rows: those of metrics.json; what has no finite value is passed over.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows: dict[tuple[str, str, int | None], dict[str, list[Mapping[str, Any]]]]
        self._rows = defaultdict(lambda: defaultdict(list))
        self.models: list[str] = []
        self.folds = 0
        folds = set()
        for row in rows:
            if not is_number(row.get("value")):
                continue
            place = (row.get("split", ""), row["metric"], row.get("k"))
            self._rows[place][row["model"]].append(row)
            folds.add(row.get("fold"))
            if row["model"] not in self.models:
                self.models.append(row["model"])
        self.folds = len(folds - {None})

    @property
    def ks(self) -> list[int]:
        return sorted({k for _, _, k in self._rows if k is not None})

    def value(self, model: str, name: str, split: str) -> float | None:
        """One metric (`ndcg@10`, `rmse`) of one model; RMSE and MAE over common pairs if any."""
        metric, _, k = name.partition("@")
        values = self._column(metric, int(k) if k else None, split)
        return values.get(model)

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

    def table(self, split: str, k: int | None, *, ratings: bool = True) -> Table | None:
        """Ranking metrics at `k` and (if `ratings`) rating metrics; None where there are none."""
        columns: list[tuple[str, int | None]] = [(metric, k) for metric in _RANKING]
        if ratings:
            columns = [(metric, None) for metric in _RATING] + columns
        values = [self._column(metric, at, split) for metric, at in columns]
        present = [i for i, column in enumerate(values) if column]
        if not present:
            return None
        bests = [_best(columns[i][0], values[i]) for i in present]
        rows = [
            (
                model,
                [
                    Cell(decimal(values[i].get(model)), best=values[i].get(model) == best)
                    if model in values[i]
                    else Cell(NONE)
                    for i, best in zip(present, bests, strict=True)
                ],
            )
            for model in self.models
            if any(model in values[i] for i in present)
        ]
        names = [_name(*columns[i]) for i in present]
        return Table(split.capitalize(), names, rows, list(self._notes(split, ratings=ratings)))

    def _column(self, metric: str, k: int | None, split: str) -> dict[str, float]:
        common = self._rows.get((split + _COMMON, metric, k), {})
        usual = self._rows.get((split, metric, k), {})
        chosen = common if common and metric in LOWER_IS_BETTER else usual
        return {model: fmean(row["value"] for row in rows) for model, rows in chosen.items()}

    def _notes(self, split: str, *, ratings: bool) -> Iterable[str]:
        if self.folds:
            yield f"Means over {self.folds} folds."
        users = self.users(split)
        if users is not None:
            largest = " in the largest fold" if self.folds else ""
            yield f"Lists: {whole(users)} users with a relevant item{largest}."
        if ratings and any(part == split + _COMMON for part, _, _ in self._rows):
            yield "RMSE and MAE: over the pairs that all of these models predict."


def _name(metric: str, k: int | None) -> str:
    return label(metric if k is None else f"{metric}@{k}")


def _best(metric: str, values: Mapping[str, float]) -> float | None:
    if metric in _UNJUDGED or len(values) < 2:  # noqa: PLR2004 - nothing to beat
        return None
    return min(values.values()) if metric in LOWER_IS_BETTER else max(values.values())
