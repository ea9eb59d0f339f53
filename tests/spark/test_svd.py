"""Truncated SVD against SciPy's of the same filled matrix."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.sparse.linalg import svds

from recpipe.errors import MissingError
from recpipe.feedback import Scale
from recpipe.models.data import TrainingData
from recpipe.models.svd import blocks
from recpipe.models.svd.model import Svd, SvdImplicit
from recpipe.models.svd.settings import SvdImplicitSettings, SvdSettings
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.factors import FactorModel

RATINGS = "user int, item int, rating float"
Rows = list[tuple[int, int, float]]
fits = itertools.count()
EXACT = 1e-13
"""A tolerance at which vectors are as good as those of SciPy."""


@pytest.fixture
def by_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pass is a job, as where a task cannot hold the ratings."""
    monkeypatch.setattr(blocks, "_RATINGS_OF_A_TASK", 0)


@pytest.fixture(scope="module")
def scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(spark, tmp_path_factory.mktemp("svd"))


def rated(users: int, items: int, *, share: float = 0.3, seed: int = 1) -> Rows:
    """Some pairs, rated 0.5 to 5.0 by two tastes and chance; ids have gaps."""
    rng = np.random.default_rng(seed)
    there = rng.random((users, items)) < share
    there[0, :] = there[:, 0] = True
    taste = rng.normal(size=(users, 2)) @ rng.normal(size=(2, items))
    stars = np.clip(np.round(2 * (3 + taste + rng.normal(size=taste.shape))) / 2, 0.5, 5)
    return [(2 * int(u), 3 * int(i), float(stars[u, i])) for u, i in np.argwhere(there)]


ROWS = rated(60, 40)


def fit(
    scratch: Folder, rows: Rows | DataFrame = ROWS, *, seed: int = 1, **own: Any
) -> FactorModel:
    settings = SvdSettings.model_validate({"rank": 6, "fill": "item", "tolerance": EXACT, **own})
    return Svd(settings).fit(given(scratch, rows), scratch=place(scratch), seed=seed)


def given(scratch: Folder, rows: Rows | DataFrame) -> TrainingData:
    frame = scratch.spark.createDataFrame(rows, RATINGS) if isinstance(rows, list) else rows
    return TrainingData(ratings=frame, scale=Scale(min=0.5, max=5, step=0.5))


def place(scratch: Folder) -> Folder:
    return scratch / str(next(fits))


def filled(rows: Rows, fill: str) -> tuple[np.ndarray, np.ndarray]:
    """(users, items) the known ratings and the mean elsewhere, and (users, items) that mean."""
    _, u = np.unique([row[0] for row in rows], return_inverse=True)
    _, i = np.unique([row[1] for row in rows], return_inverse=True)
    r = np.full((u.max() + 1, i.max() + 1), np.nan)
    r[u, i] = [row[2] for row in rows]
    axis = {"mean": None, "item": 0, "user": 1}[fill]
    means = np.broadcast_to(np.nanmean(r, axis=axis, keepdims=True), r.shape)
    return np.where(np.isnan(r), means, r), means


def scores(model: FactorModel) -> np.ndarray:
    """(users, items) mean, biases and factors, in float64."""
    assert model.user_factors is not None
    sides = []
    for side, frame in (("user", model.user_factors), ("item", model.item_factors)):
        rows = sorted(frame_of(frame).collect(), key=lambda row: row[side])
        factors = np.array([row["factors"] for row in rows], np.float64).reshape(len(rows), -1)
        sides.append((factors, np.array([row["bias"] for row in rows], np.float64)))
    (p, b), (q, c) = sides
    return model.mean + b[:, None] + c + p @ q.T


def truncated(centred: np.ndarray, rank: int) -> np.ndarray:
    u, s, v = svds(centred, k=rank, random_state=1)
    made: np.ndarray = (u * s) @ v
    return made


