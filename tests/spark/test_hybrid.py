"""Hybrid factors against the same turns in NumPy, and users and items that nobody has rated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from recpipe.errors import FitError, MissingError
from recpipe.kernels.als import initial_factors
from recpipe.models.data import ItemFeatures, TrainingData, UserFeatures
from recpipe.models.hybrid.embeddings import ridge
from recpipe.models.hybrid.model import Hybrid
from recpipe.models.hybrid.settings import HybridSettings
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.factors import FactorModel

RANK, TURNS, LAMBDA, KAPPA, ALPHA = 3, 2, 0.7, 2.0, 1.5
SEED = 4
USERS, ITEMS = 24, 18
COLD_USERS, COLD_ITEMS = (22, 23), (16, 17)
GENRES = ("Action", "Drama")
GENDERS = ("F", "M")
"""Users of a gender like the genre of the same place; the cold ones have no rating at all."""
Dense = tuple[dict[int, np.ndarray], dict[int, np.ndarray]]


def likings() -> list[tuple[int, int]]:
    rng = np.random.default_rng(2)
    return [
        (user, item)
        for user in range(USERS)
        for item in range(ITEMS)
        if user not in COLD_USERS
        and item not in COLD_ITEMS
        and rng.random() < (0.6 if user % 2 == item % 2 else 0.1)
    ]


def data_of(spark: SparkSession) -> TrainingData:
    movies = [(i, f"Film {i}", 1990 + i, [GENRES[i % 2]]) for i in range(ITEMS)]
    people = [(u, 20 + u % 3 * 20, GENDERS[u % 2], None, None) for u in range(USERS)]
    tables: dict[str, DataFrame] = {
        "items": spark.createDataFrame([(i, i) for i in range(ITEMS)], "item_id int, item int"),
        "movies": spark.createDataFrame(
            movies, "item_id int, title string, year int, genres array<string>"
        ),
        "users": spark.createDataFrame([(u, u) for u in range(USERS)], "user_id int, user int"),
        "user_features": spark.createDataFrame(
            people, "user_id int, age int, gender string, occupation string, zip string"
        ),
    }
    rows = [(u, i, 5.0) for u, i in likings()]
    return TrainingData(
        ratings=spark.createDataFrame(rows, "user int, item int, rating float"),
        items=ItemFeatures(tables.get),
        users=UserFeatures(tables.get),
    )


def fit(spark: SparkSession, folder: Path, **own: Any) -> FactorModel:
    given = {
        "rank": RANK, "iterations": TURNS, "regularization": LAMBDA, "alpha": ALPHA,
        "feature_regularization": KAPPA, "regularization_exponent": 0.0,
    }  # fmt: skip
    settings = HybridSettings(**{**given, **own})
    return Hybrid(settings).fit(data_of(spark), scratch=Folder(spark, folder), seed=SEED)


def factors_of(model: FactorModel) -> Dense:
    from recpipe.spark.interactions import frame_of

    assert model.user_factors is not None
    found = []
    for table, name in ((model.user_factors, "user"), (model.item_factors, "item")):
        rows = frame_of(table).collect()
        found.append({row[name]: np.array(row["factors"], np.float64) for row in rows})
    return found[0], found[1]


def by_numpy(*, by_count: bool, item: str = "learned", genres: str = "learned") -> Dense:
    """The turns of the module's docstring, dense and in float64."""
    x = np.zeros((USERS, ITEMS))
    x[tuple(np.array(likings()).T)] = 1
    # Features sorted by source and term, and last the one that all have.
    ages = sorted({20 + u % 3 * 20 for u in range(USERS)})
    of_users = np.array(
        [
            [20 + u % 3 * 20 == age for age in ages] + [GENDERS[u % 2] == g for g in GENDERS] + [1]
            for u in range(USERS)
        ],
        np.float64,
    )
    decades = [1990, 2000]
    of_items = np.array(
        [
            [GENRES[i % 2] == g for g in GENRES]
            + [(1990 + i) // 10 * 10 == decade for decade in decades]
            + [1]
            for i in range(ITEMS)
        ],
        np.float64,
    )
    constant = np.array([genres == "constant"] * 2 + [False] * 3)
    e_users, e_items = np.zeros((6, RANK)), np.zeros((5, RANK))
    drawn = initial_factors(np.arange(5, dtype=np.int32), rank=RANK, seed=SEED + 1, side=1)
    e_items[constant] = drawn[constant, :RANK]
    rated_users = [u for u in range(USERS) if u not in COLD_USERS]
    rated_items = [i for i in range(ITEMS) if i not in COLD_ITEMS]
    p = initial_factors(np.array(rated_users, np.int32), rank=RANK, seed=SEED, side=0)[:, :RANK]
    p = p.astype(np.float64)
    x = x[np.ix_(rated_users, rated_items)]
    f_users, f_items = of_users[rated_users], of_items[rated_items]

    def drawn_to(prior: np.ndarray, likes: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = np.empty((len(likes), RANK))
        for row, own in enumerate(likes):
            penalty = LAMBDA * (own.sum() if by_count else 1)
            matrix = other.T @ (other * (1 + ALPHA * own)[:, None]) + penalty * np.eye(RANK)
            right = other.T @ ((1 + ALPHA) * own) + penalty * prior[row]
            found[row] = np.linalg.solve(matrix, right)
        return found

    def explained(features: np.ndarray, factors: np.ndarray, counts: np.ndarray) -> np.ndarray:
        weights = np.diag(counts if by_count else np.ones(len(counts)))
        matrix = features.T @ weights @ features + KAPPA * np.eye(features.shape[1])
        found: np.ndarray = np.linalg.solve(matrix, features.T @ weights @ factors)
        return found

    for _ in range(TURNS):
        q = drawn_to(f_items @ e_items, x.T, p)
        free, held = ~constant, np.where(constant[:, None], e_items, 0)
        e_items[free] = explained(f_items[:, free], q - f_items @ held, x.sum(0))
        if item == "constant":
            q = f_items @ e_items
        p = drawn_to(f_users @ e_users, x, q)
        e_users = explained(f_users, p, x.sum(1))
    users, items = dict(enumerate(of_users @ e_users)), dict(enumerate(of_items @ e_items))
    users |= dict(zip(rated_users, p, strict=True))
    items |= dict(zip(rated_items, q, strict=True))
    return users, items


@pytest.mark.parametrize(
    "own",
    [
        {"regularization_exponent": 0.0},
        {"regularization_exponent": 1.0, "item": "constant", "genres": "constant"},
    ],
)
def test_factors_are_those_of_the_turns_in_numpy(
    spark: SparkSession, tmp_path: Path, own: dict[str, Any]
) -> None:
    model = fit(spark, tmp_path, **own)
    rest = {key: value for key, value in own.items() if key != "regularization_exponent"}
    due = by_numpy(by_count=own["regularization_exponent"] > 0, **rest)
    for found, expected in zip(factors_of(model), due, strict=True):
        assert sorted(found) == sorted(expected)
        for number, row in expected.items():
            assert found[number] == pytest.approx(row, abs=2e-4), number
    assert model.info()["cold_items"] == len(COLD_ITEMS)


def test_who_was_never_rated_is_scored_by_features(spark: SparkSession, tmp_path: Path) -> None:
    model = fit(spark, tmp_path, iterations=8)
    asked = spark.createDataFrame([(0,), (1,), *((u,) for u in COLD_USERS)], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    scores = {
        (row.user, row.item): row.score
        for row in model.recommend(asked, n=ITEMS, seen=nothing).frame.collect()
    }
    assert len(scores) == 4 * ITEMS
    for user in (0, 1, *COLD_USERS):
        liked, other = sorted(COLD_ITEMS, key=lambda item: item % 2 != user % 2)
        assert scores[user, liked] > scores[user, other]


def test_factors_that_do_not_fit_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"factors of one side take \d+ MiB") as refusal:
        fit(spark, tmp_path, rank=100_000, max_broadcast_mb=1)
    assert refusal.value.hint


def test_nothing_that_is_liked_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="hybrid: no rating to fit"):
        fit(spark, tmp_path, preference_from=6.0)


def test_a_ridge_regression_is_that_of_its_normal_equations() -> None:
    rng = np.random.default_rng(8)
    features = sparse.random(50, 20, density=0.2, random_state=1, format="csr")
    targets, weights = rng.normal(size=(50, 4)), rng.uniform(0, 9, 50)
    dense = features.toarray()
    matrix = dense.T @ np.diag(weights) @ dense + 0.3 * np.eye(20)
    due = np.linalg.solve(matrix, dense.T @ (weights[:, None] * targets))
    for start in (np.zeros((20, 4)), rng.normal(size=(20, 4))):
        found = ridge(features, targets, weights, 0.3, start=start)
        np.testing.assert_allclose(found, due, rtol=0, atol=1e-5)
