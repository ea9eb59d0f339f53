from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from recpipe.errors import FitError
from recpipe.feedback import Scale
from recpipe.models.als.mllib import ExplicitAls, ImplicitAls, block_count, preferences
from recpipe.models.als.settings import AlsExplicitSettings, AlsImplicitSettings, AlsSettings
from recpipe.models.data import TrainingData
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder
from tests.caching import cached

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.factors import FactorModel

RATINGS = "user int, item int, rating float"
ONE_TO_FIVE = Scale(min=1, max=5, step=1)


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path) / "scratch"


def explicit(scratch: Folder, train: DataFrame, *, nmf: bool = False, **own: Any) -> FactorModel:
    settings = AlsExplicitSettings(**{"rank": 2, "iterations": 5, "regularization": 0.001, **own})
    data = TrainingData(ratings=train, scale=Scale(min=-9, max=9))
    return ExplicitAls(AlsSettings(), settings, non_negative=nmf).fit(
        data, scratch=scratch, seed=42
    )


def implicit(scratch: Folder, train: DataFrame, **own: Any) -> FactorModel:
    settings = AlsImplicitSettings(**{"rank": 2, "iterations": 5, "regularization": 0.01, **own})
    data = TrainingData(ratings=train, scale=ONE_TO_FIVE)
    return ImplicitAls(AlsSettings(), settings).fit(data, scratch=scratch, seed=42)


def rmse(model: FactorModel, pairs: DataFrame) -> float:
    error = F.col("prediction") - F.col("rating")
    row = (
        model.predict(pairs)
        .frame.join(pairs, ["user", "item"])
        .agg(F.sqrt(F.avg(error * error)), F.count("*"))
        .collect()[0]
    )
    assert row[1] == pairs.count()
    return float(row[0])


def planted(spark: SparkSession, *, low: float = -1) -> tuple[DataFrame, DataFrame]:
    """Ratings that two factors explain without noise: 70 % to learn from, and the others."""
    rng = np.random.default_rng(7)
    p, q = rng.uniform(low, 1, (40, 2)), rng.uniform(low, 1, (30, 2))
    rows = [(u, i, float(p[u] @ q[i])) for u in range(40) for i in range(30)]
    known = (rng.random(len(rows)) < 0.7).tolist()
    learned = [r for r, k in zip(rows, known, strict=True) if k]
    others = [r for r, k in zip(rows, known, strict=True) if not k]
    return spark.createDataFrame(learned, RATINGS), spark.createDataFrame(others, RATINGS)


def test_planted_factors_are_recovered_past_thirty_iterations(
    spark: SparkSession, scratch: Folder
) -> None:
    train, others = planted(spark)
    before = cached(spark)
    fitted = explicit(scratch, train, iterations=40)
    assert rmse(fitted, others) < 0.02
    # Checkpoints were written where they belong, and nothing is left cached.
    assert scratch.exists("checkpoints")
    assert cached(spark) <= before


def test_non_negative_factors_are_not_negative_and_still_explain(
    spark: SparkSession, scratch: Folder
) -> None:
    train, others = planted(spark, low=0)
    fitted = explicit(scratch, train, nmf=True, iterations=10)
    assert fitted.name == "nmf"
    for factors in (fitted.user_factors, fitted.item_factors):
        assert factors is not None
        assert frame_of(factors).select(F.min(F.array_min("factors"))).collect()[0][0] >= 0
    assert rmse(fitted, others) < 0.05


def test_cold_users_and_items_are_not_predicted(spark: SparkSession, scratch: Folder) -> None:
    train = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 0, 4.0)], RATINGS)
    fitted = explicit(scratch, train)
    asked = spark.createDataFrame([(1, 1), (1, 9), (9, 1)], "user int, item int")
    assert [(r.user, r.item) for r in fitted.predict(asked).frame.collect()] == [(1, 1)]
    users = spark.createDataFrame([(1,), (9,)], "user int")
    found = fitted.recommend(users, n=5, seen=train).frame.collect()
    assert [(r.user, r.item) for r in found] == [(1, 1)]


