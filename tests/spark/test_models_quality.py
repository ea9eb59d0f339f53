"""What the defaults reach on the real ml-latest-small; the figures are those of the issue."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.base import FittedModel

pytestmark = pytest.mark.movielens


@pytest.fixture(scope="module")
def ratings(movielens: Path) -> pd.DataFrame:
    if movielens.is_dir():
        raw = pd.read_csv(movielens / "ratings.csv")
    else:
        with zipfile.ZipFile(movielens) as archive:
            name = next(n for n in archive.namelist() if n.endswith("ratings.csv"))
            raw = pd.read_csv(archive.open(name))
    return pd.DataFrame(
        {
            "user": pd.factorize(raw["userId"], sort=True)[0].astype(np.int32),
            "item": pd.factorize(raw["movieId"], sort=True)[0].astype(np.int32),
            "rating": raw["rating"].astype(np.float32),
            "timestamp": raw["timestamp"],
        }
    )


def frame(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(rows[["user", "item", "rating"]])


def fit(name: str, train: DataFrame, scratch: Folder) -> FittedModel:
    data = TrainingData(ratings=train)
    return registry.build(name, {}).fit(data, scratch=scratch, seed=42)


def test_rmse_of_random_rows(spark: SparkSession, ratings: pd.DataFrame, tmp_path: Path) -> None:
    order = np.random.default_rng(42).permutation(len(ratings))
    cut, test_from = int(0.7 * len(order)), int(0.8 * len(order))  # between them: validation
    train = frame(spark, ratings.iloc[order[:cut]]).persist()
    test = frame(spark, ratings.iloc[order[test_from:]]).persist()
    found: dict[str, tuple[float, float]] = {}
    for name in ("mean", "biases", "als_explicit"):
        predicted = fit(name, train, Folder(spark, tmp_path) / name).predict(test).frame
        predicted = predicted.join(test, ["user", "item"])
        error = F.col("prediction") - F.col("rating")
        row = predicted.agg(F.sqrt(F.avg(error * error)), F.count("*")).collect()[0]
        found[name] = row[0], row[1] / (len(order) - test_from)
    train.unpersist()
    test.unpersist()
    assert found["mean"][0] == pytest.approx(1.04, abs=0.02)
    assert found["biases"][0] <= 0.88
    assert found["als_explicit"][0] <= 0.89
    assert (found["biases"][1], found["mean"][1]) == (1, 1)
    assert 0.94 < found["als_explicit"][1] < 1  # items that train does not know


def test_implicit_beats_popularity_on_the_item_left_out(
    spark: SparkSession, ratings: pd.DataFrame, tmp_path: Path
) -> None:
    ordered = ratings.sort_values(["user", "timestamp", "item"])
    from_last = ordered.groupby("user").cumcount(ascending=False)
    train = frame(spark, ordered[from_last >= 2]).persist()
    seen = frame(spark, ordered[from_last >= 1])
    last = ordered[from_last == 0]
    ndcg: dict[str, float] = {}
    for name in ("popularity", "als_implicit"):
        fitted = fit(name, train, Folder(spark, tmp_path) / name)
        users = spark.createDataFrame(last[["user"]])
        lists = fitted.recommend(users, n=10, seen=seen).frame.toPandas()
        hits = last.merge(lists, on=["user", "item"])
        ndcg[name] = float((1 / np.log2(hits["rank"] + 1)).sum()) / len(last)
    train.unpersist()
    assert ndcg["als_implicit"] >= 1.25 * ndcg["popularity"] > 0.01
