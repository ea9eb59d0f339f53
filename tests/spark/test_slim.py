"""SLIM against scikit-learn's elastic nets, from ratings to lists."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from recpipe.errors import MissingError
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.linear import dealing, gram
from recpipe.models.linear.settings import SlimSettings
from recpipe.models.linear.slim import Slim
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.models.neighbours.model import NeighbourModel

RATINGS = "user int, item int, rating float"
L1, L2 = 0.5, 4.0
Rows = list[tuple[int, int, float]]
fits = itertools.count()


@pytest.fixture(scope="module")
def scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(spark, tmp_path_factory.mktemp("slim"))


def rated() -> Rows:
    """Some pairs of 40 users and 25 items, rated 0.1 to 5.0; the last item's number is huge."""
    rng = np.random.default_rng(1)
    there, stars = rng.random((40, 25)) < 0.4, rng.integers(1, 51, (40, 25)) / 10
    number = [*range(0, 3 * 24, 3), 2_000_000_000]
    return [
        (2 * int(u), number[int(i)], float(np.float32(stars[u, i]))) for u, i in np.argwhere(there)
    ]


ROWS = rated()


def fit(scratch: Folder, rows: Rows, **own: Any) -> NeighbourModel:
    settings = SlimSettings(**{"l1": L1, "l2": L2, "tolerance": 1e-10, **own})
    data = TrainingData(ratings=scratch.spark.createDataFrame(rows, RATINGS))
    return Slim(settings).fit(data, scratch=scratch / str(next(fits)), seed=1)


def dense(rows: Rows, *, values: str) -> tuple[list[int], list[int], np.ndarray]:
    """Users, items, and the matrix of both."""
    if values == "likings":
        rows = [(u, i, 1.0) for u, i, r in rows if r >= 4]
    users, u = np.unique([row[0] for row in rows], return_inverse=True)
    items, i = np.unique([row[1] for row in rows], return_inverse=True)
    x = np.zeros((len(users), len(items)))
    x[u, i] = [row[2] for row in rows]
    return users.tolist(), items.tolist(), x


def scikit_weights(x: np.ndarray, *, positive: bool) -> np.ndarray:
    columns = []
    for column in range(x.shape[1]):
        others = x.copy()
        others[:, column] = 0
        net = ElasticNet(
            alpha=(L1 + L2) / len(x), l1_ratio=L1 / (L1 + L2), positive=positive,
            fit_intercept=False, tol=1e-13, max_iter=100_000,
        )  # fmt: skip
        columns.append(net.fit(others, x[:, column]).coef_)
    return np.array(columns).T


def weights_of(model: NeighbourModel) -> tuple[list[int], np.ndarray]:
    """Items, ascending, and W of the table of a fitted model."""
    rows = sorted(model.table.frame.collect(), key=lambda row: row["item"])
    items = [row["item"] for row in rows]
    found = np.zeros((len(items), len(items)))
    for column, row in enumerate(rows):
        sources = np.searchsorted(items, np.frombuffer(row["sources"], np.int32))
        found[sources, column] = np.frombuffer(row["numbers"], np.float32)
    return items, found


@pytest.mark.parametrize(
    ("values", "positive"), [("likings", True), ("ratings", True), ("ratings", False)]
)
def test_weights_and_scores_are_those_of_scikit_learn(
    scratch: Folder, values: str, positive: bool
) -> None:
    users, items, x = dense(ROWS, values=values)
    due = scikit_weights(x, positive=positive)
    model = fit(scratch, ROWS, values=values, positive=positive)
    listed, found = weights_of(model)
    assert listed == items
    np.testing.assert_allclose(found, due, rtol=0, atol=1e-6)
    assert (due.min() < 0) != positive
    weights = int(np.count_nonzero(found))
    assert model.info() == {
        "items": len(items), "users": len(users), "weights": weights, "unfinished": 0,
    }  # fmt: skip
    spark = scratch.spark
    nothing = spark.createDataFrame([], "user int, item int")
    asked = spark.createDataFrame([(user,) for user in [*users, 999]], "user int")
    scores: dict[int, dict[int, float]] = {}
    for row in model.recommend(asked, n=10**6, seen=nothing).frame.collect():
        scores.setdefault(row["user"], {})[row["item"]] = row["score"]
    assert sorted(scores) == users
    for user, row in zip(users, x @ due, strict=True):
        assert scores[user] == pytest.approx(dict(zip(items, row, strict=True)), abs=1e-5)


def bits(model: NeighbourModel) -> list[Any]:
    return sorted(map(tuple, model.table.frame.collect()))


def test_tasks_and_tiles_change_no_bit_and_a_saved_model_has_them(
    spark: SparkSession, scratch: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(scratch, ROWS, values="ratings", nearest=8)
    whole = bits(model)
    assert all(len(row[1]) <= 8 * 4 for row in whole)
    monkeypatch.setattr(gram, "_TILE_BYTES", 3 * 8 * 25)
    monkeypatch.setattr(dealing, "_TASKS_A_SLOT", 1)
    assert bits(fit(scratch, ROWS[::-1], values="ratings", nearest=8)) == whole
    model.save(Folder(spark, tmp_path) / "slim")
    loaded: Any = registry.load(Folder(spark, tmp_path) / "slim")
    assert bits(loaded) == whole
    assert loaded.info() == model.info()


def test_sweeps_that_do_not_suffice_are_counted_and_told(
    scratch: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    model = fit(scratch, ROWS, values="ratings", l1=0.0, max_sweeps=1)
    assert model.info()["unfinished"] == 25
    assert "slim.max_sweeps = 1 sweeps the weights of 25 of 25 items" in caplog.text


def test_a_matrix_above_the_limit_is_refused_by_both_sizes(scratch: Folder) -> None:
    rows = [(0, item, 5.0) for item in range(400)]
    with pytest.raises(MissingError, match=r"400 items takes 1 MiB .*max_matrix_mb = 1 is 1 MiB"):
        fit(scratch, rows, max_matrix_mb=1)
