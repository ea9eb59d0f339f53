"""Models of factors asked for people who were not there at their fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recpipe.errors import MissingError, UsageError
from recpipe.feedback import Scale
from recpipe.models.baselines.biases import Biases
from recpipe.models.baselines.popularity import Popularity
from recpipe.models.baselines.settings import BiasesSettings
from recpipe.models.data import TrainingData
from recpipe.models.factors import FactorModel
from recpipe.recommend import recommend_all
from recpipe.spark.columns import factor_schema
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

MEAN, REGULARIZATION = 3.0, 2.0
ITEMS = {10: 0.5, 11: -0.25, 12: 0.0}
USERS = {1: 0.5, 2: -0.1, 3: 0.2}
NOBODY = 0.2
"""The mean of USERS."""
RATED = [(0, 10, 5.0), (0, 11, 2.0), (1, 12, 4.0), (1, 99, 1.0), (2, 99, 5.0)]
"""99 is no item of the model."""


def fitted(spark: SparkSession, scratch: Folder) -> FactorModel:
    none: list[float] = []
    users = [(user, none, bias) for user, bias in USERS.items()]
    items = [(item, none, bias) for item, bias in ITEMS.items()]
    return FactorModel.fitted(
        scratch,
        name="biases",
        user_factors=spark.createDataFrame(users, factor_schema("user")),
        item_factors=spark.createDataFrame(items, factor_schema("item")),
        rank=0,
        mean=MEAN,
        scale=(1.0, 5.0),
        refit_config=Biases(BiasesSettings(user_regularization=REGULARIZATION)),
    )


@pytest.fixture(scope="module")
def model(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FactorModel:
    return fitted(spark, Folder(spark, tmp_path_factory.mktemp("fold-in")))


def people(spark: SparkSession) -> TrainingData:
    ratings = spark.createDataFrame(RATED, "user int, item int, rating float")
    return TrainingData(ratings=ratings, scale=Scale(min=1, max=5, step=1))


def test_a_rating_is_predicted_from_what_the_person_has_rated_or_as_for_the_mean_user(
    spark: SparkSession, model: FactorModel
) -> None:
    pairs = [(person, item) for person in range(3) for item in ITEMS]
    asked = spark.createDataFrame(pairs, "user int, item int")
    rows = model.for_people(people(spark)).predict(asked).frame.collect()
    bias = {0: ((5 - 3.5) + (2 - 2.75)) / (2 + REGULARIZATION), 1: 1 / 3, 2: NOBODY}
    expected = {(u, i): np.clip(MEAN + bias[u] + ITEMS[i], 1, 5) for u, i in pairs}
    assert {(r.user, r.item): r.prediction for r in rows} == pytest.approx(expected, abs=1e-6)
    # The users of the fit are others, and as they were.
    known = {(r.user, r.item): r.prediction for r in model.predict(asked).frame.collect()}
    assert known[1, 12] == pytest.approx(MEAN + USERS[1])


def test_lists_stay_short_without_a_filler(
    spark: SparkSession, model: FactorModel, tmp_path: Path
) -> None:
    given = people(spark)
    lists = recommend_all(
        model.for_people(given),
        None,
        ratings=spark.createDataFrame(RATED, "user int, item int, rating float"),
        users=spark.createDataFrame([(0,), (1,), (2,)], "user int"),
        n=3,
        scratch=Folder(spark, tmp_path),
    )
    found: dict[int, list[int]] = {}
    for row in sorted(lists.collect(), key=lambda row: (row.user, row["rank"])):
        found.setdefault(row.user, []).append(row.item)
    assert found == {0: [12], 1: [10, 11], 2: [10, 12, 11]}


def test_a_model_that_knows_no_way_refuses_and_so_does_one_that_does_not_fit(
    spark: SparkSession, model: FactorModel, tmp_path: Path
) -> None:
    given = people(spark)
    with pytest.raises(MissingError, match="3 items whole"):
        replace(model, max_broadcast_mb=0).for_people(given)
    with pytest.raises(UsageError, match="biases has no lists for people"):
        replace(model, refit_config=Popularity()).for_people(given)
    with pytest.raises(TypeError, match="kept without the people"):
        model.for_people(given).save(Folder(spark, tmp_path))
