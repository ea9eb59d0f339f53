"""The `sgd` model as the pipeline uses it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from recpipe.errors import FitError, GivenUpError, MissingError, UsageError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.base import FittedModel, Model
from recpipe.models.data import TrainingData
from recpipe.models.sgd.model import Sgd
from recpipe.models.sgd.settings import SgdSettings
from recpipe.storage import Folder
from tests.caching import cached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "user int, item int, rating float"


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Iterator[Folder]:
    with Folder(spark, tmp_path).scratch("sgd") as folder:
        yield folder


def model(**settings: Any) -> Sgd:
    return Sgd(SgdSettings(**{"rank": 4, **settings}))


def checkerboard(spark: SparkSession, *, size: int = 24) -> DataFrame:
    """5 where user + item is even, 1 where it is odd: a matrix of rank 1 without any bias."""
    rating = F.when((F.col("user") + F.col("item")) % 2 == 0, 5.0).otherwise(1.0).cast("float")
    users = spark.range(size).select(F.col("id").cast("int").alias("user"))
    items = spark.range(size).select(F.col("id").cast("int").alias("item"))
    return users.crossJoin(items).select("user", "item", rating.alias("rating"))


def rmse(fitted: FittedModel, ratings: DataFrame) -> float:
    error = F.avg((F.col("rating") - F.col("prediction")) ** 2)
    found = fitted.predict(ratings).frame.join(ratings, ["user", "item"])
    return math.sqrt(found.agg(error).collect()[0][0])


def test_a_checkerboard_is_completed(spark: SparkSession, scratch: Folder) -> None:
    board = checkerboard(spark)
    hidden = (F.col("user") * 7 + F.col("item") * 3) % 5 == 0
    settings = {"epochs": 30, "learning_rate": 0.1, "initial_scale": 0.5, "regularization": 0.01}

    fitted = model(**settings).fit(
        TrainingData(ratings=board.where(~hidden)), scratch=scratch, seed=1
    )

    assert rmse(fitted, board.where(hidden)) < 0.35
    assert fitted.info()["blocks"] == 1


def test_a_bounded_model_predicts_inside_the_scale_by_its_link(
    spark: SparkSession, scratch: Folder
) -> None:
    board = checkerboard(spark)

    fitted = model(bounded=True, epochs=30, learning_rate=0.1, regularization=0.001).fit(
        TrainingData(ratings=board), scratch=scratch, seed=1
    )

    ends = fitted.predict(board).frame.agg(F.min("prediction"), F.max("prediction")).collect()[0]
    assert 0.5 < ends[0] < 1.6
    assert 4.4 < ends[1] < 5.0
    assert fitted.info()["learning_curve"][-1]["train_rmse"] == pytest.approx(
        rmse(fitted, board), abs=0.1
    )


def test_moments_complete_a_checkerboard_from_uniform_factors(
    spark: SparkSession, scratch: Folder
) -> None:
    board = checkerboard(spark)
    hidden = (F.col("user") * 7 + F.col("item") * 3) % 5 == 0
    settings = {"optimizer": "adam", "init": "uniform", "epochs": 60, "regularization": 0.01}

    fitted = model(**settings, learning_rate=0.05, learning_rate_decay=1.0, blocks=2).fit(
        TrainingData(ratings=board.where(~hidden)), scratch=scratch, seed=1
    )

    assert rmse(fitted, board.where(hidden)) < 0.35
    assert fitted.info()["exchange"] == "ring"


def test_open_bounds_reach_the_ends_of_the_scale_and_predictions_are_on_its_steps(
    spark: SparkSession, scratch: Folder, tmp_path: Path
) -> None:
    data = TrainingData(ratings=checkerboard(spark), scale=Scale(min=1, max=5, step=1))
    settings = {"bounded": True, "open_bounds": True, "epochs": 30, "regularization": 0.001}
    open_ended = model(**settings, learning_rate=0.1).fit(data, scratch=scratch / "a", seed=1)
    stepped = model(**settings, learning_rate=0.1, round_predictions=True).fit(
        data, scratch=scratch / "b", seed=1
    )
    stepped.save(Folder(spark, tmp_path / "model"))
    loaded = registry.load(Folder(spark, tmp_path / "model"))

    board = checkerboard(spark)
    found = {(r.user, r.item): r.prediction for r in open_ended.predict(board).frame.collect()}
    # A sigmoid that ends at the ends of the scale would never arrive there.
    assert (min(found.values()), max(found.values())) == (1, 5)
    rounded = {pair: float(np.round(value)) for pair, value in found.items()}
    for fitted in (stepped, loaded):
        given = {(r.user, r.item): r.prediction for r in fitted.predict(board).frame.collect()}
        assert given == rounded


@pytest.mark.parametrize("setting", ["open_bounds", "round_predictions"])
def test_a_scale_without_steps_has_none_to_round_to(
    spark: SparkSession, scratch: Folder, setting: str
) -> None:
    data = TrainingData(ratings=checkerboard(spark), scale=Scale(min=1, max=5, step=None))
    with pytest.raises(UsageError, match=rf"sgd\.{setting}: the scale .* has no step"):
        model(bounded=True, **{setting: True}).fit(data, scratch=scratch, seed=1)


def test_the_validation_error_of_the_best_epoch_is_that_of_the_fitted_model(
    spark: SparkSession, scratch: Folder
) -> None:
    board = checkerboard(spark, size=12)
    noisy = board.withColumn("rating", F.col("rating") + (F.hash("user", "item") % 3).cast("float"))
    held_out = (F.col("user") * 5 + F.col("item")) % 4 == 0
    own = SgdSettings(rank=8, epochs=40, learning_rate=0.1, regularization=0.0, patience=2)
    data = TrainingData(
        ratings=noisy.where(~held_out),
        validation=noisy.where(held_out),
        scale=Scale(min=-9, max=14),  # nothing is clipped
    )

    fitted = Sgd(own).fit(data, scratch=scratch, seed=3)

    info = fitted.info()
    curve = info["learning_curve"]
    assert info["stopped_early"]
    assert info["best_epoch"] < info["epochs"] == len(curve) < 40
    assert set(curve[0]) == {"epoch", "learning_rate", "train_rmse", "validation_rmse"}
    best = min(point["validation_rmse"] for point in curve)
    assert best == curve[info["best_epoch"] - 1]["validation_rmse"]
    assert rmse(fitted, noisy.where(held_out)) == pytest.approx(best, rel=1e-4)
    assert info["validation_ratings"] == 36
    again = fitted.refit_config
    assert isinstance(again, Sgd)
    assert (again.settings.epochs, again.settings.patience) == (info["best_epoch"], 0)
    assert again.settings.learning_rate == 0.1


def test_a_saved_model_is_loaded_with_the_same_factors_and_fits_again_to_the_same(
    spark: SparkSession, scratch: Folder, tmp_path: Path
) -> None:
    board = checkerboard(spark, size=8)
    folder = Folder(spark, tmp_path / "model")
    fitted = model(epochs=3).fit(TrainingData(ratings=board), scratch=scratch, seed=5)
    fitted.save(folder)

    loaded = registry.load(folder)
    refitted = loaded.refit_config.fit(
        TrainingData(ratings=board), scratch=scratch / "again", seed=5
    )

    assert (loaded.name, loaded.info()) == ("sgd", fitted.info())
    expected = lists(loaded, board)
    assert len(expected) == 8 * 3
    assert lists(refitted, board) == expected


def lists(fitted: FittedModel, board: DataFrame) -> list[tuple[Any, ...]]:
    none = board.select("user", "item").limit(0)
    rows = fitted.recommend(board.select("user").distinct(), n=3, seen=none)
    return sorted(tuple(row) for row in rows.frame.collect())


@pytest.mark.parametrize(
    ("blocks", "exchange", "taken", "why"),
    [
        (1, "ring", "one_task", "one block is one task"),
        (2, "auto", "ring", "there is a slot for each block"),
        (2, "spark", "spark", "as set"),
        (3, "auto", "spark", "the ring needs 3 slots at once, and 2 are there"),
    ],
)
def test_the_exchange_is_the_one_that_is_set_or_else_the_ring_where_it_has_its_slots(
    spark: SparkSession,
    scratch: Folder,
    caplog: pytest.LogCaptureFixture,
    blocks: int,
    exchange: str,
    taken: str,
    why: str,
) -> None:
    caplog.set_level("INFO")

    fitted = model(blocks=blocks, exchange=exchange, epochs=1).fit(
        TrainingData(ratings=checkerboard(spark, size=6)), scratch=scratch, seed=1
    )

    assert fitted.info()["exchange"] == taken
    assert f"36 ratings in {blocks} blocks, exchange {taken}: {why}" in caplog.text


def test_a_ring_asked_for_by_name_that_has_no_slots_is_refused(
    spark: SparkSession, scratch: Folder
) -> None:
    before = cached(spark)
    with pytest.raises(MissingError, match=r"sgd\.exchange = ring: the ring needs 3 slots at once"):
        model(blocks=3, exchange="ring").fit(
            TrainingData(ratings=checkerboard(spark, size=6)), scratch=scratch, seed=1
        )
    assert cached(spark) <= before


def test_every_user_and_item_of_train_has_finite_factors_and_no_other_does(
    spark: SparkSession, scratch: Folder
) -> None:
    train = spark.createDataFrame([(7, 100, 4.0), (9, 5, 2.0), (7, 5, 3.0)], SCHEMA)
    validation = spark.createDataFrame([(8, 5, 1.0), (9, 100, 3.0)], SCHEMA)

    fitted = model(blocks=2, epochs=2).fit(
        TrainingData(ratings=train, validation=validation), scratch=scratch, seed=1
    )

    pairs = [(u, i, 0.0) for u in (7, 8, 9) for i in (5, 6, 100)]
    predicted = fitted.predict(spark.createDataFrame(pairs, SCHEMA)).frame.collect()
    assert {(row.user, row.item) for row in predicted} == {(7, 5), (7, 100), (9, 5), (9, 100)}
    assert all(np.isfinite(row.prediction) for row in predicted)


def test_one_rating_is_enough_to_fit(spark: SparkSession, scratch: Folder) -> None:
    train = spark.createDataFrame([(0, 0, 4.0)], SCHEMA)

    fitted = model().fit(TrainingData(ratings=train), scratch=scratch, seed=1)

    assert rmse(fitted, train) < 0.1


def test_no_rating_is_refused(spark: SparkSession, scratch: Folder) -> None:
    with pytest.raises(FitError, match="no rating to fit"):
        model().fit(
            TrainingData(ratings=spark.createDataFrame([], SCHEMA)), scratch=scratch, seed=1
        )


def test_a_fit_leaves_nothing_cached_and_no_setting_changed_whether_it_succeeds_or_not(
    spark: SparkSession, scratch: Folder
) -> None:
    there = cached(spark)
    before = spark.conf.get("spark.sql.adaptive.enabled")
    board = checkerboard(spark, size=8)

    model(blocks=2, epochs=2).fit(
        TrainingData(ratings=board, validation=board), scratch=scratch, seed=1
    )
    with pytest.raises(FitError, match="learning rate 10000"):
        model(blocks=2, learning_rate=1e4).fit(TrainingData(ratings=board), scratch=scratch, seed=1)

    assert cached(spark) <= there
    assert spark.conf.get("spark.sql.adaptive.enabled") == before
    assert scratch.list() == ["sgd-item-factors", "sgd-user-factors"]


def test_it_is_a_model_of_the_protocol() -> None:
    assert isinstance(model(), Model)


@pytest.mark.movielens
def test_defaults_reach_the_expected_error_on_real_ratings(
    spark: SparkSession, scratch: Folder, movielens: Path
) -> None:
    source = str(movielens / "ratings.csv") if movielens.is_dir() else f"{movielens}!/ratings.csv"
    ratings = (
        spark.read.csv(source, header=True, schema="user int, item int, rating float, time long")
        .select("user", "item", "rating", F.rand(42).alias("draw"))
        .repartition(2)
        .cache()
    )
    train = ratings.where("draw < 0.7")
    validation = ratings.where("draw >= 0.7 AND draw < 0.8")

    fitted = Sgd(SgdSettings()).fit(
        TrainingData(ratings=train, validation=validation), scratch=scratch, seed=42
    )

    assert rmse(fitted, ratings.where("draw >= 0.8")) <= 0.87
    assert fitted.info()["blocks"] == 1
    ratings.unpersist()


@pytest.mark.parametrize(("blocks", "exchange"), [(1, "auto"), (2, "spark"), (2, "ring")])
def test_a_fit_that_falls_behind_is_given_up_at_the_same_epoch_whoever_carries_the_factors(
    spark: SparkSession, scratch: Folder, blocks: int, exchange: str
) -> None:
    board = checkerboard(spark, size=12).withColumn("rating", F.col("rating") * 20)
    held_out = (F.col("user") * 5 + F.col("item")) % 4 == 0
    data = TrainingData(
        ratings=board.where(~held_out),
        validation=board.where(held_out),
        scale=Scale(min=0, max=100),
    )
    own = model(epochs=6, learning_rate=1e-4, blocks=blocks, exchange=exchange)
    before = cached(spark)

    ended = own.fit(data, scratch=scratch, seed=1).info()["learning_curve"]
    reached = [point["validation_rmse"] for point in ended]
    assert 20 < reached[0] < 80  # on the scale of the ratings
    limits = (math.inf, math.inf, reached[0] / 2)
    with pytest.raises(GivenUpError, match="after epoch 3: its best RMSE") as given_up:
        own.fit(replace(data, give_up_above=limits), scratch=scratch / "again", seed=1)

    assert given_up.value.curve == pytest.approx(reached[:3])
    assert cached(spark) == before
    fitted = own.fit(
        replace(data, give_up_above=(reached[0] * 2,)), scratch=scratch / "well", seed=1
    )
    assert fitted.info()["learning_curve"] == ended
