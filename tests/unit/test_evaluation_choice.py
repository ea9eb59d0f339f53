from __future__ import annotations

import json
from typing import Any

import pytest

from recpipe.errors import UsageError
from recpipe.evaluation import DEFINITIONS, MetricRow, choose, document
from recpipe.evaluation.metrics import METRICS

MODELS = ("popularity", "biases", "als_implicit", "sgd", "mean", "random")


def near(value: float) -> Any:
    return pytest.approx(value)


def ndcg(
    model: str,
    value: float,
    *,
    users: int = 200,
    split: str = "validation",
    fold: int | None = None,
) -> MetricRow:
    return MetricRow(model, "ndcg", 10, value, users=users, rows=900, split=split, fold=fold)


def rmse(model: str, value: float, *, split: str = "validation") -> MetricRow:
    return MetricRow(model, "rmse", None, value, users=200, rows=900, split=split)


def test_the_best_on_validation_is_chosen_and_its_lead_said() -> None:
    rows = [ndcg("popularity", 0.10), ndcg("als_implicit", 0.25), ndcg("sgd", 0.20)]

    choice = choose(rows, metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.value, choice.runner_up) == ("als_implicit", 0.25, "sgd")
    assert (choice.lead, choice.users, choice.warnings) == (near(0.05), 200, ())
    assert str(choice) == (
        "als_implicit (the best): ndcg@10 0.2500 on validation, 0.0500 ahead of sgd, over 200 users"
    )


def test_what_test_says_does_not_touch_the_choice() -> None:
    rows = [ndcg("sgd", 0.2), ndcg("als_implicit", 0.1), ndcg("als_implicit", 0.9, split="test")]

    assert choose(rows, metric="ndcg@10", models=MODELS).model == "sgd"


def test_random_and_mean_are_never_chosen_nor_runner_up() -> None:
    rows = [ndcg("random", 0.9), ndcg("mean", 0.8), ndcg("sgd", 0.1)]

    choice = choose(rows, metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.runner_up, choice.lead) == ("sgd", None, None)


@pytest.mark.parametrize("rows", [["sgd", "als_implicit"], ["als_implicit", "sgd"]])
def test_a_tie_goes_to_the_model_that_train_models_has_first(rows: list[str]) -> None:
    choice = choose([ndcg(m, 0.2) for m in rows], metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.lead) == ("als_implicit", 0.0)


def test_rmse_is_better_when_lower_and_the_lead_is_positive() -> None:
    choice = choose([rmse("sgd", 0.85), rmse("biases", 0.87)], metric="rmse", models=MODELS)

    assert (choice.model, choice.lead) == ("sgd", near(0.02))


def test_rmse_is_compared_over_the_pairs_that_all_models_predict() -> None:
    silent_on_what_is_hard = [rmse("sgd", 0.7), rmse("biases", 0.9)]
    on_the_same_pairs = [
        rmse("sgd", 0.7, split="validation_common"),
        rmse("biases", 0.6, split="validation_common"),
    ]

    rows = silent_on_what_is_hard + on_the_same_pairs
    assert choose(rows, metric="rmse", models=MODELS).model == "biases"


def test_folds_are_averaged_and_a_model_that_lacks_one_is_left_out() -> None:
    rows = [
        ndcg("sgd", 0.1, fold=0, users=150),
        ndcg("sgd", 0.3, fold=1, users=140),
        ndcg("als_implicit", 0.19, fold=0),
        ndcg("als_implicit", 0.19, fold=1),
        ndcg("biases", 0.9, fold=0),
    ]

    choice = choose(rows, metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.value, choice.users) == ("sgd", 0.2, 150)
    assert choice.runner_up == "als_implicit"


def test_few_users_and_a_winning_baseline_are_warned_about() -> None:
    rows = [ndcg("popularity", 0.2, users=99), ndcg("sgd", 0.1, users=99)]

    few, baseline = choose(rows, metric="ndcg@10", models=MODELS).warnings

    assert "99 users, fewer than 100" in few
    assert baseline == (
        "the baseline popularity is the best by ndcg@10: sgd takes longer to fit and is no better"
    )


def test_a_baseline_that_is_compared_with_baselines_alone_is_no_warning() -> None:
    rows = [ndcg("popularity", 0.2), ndcg("biases", 0.1)]

    assert choose(rows, metric="ndcg@10", models=MODELS).warnings == ()
    assert choose(rows[:1], metric="ndcg@10", models=MODELS).warnings == ()


def test_a_named_model_stands_and_is_said_to_be_behind() -> None:
    rows = [ndcg("als_implicit", 0.3), ndcg("sgd", 0.1)]

    choice = choose(rows, metric="ndcg@10", models=MODELS, named="sgd")

    assert (choice.model, choice.runner_up, choice.lead) == ("sgd", "als_implicit", -0.2)
    assert choice.warnings == ("sgd was named in publish.model, but als_implicit is better",)


def test_a_named_model_without_a_value_is_published_with_a_warning() -> None:
    choice = choose([], metric="ndcg@10", models=MODELS, named="random")

    assert (choice.model, choice.value, choice.users) == ("random", None, 0)
    assert "no ndcg@10" in choice.warnings[0]


def test_where_no_list_could_be_evaluated_the_first_model_is_published_with_a_warning() -> None:
    choice = choose([rmse("sgd", 0.9)], metric="ndcg@10", models=["mean", "sgd", "biases"])

    assert (choice.model, choice.value, choice.automatic) == ("sgd", None, True)
    assert "no model was compared" in choice.warnings[0]
    with pytest.raises(UsageError, match="has rmse on validation"):
        choose([ndcg("popularity", 0.1)], metric="rmse", models=["popularity"])


def test_a_named_model_that_was_not_fitted_is_refused() -> None:
    with pytest.raises(UsageError, match="nmf was not fitted"):
        choose([], metric="ndcg@10", models=MODELS, named="nmf")


def test_no_value_at_all_is_refused_rather_than_guessed() -> None:
    with pytest.raises(UsageError, match=r"none of .* has ndcg@10"):
        choose([ndcg("random", 0.2)], metric="ndcg@10", models=MODELS)


def test_the_document_defines_every_metric_and_has_the_columns_of_the_contract() -> None:
    value = json.loads(json.dumps(document([ndcg("sgd", 0.1)]), allow_nan=False))

    assert value["definitions"].keys() >= METRICS.keys()
    assert value["definitions"] == DEFINITIONS
    columns = "model metric k value ci_low ci_high users rows split fold"
    assert [" ".join(row) for row in value["rows"]] == [columns]
    assert value["rows"][0]["ci_low"] is None
