from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recpipe.errors import UsageError
from recpipe.evaluation import DEFINITIONS, MetricRow, choose, document
from recpipe.evaluation.metrics import METRICS
from recpipe.evaluation.metrics.base import RatingMetric
from recpipe.evaluation.rows import Sample
from recpipe.kernels.groups import GroupSums

MODELS = ("popularity", "biases", "als_implicit", "sgd", "mean", "random")
PREFER = ("als_implicit", "sgd", "popularity", "biases")


def near(value: float) -> Any:
    return pytest.approx(value)


def ndcg(
    model: str,
    value: float,
    *,
    spread: float = 0.0,
    users: int = 200,
    split: str = "validation",
    fold: int | None = None,
) -> MetricRow:
    """A model whose users differ from its value by `spread`, in an order of its own.

    Without spread all users have the same value, so that any difference of two models is shown.
    """
    order = np.random.default_rng(sum(map(ord, model))).permutation(users)
    values = value + spread * (2 * (order % 2) - 1)
    sums = GroupSums(np.arange(users), np.stack([values, np.ones(users)]))
    return MetricRow(
        model, "ndcg", 10, value, users=users, rows=900, split=split, fold=fold,
        sample=Sample(sums, lambda s: s[0] / s[1]),
    )  # fmt: skip


def rmse(model: str, value: float, *, split: str = "validation") -> MetricRow:
    metric = METRICS["rmse"]
    assert isinstance(metric, RatingMetric)
    sums = GroupSums(np.arange(200), np.stack([np.full(200, value**2), np.ones(200)]))
    sample = Sample(sums, metric.value)
    return MetricRow(model, "rmse", None, value, users=200, rows=900, split=split, sample=sample)


def test_the_best_on_validation_is_chosen_and_said_how_surely() -> None:
    rows = [ndcg("popularity", 0.10), ndcg("als_implicit", 0.25), ndcg("sgd", 0.20)]

    choice = choose(rows, metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.value, choice.runner_up) == ("als_implicit", 0.25, "sgd")
    assert (choice.lead, choice.users, choice.warnings) == (near(0.05), 200, ())
    assert str(choice) == (
        "als_implicit: NDCG@10 0.2500, popularity 0.1000; better by 0.1500 (0.1500 to 0.1500) on"
        " 200 users"
    )
    assert [(pair.other, pair.value, pair.excludes_zero) for pair in choice.against] == [
        ("sgd", near(0.05), True),
        ("popularity", near(0.15), True),
    ]


def test_among_models_whose_difference_is_not_shown_the_preferred_is_taken() -> None:
    rows = [
        ndcg("popularity", 0.10),
        ndcg("als_implicit", 0.24, spread=0.2),
        ndcg("sgd", 0.25, spread=0.2),
    ]

    choice = choose(rows, metric="ndcg@10", models=MODELS, prefer=PREFER)

    assert (choice.model, choice.runner_up, choice.lead) == ("als_implicit", "sgd", near(-0.01))
    assert choice.warnings == ()
    assert choice.verdict.endswith(
        "on 200 users; sgd 0.2500 is not shown to be better, and publish.prefer has als_implicit"
        " first"
    )
    # Of models that publish.prefer does not name the first of train.models is taken.
    assert choose(rows, metric="ndcg@10", models=["sgd", "als_implicit"]).model == "sgd"


def test_a_preferred_model_that_is_shown_to_be_worse_is_not_taken() -> None:
    rows = [ndcg("als_implicit", 0.20), ndcg("sgd", 0.25)]

    assert choose(rows, metric="ndcg@10", models=MODELS, prefer=PREFER).model == "sgd"


def test_a_baseline_is_taken_only_where_it_is_shown_to_be_better() -> None:
    unsure = [ndcg("popularity", 0.21, spread=0.2), ndcg("sgd", 0.20, spread=0.2)]
    sure = [ndcg("popularity", 0.30), ndcg("biases", 0.1), ndcg("sgd", 0.20)]

    choice = choose(unsure, metric="ndcg@10", models=MODELS)
    assert choice.model == "sgd"
    assert choice.warnings == ("sgd is not shown to be better than the baseline popularity",)
    assert "popularity 0.2100; worse by 0.0100 (-0." in choice.verdict
    assert "no difference shown" in choice.verdict

    choice = choose(sure, metric="ndcg@10", models=MODELS)
    assert choice.model == "popularity"
    assert choice.warnings == (
        "the baseline popularity is shown to be better by ndcg@10 than sgd, the best other model",
    )


def test_of_baselines_only_those_that_are_shown_to_beat_the_best_other_model_are_taken() -> None:
    """Biases tie with popularity, and are not shown to be better than sgd."""
    rows = [
        ndcg("popularity", 0.30, spread=0.05),
        ndcg("biases", 0.28, spread=0.6),
        ndcg("sgd", 0.20, spread=0.05),
        ndcg("als_implicit", 0.05),
    ]

    choice = choose(rows, metric="ndcg@10", models=MODELS, prefer=["biases", "popularity"])

    assert choice.model == "popularity"
    assert choice.warnings == (
        "the baseline popularity is shown to be better by ndcg@10 than sgd, the best other model",
    )


