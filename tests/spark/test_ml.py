from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.errors import PySparkException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml import recommendation as spark_ml
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F

from recpipe.errors import FitError, UsageError
from recpipe.ml import ALS, SGD, ALSModel

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def ratings(spark: SparkSession) -> DataFrame:
    """The columns of Spark's guide: two planted factors, ids that are not dense, in longs."""
    rng = np.random.default_rng(1)
    truth = 3 + rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    rows = [
        (7 * u, 100 * i - 1000, float(truth[u, i]))
        for u in range(30)
        for i in range(20)
        if rng.random() < 0.6
    ]
    return spark.createDataFrame(rows, "userId long, movieId long, rating double").cache()


@pytest.fixture(scope="module")
def model(ratings: DataFrame) -> ALSModel:
    als = ALS(rank=3, maxIter=5, regParam=0.01, userCol="userId", itemCol="movieId", seed=1)
    return als.fit(ratings)


def columns(estimator: type[Any], **given: Any) -> Any:
    return estimator(userCol="userId", itemCol="movieId", **given)


def rmse(model: Any, test: DataFrame) -> float:
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="rating")
    return float(evaluator.evaluate(model.transform(test)))


def test_the_example_of_sparks_guide_runs_with_one_import_changed(ratings: DataFrame) -> None:
    (training, test) = ratings.randomSplit([0.8, 0.2], seed=1)

    als = ALS(
        maxIter=5,
        regParam=0.01,
        userCol="userId",
        itemCol="movieId",
        ratingCol="rating",
        coldStartStrategy="drop",
    )
    model = als.fit(training)
    predictions = model.transform(test)
    evaluator = RegressionEvaluator(
        metricName="rmse", labelCol="rating", predictionCol="prediction"
    )
    assert evaluator.evaluate(predictions) < 1
    user_recs = model.recommendForAllUsers(10)
    movie_recs = model.recommendForAllItems(10)
    users = ratings.select(als.getUserCol()).distinct().limit(3)
    user_subset_recs = model.recommendForUserSubset(users, 10)
    movies = ratings.select(als.getItemCol()).distinct().limit(3)
    movie_subset_recs = model.recommendForItemSubset(movies, 10)

    assert user_recs.count() == 30
    assert movie_recs.count() == 20
    assert user_subset_recs.count() == movie_subset_recs.count() == 3
    spark = spark_ml.ALSModel.recommendForAllUsers(model, 10)
    assert user_recs.schema.simpleString() == spark.schema.simpleString()


def test_lists_are_those_of_spark_with_ties_in_order(model: ALSModel) -> None:
    for ours, theirs, key in (
        (model.recommendForAllUsers(4), spark_ml.ALSModel.recommendForAllUsers(model, 4), "userId"),
        (
            model.recommendForAllItems(4),
            spark_ml.ALSModel.recommendForAllItems(model, 4),
            "movieId",
        ),
    ):
        rows = {row[key]: row.recommendations for row in ours.collect()}
        for row in theirs.collect():
            assert [place[0] for place in rows[row[key]]] == [p[0] for p in row.recommendations]
            scores = [place.rating for place in row.recommendations]
            assert [place.rating for place in rows[row[key]]] == pytest.approx(scores, rel=1e-4)


def test_lists_leave_out_what_they_are_told_to(model: ALSModel, ratings: DataFrame) -> None:
    lists = model.recommendForAllUsers(20, exclude=ratings)
    listed = lists.select("userId", F.explode("recommendations.movieId").alias("movieId"))
    assert not listed.join(ratings, ["userId", "movieId"]).count()
    assert listed.count() == 30 * 20 - ratings.count()


@pytest.mark.parametrize("implicit", [False, True])
def test_parameters_mean_what_they_mean_to_spark(ratings: DataFrame, implicit: bool) -> None:
    # That a row's solve is MLlib's is a test of block_als. One factor has one optimum, from
    # wherever a fit begins; MLlib's lineage overflows the stack of a test's JVM on some more
    # iterations.
    own = {"rank": 1, "maxIter": 6, "regParam": 0.3, "implicitPrefs": implicit, "alpha": 2.0}
    theirs = columns(spark_ml.ALS, **own, seed=1).setPredictionCol("theirs").fit(ratings)
    both = columns(ALS, **own).fit(ratings).transform(theirs.transform(ratings))
    row = both.agg(F.avg(F.abs(F.col("prediction") - F.col("theirs"))), F.avg("theirs")).first()
    assert row is not None
    assert row[0] < 0.03 * row[1]