@pytest.mark.parametrize("way", ["in one task", "by jobs"])
@pytest.mark.parametrize("fill", ["mean", "item", "user"])
def test_predictions_are_those_of_scipys_svd_of_the_filled_matrix(
    scratch: Folder, fill: str, way: str, request: pytest.FixtureRequest
) -> None:
    if way == "by jobs":
        request.getfixturevalue("by_jobs")
    whole, means = filled(ROWS, fill)
    model = fit(scratch, fill=fill)
    due = means + truncated(whole - means, 6)
    # Factors are stored as float32: one part in 17 million of each.
    np.testing.assert_allclose(scores(model), due, rtol=0, atol=1e-6)
    found = model.info()
    singular = np.linalg.svd(whole - means, compute_uv=False)[:6]
    assert found["singular_values"] == pytest.approx(singular.tolist(), rel=1e-12)
    assert found["residual"] <= EXACT
    # What is asked of the model is on the scale; a rating that is known is predicted, too.
    asked = scratch.spark.createDataFrame([row[:2] for row in ROWS], "user int, item int")
    predicted = {(r.user, r.item): r.prediction for r in model.predict(asked).frame.collect()}
    expected = {(u, i): float(np.clip(due[u // 2, i // 3], 0.5, 5)) for u, i, _ in ROWS}
    assert predicted == pytest.approx(expected, abs=1e-6)


def test_known_ratings_of_all_ranks_come_back_and_unknown_ones_are_the_mean(
    scratch: Folder,
) -> None:
    whole, _ = filled(ROWS, "user")
    np.testing.assert_allclose(scores(fit(scratch, rank=99, fill="user")), whole, rtol=0, atol=3e-6)


def test_blocks_and_partitions_and_the_way_of_the_sums_change_no_prediction(
    spark: SparkSession, scratch: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(scratch)
    assert whole.info()["blocks"] == 1
    moved = spark.createDataFrame(ROWS[::-1], RATINGS).repartition(5)
    assert scores(fit(scratch, moved)).tobytes() == scores(whole).tobytes()
    monkeypatch.setattr(blocks, "_FEW_ROWS", 20)
    monkeypatch.setattr(blocks, "_FEW_RATINGS", 1)
    monkeypatch.setattr(blocks, "_RATINGS_AN_ITEM", 1)
    split = fit(scratch)
    assert split.info()["blocks"] > 2
    np.testing.assert_allclose(scores(split), scores(whole), rtol=0, atol=1e-6)
    # Passes by jobs, whose blocks are as wide here as those of a task.
    monkeypatch.setattr(blocks, "_RATINGS_OF_A_TASK", 0)
    assert scores(fit(scratch)).tobytes() == scores(split).tobytes()
    # A few rows of a product at a time, added up by tasks: each sum is taken in the same order.
    monkeypatch.setattr(blocks, "_TILE_BYTES", 8 * 16 * 7)
    monkeypatch.setattr(blocks, "_COLLECTED_BYTES", 0)
    assert scores(fit(scratch)).tobytes() == scores(split).tobytes()


def test_another_seed_finds_the_same_vectors(scratch: Folder) -> None:
    np.testing.assert_allclose(
        scores(fit(scratch, seed=2)), scores(fit(scratch)), rtol=0, atol=1e-6
    )


def test_a_search_by_narrow_blocks_may_make_as_many_columns_as_one_by_wide_ones(
    scratch: Folder, request: pytest.FixtureRequest
) -> None:
    rows = rated(200, 120)
    narrow = fit(scratch, rows, rank=30, max_passes=2)
    request.getfixturevalue("by_jobs")
    wide = fit(scratch, rows, rank=30, max_passes=2)
    assert wide.info()["passes"] == 2
    assert narrow.info()["passes"] == 2 * 40 // 16
    assert narrow.info()["residual"] < wide.info()["residual"]


def test_a_search_of_one_pass_finds_as_many_vectors_as_are_asked_for(scratch: Folder) -> None:
    model = fit(scratch, rank=20, oversampling=0, max_passes=1)
    assert len(model.info()["singular_values"]) == 20


def test_of_like_communities_a_vector_of_each_is_found(scratch: Folder) -> None:
    own = rated(12, 8)
    rows = [(24 * n + u, 24 * n + i, r) for n in range(30) for u, i, r in own]
    data = given(scratch, rows)
    settings = SvdImplicitSettings(rank=24)
    model = SvdImplicit(settings).fit(data, scratch=place(scratch), seed=1)
    x = np.zeros((12, 8))
    for user, item, rating in own:
        x[user // 2, item // 3] = rating
    # 30 communities, so that the largest value of one is there 30 times.
    due = np.full(24, np.linalg.svd(x, compute_uv=False)[0])
    np.testing.assert_allclose(model.info()["singular_values"], due, rtol=1e-3)


def test_a_search_that_is_cut_short_says_so(
    scratch: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    model = fit(scratch, max_passes=1, oversampling=0)
    assert model.info()["passes"] == 1
    assert model.info()["residual"] > EXACT
    assert "svd: after 1 passes the residual is" in caplog.text


@pytest.mark.usefixtures("by_jobs")
def test_a_search_above_the_limit_is_refused_by_both_sizes(scratch: Folder) -> None:
    rows = [(n % 9, n, 3.0) for n in range(2000)]
    words = r"search for 40 singular vectors of 2000 items takes 9 MiB .* = 1 is 1 MiB"
    with pytest.raises(MissingError, match=words) as refused:
        fit(scratch, rows, rank=40, max_matrix_mb=1)
    assert refused.value.exit_code == 5
    assert "svd.max_matrix_mb" in str(refused.value.hint)


@pytest.mark.parametrize("values", ["likings", "ratings"])
def test_scores_of_likings_are_those_of_a_matrix_of_zeros_elsewhere(
    scratch: Folder, values: str
) -> None:
    own = {"rank": 6, "tolerance": EXACT, "values": values, "preference_from": 3.5}
    model = SvdImplicit(SvdImplicitSettings.model_validate(own)).fit(
        given(scratch, ROWS), scratch=place(scratch), seed=1
    )
    x = np.zeros((60, 40))
    for user, item, rating in ROWS:
        x[user // 2, item // 3] = rating if values == "ratings" else rating >= 3.5
    np.testing.assert_allclose(
        scores(model), truncated(x, 6), rtol=0, atol=1e-6 if values == "likings" else 3e-6
    )
    assert not model.predicts_ratings


def test_strengths_of_implicit_feedback_are_taken_as_they_are(scratch: Folder) -> None:
    rows = [(u, i, float(np.float32(4 * r))) for u, i, r in ROWS]
    data = TrainingData(ratings=scratch.spark.createDataFrame(rows, RATINGS), scale=None)
    settings = SvdImplicitSettings(rank=6, tolerance=EXACT, values="ratings")
    model = SvdImplicit(settings).fit(data, scratch=place(scratch), seed=1)
    x = np.zeros((60, 40))
    for user, item, strength in rows:
        x[user // 2, item // 3] = strength
    np.testing.assert_allclose(scores(model), truncated(x, 6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [1e-25, 1e22])
def test_strengths_whose_squares_no_float32_holds_are_fitted_like_others(
    scratch: Folder, size: float
) -> None:
    def singular(size: float) -> list[float]:
        rows = [(u, i, size * r) for u, i, r in ROWS]
        data = TrainingData(ratings=scratch.spark.createDataFrame(rows, RATINGS), scale=None)
        model = SvdImplicit(SvdImplicitSettings(rank=6)).fit(data, scratch=place(scratch), seed=1)
        found: list[float] = model.info()["singular_values"]
        return found

    due = size * np.array(singular(1.0))
    np.testing.assert_allclose(singular(size), due, rtol=1e-5)
