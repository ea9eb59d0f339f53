from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpipe.errors import ContractError
from recpipe.evaluation import MetricRow, rating_metrics
from recpipe.evaluation.metrics import RATING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

Triple = tuple[int, int, float]


def near(value: float) -> Any:
    return pytest.approx(value)


def held(spark: SparkSession, rows: Sequence[Triple]) -> DataFrame:
    return spark.createDataFrame(list(rows), "user int, item int, rating float")


def predicted(spark: SparkSession, rows: Sequence[Triple]) -> DataFrame:
    return spark.createDataFrame(list(rows), "user int, item int, prediction float")


def by_name(rows: list[MetricRow]) -> dict[tuple[str, str, str], MetricRow]:
    return {(row.model, row.split, row.metric): row for row in rows}


def test_errors_coverage_and_the_common_pairs_of_three_models_by_hand(spark: SparkSession) -> None:
    held_out = held(spark, [(1, 10, 4.0), (1, 11, 2.0), (2, 10, 5.0), (3, 12, 1.0)])
    frames = {
        "sgd": predicted(spark, [(1, 10, 3.0), (1, 11, 2.0), (2, 10, 3.0)]),
        "als": predicted(spark, [(1, 10, 4.0), (1, 11, 4.0), (3, 12, 1.5)]),
        # Popularity predicts no rating: no row of its own, and the common pairs stay.
        "popularity": predicted(spark, []),
    }

    rows = by_name(rating_metrics(frames, held_out, split="test", fold=2))

    assert {(model, split) for model, split, _ in rows} == {
        (model, split) for model in ("sgd", "als") for split in ("test", "test_common")
    }
    expected = {
        # errors -1, 0, -2
        ("sgd", "test", "rmse"): (sqrt(5 / 3), 2, 3),
        ("sgd", "test", "mae"): (1.0, 2, 3),
        ("sgd", "test", "prediction_coverage"): (0.75, 2, 3),
        # errors 0, 2, 0.5
        ("als", "test", "rmse"): (sqrt(4.25 / 3), 2, 3),
        ("als", "test", "mae"): (2.5 / 3, 2, 3),
        # both predict (1, 10) and (1, 11): errors -1, 0 and 0, 2
        ("sgd", "test_common", "rmse"): (sqrt(0.5), 1, 2),
        ("als", "test_common", "mae"): (1.0, 1, 2),
        ("als", "test_common", "prediction_coverage"): (0.5, 1, 2),
    }
    for key, (value, users, count) in expected.items():
        row = rows[key]
        assert (row.value, row.users, row.rows, row.fold) == (near(value), users, count, 2)


def test_models_without_a_common_pair_have_no_common_error(spark: SparkSession) -> None:
    held_out = held(spark, [(1, 10, 4.0), (1, 11, 2.0)])
    frames = {"a": predicted(spark, [(1, 10, 4.0)]), "b": predicted(spark, [(1, 11, 1.0)])}

    rows = rating_metrics(frames, held_out, split="test")

    common = [(row.model, row.metric, row.value) for row in rows if row.split == "test_common"]
    assert common == [("a", "prediction_coverage", 0.0), ("b", "prediction_coverage", 0.0)]
    assert by_name(rows)["b", "test", "mae"].value == 1.0


def test_a_prediction_that_is_null_counts_as_none(spark: SparkSession) -> None:
    frame = predicted(spark, [(1, 10, 4.0)]).selectExpr(
        "user", "item", "try_divide(1, 0) prediction"
    )

    assert rating_metrics({"a": frame}, held(spark, [(1, 10, 4.0)]), split="test") == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1, 10, float("nan"))], "1 predictions on test are wrong.*not finite"),
        ([(1, 10, float("inf"))], "not finite"),
        ([(1, 10, 3.0), (1, 10, 4.0)], "more than once"),
        ([(1, 10, 3.0), (9, 10, 4.0)], "not held out"),
    ],
)
def test_wrong_predictions_are_refused(spark: SparkSession, rows: list[Triple], says: str) -> None:
    frames = {"fine": predicted(spark, [(1, 10, 3.0)]), "sgd": predicted(spark, rows)}

    with pytest.raises(ContractError, match=f"model sgd: .*{says}"):
        rating_metrics(frames, held(spark, [(1, 10, 4.0), (1, 11, 2.0)]), split="test")


def test_held_out_pairs_that_repeat_or_are_not_finite_are_refused(spark: SparkSession) -> None:
    frames = {"sgd": predicted(spark, [(1, 10, 3.0)])}

    with pytest.raises(ContractError, match="more than one row"):
        rating_metrics(frames, held(spark, [(1, 10, 4.0), (1, 10, 4.0)]), split="test")
    with pytest.raises(ContractError, match="rating is not finite"):
        rating_metrics(frames, held(spark, [(1, 10, float("nan"))]), split="test")


_pairs = st.tuples(st.integers(1, 4), st.integers(1, 5))
_stars = st.sampled_from([0.5 * half for half in range(1, 11)])


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(_pairs, st.tuples(_stars, *[st.none() | _stars] * 3), min_size=1))
def test_any_coverage_agrees_with_plain_python(
    spark: SparkSession, pairs: dict[tuple[int, int], tuple[float | None, ...]]
) -> None:
    frames = {
        f"m{j}": predicted(
            spark, [(u, i, p) for (u, i), (_, *ps) in pairs.items() if (p := ps[j]) is not None]
        )
        for j in range(3)
    }
    held_out = held(spark, [(u, i, r) for (u, i), (r, *_) in pairs.items() if r is not None])

    three = [m for m in RATING if m.name in {"rmse", "mae", "prediction_coverage"}]
    found = by_name(rating_metrics(frames, held_out, split="test", metrics=three))

    silent = {j for j in range(3) if all(ps[j + 1] is None for ps in pairs.values())}
    expected: dict[tuple[str, str, str], tuple[float, int, int]] = {}
    for j in set(range(3)) - silent:
        for split, needed in (("test", {j}), ("test_common", set(range(3)) - silent)):
            mine = {
                key: float(ps[j + 1] or 0) - float(ps[0] or 0)
                for key, ps in pairs.items()
                if all(ps[n + 1] is not None for n in needed)
            }
            about = len({user for user, _ in mine}), len(mine)
            coverage = len(mine) / len(pairs)
            expected[f"m{j}", split, "prediction_coverage"] = (coverage, *about)
            if mine:
                mse = sum(e * e for e in mine.values()) / len(mine)
                expected[f"m{j}", split, "rmse"] = (sqrt(mse), *about)
                mae = sum(map(abs, mine.values())) / len(mine)
                expected[f"m{j}", split, "mae"] = (mae, *about)
    assert {k: (near(r.value), r.users, r.rows) for k, r in found.items()} == expected