def test_a_model_is_saved_in_sparks_own_format(model: ALSModel, tmp_path: Path) -> None:
    model.save(str(tmp_path / "ours"))
    for kind in (ALSModel, spark_ml.ALSModel):
        again = kind.load(str(tmp_path / "ours"))
        assert type(again) is kind
        assert (again.rank, again.getUserCol()) == (3, "userId")
        assert sorted(again.userFactors.collect()) == sorted(model.userFactors.collect())
    assert again.recommendForAllUsers(2).count() == 30


def test_an_estimator_is_saved_with_its_parameters(tmp_path: Path) -> None:
    als = ALS(rank=7, implicitPrefs=True).setMaxIter(3).setUserCol("u")
    als.write().overwrite().save(str(tmp_path / "als"))
    again = ALS.load(str(tmp_path / "als"))
    assert (again.getRank(), again.getMaxIter(), again.getUserCol()) == (7, 3, "u")
    assert again.getImplicitPrefs()
    with pytest.raises(TypeError, match="no parameter 'ranks'"):
        ALS(ranks=7)


def test_a_pipeline_fits_saves_and_loads(ratings: DataFrame, tmp_path: Path) -> None:
    half = SQLTransformer(statement="SELECT userId, movieId, rating / 2 AS rating FROM __THIS__")
    als = columns(ALS, rank=2, maxIter=2, coldStartStrategy="drop")
    pipeline = Pipeline(stages=[half, als])
    pipeline.save(str(tmp_path / "pipeline"))
    fitted = Pipeline.load(str(tmp_path / "pipeline")).fit(ratings)
    expected = fitted.transform(ratings).orderBy("userId", "movieId").collect()
    fitted.save(str(tmp_path / "fitted"))
    again = PipelineModel.load(str(tmp_path / "fitted"))
    assert again.transform(ratings).orderBy("userId", "movieId").collect() == expected
    assert np.mean([row.prediction for row in expected]) == pytest.approx(1.5, abs=0.3)


def test_cross_validation_and_a_train_validation_split_choose_the_better(
    ratings: DataFrame,
) -> None:
    als = columns(ALS, rank=2, maxIter=2, coldStartStrategy="drop")
    grid = ParamGridBuilder().addGrid(als.regParam, [3.0, 0.1]).build()
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="rating")
    given = {"estimator": als, "estimatorParamMaps": grid, "evaluator": evaluator, "seed": 1}
    validated: Any = CrossValidator(numFolds=2, **given).fit(ratings)
    assert validated.avgMetrics[0] > validated.avgMetrics[1]
    chosen: Any = TrainValidationSplit(trainRatio=0.8, **given).fit(ratings)
    assert chosen.validationMetrics[0] > chosen.validationMetrics[1]
    for best in (validated.bestModel, chosen.bestModel):
        assert rmse(best, ratings) < 1, "a penalty of 3 leaves an RMSE of 2 and more"


def test_unknown_ids_are_nan_or_dropped_as_in_spark(spark: SparkSession, model: ALSModel) -> None:
    asked = spark.createDataFrame([(7, 0), (8, 0)], "userId int, movieId int")
    predictions = {row.userId: row.prediction for row in model.transform(asked).collect()}
    assert np.isnan(predictions[8])
    assert not np.isnan(predictions[7])
    dropping = model.copy().setColdStartStrategy("drop")
    assert [row.userId for row in dropping.transform(asked).collect()] == [7]


def test_sgd_is_an_estimator_of_the_same_kind(ratings: DataFrame) -> None:
    own = {"rank": 3, "maxIter": 40, "stepSize": 0.05, "regParam": 0.01}
    model = columns(SGD, **own, coldStartStrategy="drop").fit(ratings)
    assert model.rank == 5, "two more for mean and biases"
    assert rmse(model, ratings) < 0.9
    assert model.recommendForAllUsers(3, exclude=ratings).count() == 30
    assert model.userFactors.columns == ["id", "features"]


def test_what_is_not_supported_is_refused_in_words(ratings: DataFrame) -> None:
    with pytest.raises(UsageError, match="nonnegative=True is not supported"):
        columns(ALS, nonnegative=True).fit(ratings)
    with pytest.raises(UsageError, match="implicitPrefs=True is not supported"):
        columns(SGD, implicitPrefs=True).fit(ratings)
    with pytest.raises(UsageError, match="column movieId is of type string"):
        columns(ALS).fit(ratings.withColumn("movieId", F.lit("a")))
    for wrong in (2.0**40, 1.5):
        with pytest.raises((FitError, PySparkException), match="whole numbers of 32 bits"):
            columns(ALS).fit(ratings.withColumn("movieId", F.lit(wrong)))
