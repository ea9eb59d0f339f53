from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from recpipe.cli.display import backtest_tables, description_tables, metrics_table
from recpipe.evaluation import MetricRow
from recpipe.report import render_backtest


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
    lines = _text(rows, models=["mean", "sgd", "random"], chosen="sgd")
    found = {line[1]: line[2:-1] for line in lines if len(line) > 5}
    assert found == {
        "mean": ["1.1000", "-", "-"],
        "sgd *": ["0.9000", "0.1250", "0.2500"],
        "random": ["-", "-", "-"],
    }
    said = [line[0] for line in lines if len(line) == 1]
    assert "Test metrics (lists of 10)" in said
    assert "Lists: 7 users with a relevant item." in said
    assert "* sgd: the model that was chosen to be published." in said


def test_errors_are_compared_over_the_pairs_that_all_models_predict() -> None:
    rows = [
        _row("sgd", "rmse", None, 0.7),
        _row("sgd", "prediction_coverage", None, 0.6),
        _row("biases", "rmse", None, 0.9),
        _row("biases", "prediction_coverage", None, 1.0),
        _row("sgd", "rmse", None, 0.7, split="test_common"),
        _row("biases", "rmse", None, 0.65, split="test_common"),
        _row("sgd", "prediction_coverage", None, 0.6, split="test_common"),
        _row("biases", "prediction_coverage", None, 0.6, split="test_common"),
    ]
    lines = _text(rows, models=["sgd", "biases"], chosen="biases")
    found = {line[1]: line[2:-1] for line in lines if len(line) > 3}
    assert found == {"sgd": ["0.7000", "0.6000"], "biases *": ["0.6500", "1.0000"]}
    assert ["RMSE: over the pairs that all of these models predict."] in lines


def test_folds_are_averaged() -> None:
    rows = [
        _row("sgd", "ndcg", 10, 0.2, fold=0, users=3),
        _row("sgd", "mrr", 10, 0.2, fold=0, users=3),
        _row("sgd", "ndcg", 10, 0.4, fold=1, users=4),
    ]
    lines = _text(rows, models=["sgd"], chosen="")
    assert ["", "sgd", "0.3000", "0.2000", ""] in lines
    assert ["Means over 2 folds."] in lines
    assert ["Lists: 4 users with a relevant item in the largest fold."] in lines
    assert not any(line[0].startswith("*") for line in lines)


def test_without_any_metric_the_models_are_still_named() -> None:
    lines = _text([], models=["sgd"], chosen="sgd")
    assert ["", "sgd *", ""] in lines
    assert ["No metric on test."] in lines


def test_a_description_has_numbers_bars_and_what_was_refused() -> None:
    data = {
        "ratings": 3, "users": 2, "items": 2, "density": 0.75,
        "by_value": [{"low": 1, "high": 1, "holds": 1}, {"low": 5, "high": 5, "holds": 2}],
        "per_user": None, "per_item": None, "genres": None, "tags": None,
        "refused": {"rows": 5, "kept": 3, "rejected": 2, "superseded": 0,
                    "reasons": {"missing field": 2}},
    }  # fmt: skip
    out = StringIO()
    for table in description_tables(data):
        Console(file=out, width=140).print(table)
    said = out.getvalue()
    assert (
        "5 rows of the source = 3 kept + 2 rejected + 0 superseded; rejected: missing field 2"
        in said
    )
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    assert ["1", "1", "█" * 20] in rows
    assert ["5", "2", "█" * 40] in rows


def _backtest(metric: str = "ndcg", k: int | None = 10) -> dict[str, Any]:
    """Two windows, the second without a result; ease is better than popularity, sgd is not."""
    values = {"popularity": 0.1, "sgd": 0.12, "ease": 0.13}
    rows = [_row(model, metric, k, value).as_dict() for model, value in values.items()]
    pooled = [
        _row(model, metric, k, value, users=5, rows=8, split="pooled").as_dict()
        for model, value in values.items()
        if k is not None
    ]
    pair = {"metric": f"{metric}@{k}", "split": "pooled", "model": "popularity", "p_holm": 0.01}
    differences = [
        pair | {"other": "ease", "value": -0.03, "ci_low": -0.05, "ci_high": 0.001, "shown": True},
        pair | {"other": "sgd", "value": -0.02, "ci_low": -0.05, "ci_high": 0.01, "shown": False},
    ]
    ranks = {"ease": 1, "sgd": 2, "popularity": 3}
    window = {"window": "a", "test_from": "2020-01-01T00:00:00+00:00", "train_rows": 9}
    return {
        "backtest_id": "b1",
        "metric": metric if k is None else f"{metric}@{k}",
        "results": [
            window | {"error": None, "rows": rows, "ranks": ranks},
            window | {"window": "b", "error": "no rows in test", "rows": [], "ranks": {}},
        ],
        "pooled": pooled,
        "differences": differences if pooled else [],
        "stability": [],
        "settings": {"seed": 42},
    }


def _said(result: dict[str, Any]) -> str:
    out = StringIO()
    for table in backtest_tables(result):
        Console(file=out, width=140).print(table)
    return out.getvalue()


def test_a_backtest_says_what_its_numbers_rest_on_and_an_interval_keeps_its_sign() -> None:
    said = _said(_backtest())
    assert "All windows: over 8 user-windows of 5 users." in said
    assert "ease compared with popularity: better by 0.0300 (-0.0010 to 0.0500)" in said
    assert "sgd compared" not in said
    assert "b has no result: no rows in test" in said
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    assert ["2020-01-01 00:00", "7", "0.1000 (3)", "0.1200 (2)", "0.1300 (1)"] in rows
    assert ["all windows", "5", "0.1000", "0.1200", "0.1300"] in rows


def test_the_page_of_a_backtest_says_what_is_highest_and_what_is_significant() -> None:
    page = render_backtest(_backtest())
    assert (
        "Highest pooled NDCG@10: ease with 0.1300, over 8 user-windows of 5 users;"
        " first in 1 of 1 windows." in page
    )
    assert "It is shown to be better than popularity." in page
    assert "No difference is shown between it and sgd." in page


def test_of_errors_of_predicted_ratings_nothing_is_pooled_and_both_say_so() -> None:
    result = _backtest("rmse", None)
    for said in (_said(result), render_backtest(result)):
        assert "Metrics of predicted ratings are not pooled." in said
        assert "all windows" not in said
        assert "Highest" not in said
