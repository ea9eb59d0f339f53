"""Two fits in two threads of one session: neither knows of the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.factors import FactorModel
from recpipe.settings import Settings
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder
from tests.caching import cached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    Arrays = dict[str, NDArray[Any]]

OWN: dict[str, dict[str, Any]] = {
    "als_explicit": {"rank": 4, "iterations": 7},
    "als_implicit": {"rank": 4, "iterations": 7},
    "nmf": {"rank": 4, "iterations": 3},
    "block_als": {"rank": 4, "iterations": 4, "blocks": 2},
    "block_als_implicit": {"rank": 4, "iterations": 4, "blocks": 2},
    "sgd": {"rank": 4, "epochs": 4, "blocks": 2},
}
# Sums of MLlib's arrive in any order.
CLOSE = {"als_explicit", "als_implicit", "nmf"}
SETTINGS = (
    "spark.sql.execution.arrow.maxBytesPerBatch",
    "spark.sql.adaptive.enabled",
    "spark.sql.codegen.wholeStage",
)


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    random = np.random.default_rng(9)
    drawn = np.unique(random.integers(0, 60 * 40, 1500))
    rows = [
        (int(n // 40), int(n % 40), float(s))
        for n, s in zip(drawn, random.integers(1, 6, len(drawn)), strict=True)
    ]
    return spark.createDataFrame(rows, "user int, item int, rating float").repartition(3)


def fitted(name: str, train: DataFrame, scratch: Folder, **rest: Any) -> Arrays:
    """The factors of a fit by id."""
    own = {**OWN.get(name, {}), **rest}
    settings = Settings.model_validate({name: own} if own else {})
    data = TrainingData(ratings=train, validation=train)
    model = registry.build(name, dict(settings)).fit(data, scratch=scratch, seed=3)
    assert isinstance(model, FactorModel)
    sides = {"item": model.item_factors}
    if model.user_factors is not None:
        sides["user"] = model.user_factors
    found: Arrays = {}
    for side, factors in sides.items():
        rows = frame_of(factors).toPandas().sort_values(side)
        found[side] = rows[side].to_numpy()
        found[f"{side} factors"] = np.array(rows["factors"].tolist(), np.float32)
        found[f"{side} bias"] = rows["bias"].to_numpy()
    return found


@pytest.fixture(scope="module")
def alone(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, train: DataFrame
) -> Callable[[str], Arrays]:
    """The factors of a fit of that name with nothing beside it; each is fitted once."""
    root = Folder(spark, tmp_path_factory.mktemp("alone"))
    return cache(lambda name: fitted(name, train, root / name))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("als_implicit", "sgd"),
        ("block_als", "biases"),
        ("als_implicit", "als_explicit"),
        ("block_als_implicit", "block_als"),
        ("sgd", "sgd"),
        ("nmf", "popularity"),
        ("mean", "block_als"),
    ],
)
def test_two_fits_at_once_are_those_that_each_makes_alone(
    spark: SparkSession,
    tmp_path: Path,
    train: DataFrame,
    alone: Callable[[str], Arrays],
    one: str,
    other: str,
) -> None:
    root, before = Folder(spark, tmp_path), [spark.conf.get(name) for name in SETTINGS]
    others = cached(spark)
    own = train.select("user").persist()
    own.count()
    kept = cached(spark)
    mine = kept - others
    assert mine
    due = [alone(name) for name in (one, other)]
    begin = threading.Barrier(2)

    def beside(number: int, name: str) -> Arrays:
        begin.wait()
        return fitted(name, train, root / f"{number}")

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(beside, (0, 1), (one, other)))
    for name, expected, found in zip((one, other), due, together, strict=True):
        for part, values in expected.items():
            if name in CLOSE:
                np.testing.assert_allclose(found[part], values, atol=1e-4)
            else:
                assert values.tobytes() == found[part].tobytes(), (name, part)
    assert [spark.conf.get(name) for name in SETTINGS] == before
    # What is cached here stays, and nothing is added. Of what another test left the cleaner may
    # have taken some meanwhile.
    assert mine <= cached(spark) <= kept
    own.unpersist(blocking=True)


def test_what_others_cache_while_mllib_fits_stays_cached(
    spark: SparkSession, tmp_path: Path, train: DataFrame
) -> None:
    before = cached(spark)
    mine: list[DataFrame] = []
    with ThreadPoolExecutor(1) as threads:
        fit = threads.submit(fitted, "als_implicit", train, Folder(spark, tmp_path))
        while not fit.done():
            frame = spark.range(len(mine), 10_000).persist()
            frame.count()
            mine.append(frame)
    assert len(mine) > 1
    assert len(cached(spark) - before) == len(mine)
    for frame in mine:
        frame.unpersist()


def test_a_fit_of_mllib_that_fails_leaves_nothing_cached(
    spark: SparkSession, tmp_path: Path, train: DataFrame
) -> None:
    before = cached(spark)
    # Rows of one rating and no regularization: what determines their four factors is singular.
    few = train.dropDuplicates(["user"])
    with pytest.raises(FitError):
        fitted("als_explicit", few, Folder(spark, tmp_path), regularization=0.0)
    assert cached(spark) == before