def test_of_baselines_that_tie_the_preferred_is_taken() -> None:
    rows = [
        ndcg("popularity", 0.30, spread=0.1),
        ndcg("biases", 0.29, spread=0.1),
        ndcg("sgd", 0.20, spread=0.01),
    ]

    assert choose(rows, metric="ndcg@10", models=MODELS, prefer=["biases"]).model == "biases"


def test_the_manifest_says_whether_intervals_exclude_zero_and_not_what_a_table_shows() -> None:
    rows = [ndcg("popularity", 0.10), ndcg("sgd", 0.20)]

    (pair,) = choose(rows, metric="ndcg@10", models=MODELS).as_dict()["against"]

    assert pair.keys() == {"other", "value", "ci_low", "ci_high", "excludes_zero"}
    assert pair["excludes_zero"] is True


def test_a_model_that_is_as_good_as_the_best_but_worse_than_a_baseline_is_not_taken() -> None:
    rows = [
        ndcg("popularity", 0.24, spread=0.01),
        ndcg("als_implicit", 0.22, spread=0.01),
        ndcg("sgd", 0.25, spread=0.6),
    ]

    assert choose(rows, metric="ndcg@10", models=MODELS, prefer=PREFER).model == "sgd"


def test_what_test_says_does_not_touch_the_choice() -> None:
    rows = [ndcg("sgd", 0.2), ndcg("als_implicit", 0.1), ndcg("als_implicit", 0.9, split="test")]

    assert choose(rows, metric="ndcg@10", models=MODELS).model == "sgd"


def test_random_and_mean_are_never_chosen_nor_runner_up() -> None:
    rows = [ndcg("random", 0.9), ndcg("mean", 0.8), ndcg("sgd", 0.1)]

    choice = choose(rows, metric="ndcg@10", models=MODELS)

    assert (choice.model, choice.runner_up, choice.lead) == ("sgd", None, None)
    assert choice.verdict == "sgd: NDCG@10 0.1000 on 200 users; no other model to compare with"


def test_rmse_is_better_when_lower_and_the_lead_is_positive() -> None:
    choice = choose([rmse("sgd", 0.85), rmse("biases", 0.87)], metric="rmse", models=MODELS)

    assert (choice.model, choice.lead) == ("sgd", near(0.02))
    assert choice.verdict.startswith("sgd: RMSE 0.8500, biases 0.8700; better by 0.0200 (0.02")


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


def test_few_users_are_warned_about() -> None:
    rows = [ndcg("popularity", 0.1, users=99), ndcg("sgd", 0.2, users=99)]

    (few,) = choose(rows, metric="ndcg@10", models=MODELS).warnings

    assert "99 users, fewer than 100" in few


def test_a_baseline_that_is_compared_with_baselines_alone_is_no_warning() -> None:
    rows = [ndcg("popularity", 0.2), ndcg("biases", 0.1)]

    assert choose(rows, metric="ndcg@10", models=MODELS).warnings == ()
    assert choose(rows[:1], metric="ndcg@10", models=MODELS).warnings == ()


def test_a_named_model_stands_and_is_said_to_be_behind() -> None:
    rows = [ndcg("als_implicit", 0.3), ndcg("sgd", 0.1)]

    choice = choose(rows, metric="ndcg@10", models=MODELS, named="sgd")

    assert (choice.model, choice.runner_up, choice.lead) == ("sgd", "als_implicit", -0.2)
    assert choice.warnings == (
        "sgd is named in publish.model, but als_implicit is shown to be better",
    )
    assert choice.verdict == (
        "sgd: NDCG@10 0.1000, als_implicit 0.3000; worse by 0.2000 (0.2000 to 0.2000) on 200"
        " users; named in publish.model"
    )


def test_a_named_model_without_a_value_is_published_with_a_warning() -> None:
    choice = choose([], metric="ndcg@10", models=MODELS, named="random")

    assert (choice.model, choice.value, choice.users) == ("random", None, 0)
    assert "no ndcg@10" in choice.warnings[0]
    assert choice.verdict == "random: NDCG@10 has no value on validation"


def test_of_one_user_nothing_is_shown_and_the_preferred_model_is_taken() -> None:
    rows = [ndcg("popularity", 0.9, users=1), ndcg("sgd", 0.8, users=1),
            ndcg("als_implicit", 0.1, users=1)]  # fmt: skip

    choice = choose(rows, metric="ndcg@10", models=MODELS, prefer=PREFER)

    assert choice.model == "als_implicit"
    assert "popularity 0.9000; worse by 0.8000 on 1 users" in choice.verdict


def test_where_no_list_could_be_evaluated_the_preferred_model_is_published_with_a_warning() -> None:
    models = ["mean", "sgd", "biases", "als_implicit"]
    choice = choose([rmse("sgd", 0.9)], metric="ndcg@10", models=models)

    assert (choice.model, choice.value, choice.automatic) == ("sgd", None, True)
    assert "no model was compared" in choice.warnings[0]
    choice = choose([rmse("sgd", 0.9)], metric="ndcg@10", models=models, prefer=PREFER)
    assert choice.model == "als_implicit"
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
