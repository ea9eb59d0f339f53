from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recpipe.errors import FitError
from recpipe.models import registry
from recpipe.models.baselines import biases, equations
from recpipe.models.baselines.biases import Biases
from recpipe.models.baselines.settings import BiasesSettings
from recpipe.models.data import TrainingData
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.base import FittedModel

RATINGS = "user int, item int, rating float"
TRAIN = [(0, 5, 4.0), (1, 5, 2.0), (2, 5, 3.0), (0, 7, 5.0), (1, 7, 4.0), (2, 9, 3.0)]


@pytest.fixture
def train(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(TRAIN, RATINGS)


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path) / "scratch"


def fit(name: str, train: DataFrame, scratch: Folder, *, seed: int = 42) -> FittedModel:
    data = TrainingData(ratings=train)
    return registry.build(name, {}).fit(data, scratch=scratch, seed=seed)


def listed(fitted: FittedModel, train: DataFrame, *users: int, n: int = 10) -> dict[int, list[int]]:
    asked = train.sparkSession.createDataFrame([(user,) for user in users], "user int")
    rows = fitted.recommend(asked, n=n, seen=train).frame.orderBy("user", "rank").collect()
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.user, []).append(row.item)
    return found


def predicted(
    fitted: FittedModel, train: DataFrame, *pairs: tuple[int, int]
) -> dict[object, float]:
    asked = train.sparkSession.createDataFrame(pairs, "user int, item int")
    return {(row.user, row.item): row.prediction for row in fitted.predict(asked).frame.collect()}


def test_popularity_ranks_unseen_items_by_count_for_cold_users_too(
    train: DataFrame, scratch: Folder
) -> None:
    fitted = fit("popularity", train, scratch)
    assert listed(fitted, train, 0, 2, 77) == {0: [9], 2: [7], 77: [5, 7, 9]}
    asked = train.sparkSession.createDataFrame([(77,)], "user int")
    scores = fitted.recommend(asked, n=3, seen=train).frame.orderBy("rank").collect()
    assert [row.score for row in scores] == [3, 2, 1]
    assert predicted(fitted, train, (0, 9)) == {}


def test_mean_predicts_the_mean_for_every_pair(train: DataFrame, scratch: Folder) -> None:
    fitted = fit("mean", train, scratch)
    assert predicted(fitted, train, (0, 5), (77, 88)) == {(0, 5): 3.5, (77, 88): 3.5}
    assert listed(fitted, train, 77, n=2) == {77: [5, 7]}


def test_random_lists_the_items_of_train_by_seed(train: DataFrame, scratch: Folder) -> None:
    fitted = fit("random", train, scratch)
    lists = listed(fitted, train, *range(100, 150))
    assert all(sorted(items) == [5, 7, 9] for items in lists.values())
    assert len({tuple(items) for items in lists.values()}) == 6
    assert lists == listed(fit("random", train, scratch), train, *range(100, 150))
    assert lists != listed(fit("random", train, scratch, seed=43), train, *range(100, 150))
    assert predicted(fitted, train, (0, 5)) == {}


def test_biases_are_the_regularised_optimum(train: DataFrame, scratch: Folder) -> None:
    own = BiasesSettings(user_regularization=2, item_regularization=1)
    fitted = Biases(own).fit(TrainingData(ratings=train), scratch=scratch, seed=1)
    assert fitted.user_factors is not None
    user = {row.user: row.bias for row in frame_of(fitted.user_factors).collect()}
    item = {row.item: row.bias for row in frame_of(fitted.item_factors).collect()}
    assert (sorted(user), sorted(item)) == ([0, 1, 2], [5, 7, 9])
    # At the optimum the penalised residuals of every user and item sum to zero.
    left = {(u, i): r - 3.5 - user[u] - item[i] for u, i, r in TRAIN}
    for u, bias in user.items():
        assert sum(e for (a, _), e in left.items() if a == u) == pytest.approx(2 * bias, abs=1e-5)
    for i, bias in item.items():
        assert sum(e for (_, b), e in left.items() if b == i) == pytest.approx(bias, abs=1e-5)
    found = predicted(fitted, train, (0, 9), (0, 88), (77, 5), (77, 88))
    assert found == {
        (0, 9): pytest.approx(3.5 + user[0] + item[9], abs=1e-5),
        (0, 88): pytest.approx(3.5 + user[0], abs=1e-5),
        (77, 5): pytest.approx(3.5 + item[5], abs=1e-5),
        (77, 88): pytest.approx(3.5),
    }


