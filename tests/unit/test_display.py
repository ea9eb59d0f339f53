from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from recpipe.cli.display import metrics_table
from recpipe.evaluation import MetricRow


def _text(rows: list[MetricRow], *, models: list[str], chosen: str) -> list[list[str]]:
    out = StringIO()
    table = metrics_table([row.as_dict() for row in rows], models=models, k=10, chosen=chosen)
    Console(file=out, width=140).print(table)
    return [[c.strip() for c in line.split("│")] for line in out.getvalue().splitlines()]


def _row(model: str, metric: str, k: int | None, value: float, **rest: Any) -> MetricRow:
    return MetricRow(model, metric, k, value, **{"users": 7, "rows": 9, "split": "test", **rest})


def test_a_model_has_one_line_of_test_metrics_at_k_and_the_chosen_one_a_star() -> None:
    rows = [
        _row("sgd", "rmse", None, 0.9),
        _row("sgd", "ndcg", 10, 0.25),
        _row("sgd", "precision", 10, 0.125),
        _row("sgd", "ndcg", 5, 0.7),
        _row("sgd", "ndcg", 10, 0.8, split="validation"),
        _row("mean", "rmse", None, 1.1),
    ]
    lines = _text(rows, models=["sgd", "mean"], chosen="sgd")
    found = {line[1]: line[2:-1] for line in lines if len(line) > 5}
    none = ["-"] * 3
    assert found["sgd *"] == ["0.9000", "-", "0.1250", "-", "0.2500", *none, "7"]
    assert found["mean"] == ["1.1000", "-", "-", "-", "-", *none, ""]


def test_folds_are_averaged_and_their_users_added() -> None:
    rows = [
        _row("sgd", "ndcg", 10, 0.2, fold=0, users=3),
        _row("sgd", "mrr", 10, 0.2, fold=0, users=3),
        _row("sgd", "ndcg", 10, 0.4, fold=1, users=4),
    ]
    lines = _text(rows, models=["sgd"], chosen="")
    cells = next(line for line in lines if len(line) > 5 and line[1] == "sgd")
    assert cells[6] == "0.3000"
    assert cells[-2] == "7"