def checkerboard(spark: SparkSession) -> tuple[DataFrame, dict[int, int]]:
    """Even users take even items, odd users odd ones; each user has one left to take."""
    missing = {user: (3 * user) % 10 // 2 * 2 + user % 2 for user in range(12)}
    rows = [
        (user, item, 5.0)
        for user in range(12)
        for item in range(10)
        if item % 2 == user % 2 and item != missing[user]
    ]
    return spark.createDataFrame(rows, RATINGS), missing


def test_a_checkerboard_is_completed_and_again_by_a_second_run(
    spark: SparkSession, scratch: Folder
) -> None:
    train, missing = checkerboard(spark)
    users = train.select("user").distinct()

    def lists(folder: str) -> dict[int, list[int]]:
        fitted = implicit(scratch / folder, train)
        rows = fitted.recommend(users, n=3, seen=train).frame.orderBy("user", "rank").collect()
        found: dict[int, list[int]] = {}
        for row in rows:
            found.setdefault(row.user, []).append(row.item)
        return found

    first = lists("one")
    assert {user: items[0] for user, items in first.items()} == missing
    assert lists("two") == first


def test_implicit_predicts_no_ratings_and_knows_no_user_without_a_liked_item(
    spark: SparkSession, scratch: Folder
) -> None:
    train = spark.createDataFrame([(0, 0, 5.0), (0, 1, 4.0), (1, 1, 5.0), (2, 0, 1.0)], RATINGS)
    fitted = implicit(scratch, train, preference_from=3.0)
    assert fitted.predict(train).frame.collect() == []
    assert fitted.user_factors is not None
    assert sorted(r.user for r in frame_of(fitted.user_factors).collect()) == [0, 1]


ROWS = [(0, 1, 1.0), (0, 2, 3.0), (0, 3, 5.0)]


@pytest.mark.parametrize(
    ("own", "fed"),
    [
        ({"preference_from": 0.0}, {1: 1.0, 2: 1.0, 3: 1.0}),
        ({"preference_from": 3.0}, {2: 1.0, 3: 1.0}),
        ({"preference_from": 3.0, "below": "disliked"}, {1: -1.0, 2: 1.0, 3: 1.0}),
        ({"preference_from": 0.0, "confidence": "rating"}, {1: 0.2, 2: 0.6, 3: 1.0}),
        ({"preference_from": 4.0, "confidence": "rating"}, {3: 1.0}),
    ],
)
def test_ratings_become_preference_and_confidence_on_purpose(
    spark: SparkSession, own: dict[str, Any], fed: dict[int, float]
) -> None:
    ratings = spark.createDataFrame(ROWS, RATINGS)
    found = preferences(
        TrainingData(ratings=ratings, scale=ONE_TO_FIVE), settings=AlsImplicitSettings(**own)
    )
    assert found.dtypes == [("user", "int"), ("item", "int"), ("rating", "float")]
    assert {r.item: r.rating for r in found.collect()} == {
        k: pytest.approx(v) for k, v in fed.items()
    }


def test_strengths_of_a_scale_below_zero_are_positive(spark: SparkSession) -> None:
    ratings = spark.createDataFrame([(0, 1, -10.0), (0, 2, 10.0)], RATINGS)
    own = AlsImplicitSettings(confidence="rating", preference_from=-10)
    found = preferences(
        TrainingData(ratings=ratings, scale=Scale(min=-10, max=10, step=1)), settings=own
    )
    strengths = {r.item: r.rating for r in found.collect()}
    assert strengths == {1: pytest.approx(1 / 21), 2: pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("blocks", "ratings", "rank", "expected"),
    [
        ("auto", 1, 1, 2),
        ("auto", 8_300_000, 64, 4),
        ("auto", 25_000_000, 64, 11),
        ("auto", 10**12, 64, 1000),
        ("cores", 1, 1, 16),
        (7, 10**9, 64, 7),
    ],
)
def test_blocks_come_from_the_data_unless_asked_otherwise(
    blocks: Any, ratings: int, rank: int, expected: int
) -> None:
    assert block_count(blocks, ratings=ratings, rank=rank, parallelism=8) == expected


def test_nothing_to_fit_is_a_failed_fit(spark: SparkSession, scratch: Folder) -> None:
    with pytest.raises(FitError, match="als_explicit: no rating"):
        explicit(scratch, spark.createDataFrame([], RATINGS))
    with pytest.raises(FitError, match="als_implicit: no rating"):
        implicit(scratch, spark.createDataFrame(ROWS, RATINGS), preference_from=6.0)


def test_what_mllib_refuses_is_a_failed_fit(spark: SparkSession, scratch: Folder) -> None:
    model = ExplicitAls(AlsSettings(intermediate_storage_level="NONE"), AlsExplicitSettings())
    data = TrainingData(ratings=spark.createDataFrame(ROWS, RATINGS))
    with pytest.raises(FitError, match="als_explicit: "):
        model.fit(data, scratch=scratch, seed=42)