def test_biases_of_several_parts_are_those_of_one(
    monkeypatch: pytest.MonkeyPatch, scratch: Folder, train: DataFrame
) -> None:
    def found() -> dict[object, float]:
        fitted = Biases(BiasesSettings()).fit(TrainingData(ratings=train), scratch=scratch, seed=1)
        return predicted(fitted, train, (0, 9), (1, 7), (2, 5), (77, 5))

    whole = found()
    monkeypatch.setattr(biases, "_RATINGS_OF_A_PART", 2)
    several = found()
    assert several == pytest.approx(whole, abs=1e-6)
    # A task cannot hold them: each step is a job.
    monkeypatch.setattr(equations, "_RATINGS_OF_A_TASK", 0)
    by_jobs = found()
    assert by_jobs == pytest.approx(whole, abs=1e-6)
    # The driver takes the sums of a part at a time.
    monkeypatch.setattr(equations, "_COLLECTED_BYTES", 0)
    assert found() == by_jobs


@pytest.mark.parametrize("ratings_of_a_task", [0, 1000])
def test_biases_that_do_not_converge_say_so(
    monkeypatch: pytest.MonkeyPatch, scratch: Folder, train: DataFrame, ratings_of_a_task: int
) -> None:
    monkeypatch.setattr(equations, "_RATINGS_OF_A_TASK", ratings_of_a_task)
    monkeypatch.setattr(equations, "_MAX_STEPS", 1)
    with pytest.raises(FitError, match="biases: not solved in 1 steps") as raised:
        Biases(BiasesSettings()).fit(TrainingData(ratings=train), scratch=scratch, seed=1)
    assert raised.value.hint == "raise the regularization of section biases"


def test_biases_do_not_depend_on_the_order_of_rows(
    spark: SparkSession, scratch: Folder, train: DataFrame
) -> None:
    turned = spark.createDataFrame(TRAIN[::-1], RATINGS).repartition(5)
    one, two = (
        sorted(map(tuple, frame_of(fit("biases", frame, scratch / name).user_factors).collect()))  # type: ignore[attr-defined]
        for name, frame in (("one", train), ("two", turned))
    )
    assert one == two


def test_one_rating_is_enough(spark: SparkSession, scratch: Folder) -> None:
    train = spark.createDataFrame([(3, 4, 2.0)], RATINGS)
    for name in ("popularity", "biases", "mean", "random"):
        fitted = fit(name, train, scratch)
        assert listed(fitted, train, 3, 9) == {9: [4]}
    assert predicted(fit("biases", train, scratch), train, (3, 4)) == {(3, 4): 2.0}


@pytest.mark.parametrize("name", ["popularity", "biases", "mean", "random"])
def test_no_rating_is_a_failed_fit(spark: SparkSession, scratch: Folder, name: str) -> None:
    with pytest.raises(FitError, match=rf"^{name}: no "):
        fit(name, spark.createDataFrame([], RATINGS), scratch)


@pytest.mark.parametrize("name", ["popularity", "biases", "mean", "random"])
def test_saved_and_loaded_baselines_give_the_same_lists(
    train: DataFrame, scratch: Folder, tmp_path: Path, name: str
) -> None:
    fitted = fit(name, train, scratch)
    folder = Folder(train.sparkSession, tmp_path) / "model"
    fitted.save(folder)
    before = listed(fitted, train, 0, 1, 2, 77)
    scratch.delete()
    loaded = registry.load(folder)
    assert loaded.name == name
    assert loaded.refit_config == registry.build(name, {})
    assert listed(loaded, train, 0, 1, 2, 77) == before
