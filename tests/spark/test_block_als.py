from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.ml.recommendation import ALS
from pyspark.sql import functions as F

from recpipe.errors import FitError, MissingError
from recpipe.feedback import Scale
from recpipe.kernels.als import initial_factors
from recpipe.models import registry
from recpipe.models.als.block.model import BlockAls, BlockAlsImplicit
from recpipe.models.als.block.packing import Rows
from recpipe.models.als.block.solving import Solve
from recpipe.models.als.mllib import preferences
from recpipe.models.als.settings import BlockAlsImplicitSettings, BlockAlsSettings
from recpipe.models.data import TrainingData
from recpipe.spark.interactions import Interactions, frame_of
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.factors import FactorModel

    Arrays = tuple[NDArray[np.int32], NDArray[np.float64]]

RATINGS = "user int, item int, rating float"
SCALE = Scale(min=1, max=5, step=1)
USERS, ITEMS, RANK, ITERATIONS = 40, 25, 3, 2
# A fit's frames are read from its scratch, so each has one of its own.
fits = itertools.count()


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path) / "scratch"


@pytest.fixture(scope="module")
def pairs() -> list[tuple[int, int, float]]:
    """Stars of some users for some items; ids with gaps, the last item of a huge number."""
    rng = np.random.default_rng(5)
    drawn = rng.random((USERS, ITEMS))
    return [
        (3 * u, 2_000_000_000 if i == ITEMS - 1 else 2 * i, float(rng.integers(1, 6)))
        for u in range(USERS)
        for i in range(ITEMS)
        if drawn[u, i] < 0.4
    ]


@pytest.fixture
def train(spark: SparkSession, pairs: list[tuple[int, int, float]]) -> DataFrame:
    return spark.createDataFrame(pairs, RATINGS)


def explicit(scratch: Folder, train: DataFrame, **own: Any) -> FactorModel:
    settings = BlockAlsSettings(**{"rank": RANK, "iterations": ITERATIONS, "blocks": 3, **own})
    data = TrainingData(ratings=train, scale=SCALE)
    return BlockAls(settings).fit(data, scratch=scratch / str(next(fits)), seed=42)


def implicit(scratch: Folder, train: DataFrame, **own: Any) -> FactorModel:
    settings = BlockAlsImplicitSettings(
        **{"rank": RANK, "iterations": ITERATIONS, "blocks": 3, **own}
    )
    data = TrainingData(ratings=train, scale=SCALE)
    return BlockAlsImplicit(settings).fit(data, scratch=scratch / str(next(fits)), seed=42)


def factors(rows: Interactions | None, key: str) -> Arrays:
    assert rows is not None
    table = frame_of(rows).select(key, "factors").toPandas().sort_values(key)
    return table[key].to_numpy(), np.array(table["factors"].tolist(), dtype=np.float64)


def bits(model: FactorModel) -> list[bytes]:
    sides = (factors(model.user_factors, "user"), factors(model.item_factors, "item"))
    return [array.tobytes() for side in sides for array in side]


def alternated(
    pairs: list[tuple[int, int, float]],
    *,
    regularization: float,
    alpha: float | None,
    ials: tuple[float, float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The whole fit by dense solves in float64: of ratings or, with alpha, of strengths.

    With `ials`, which is alpha0 and nu, by the objective of Rendle et al. 2021.
    """
    users, u = np.unique([p[0] for p in pairs], return_inverse=True)
    items, i = np.unique([p[1] for p in pairs], return_inverse=True)
    value = np.array([p[2] for p in pairs])
    rated, values = np.zeros((len(users), len(items))), np.zeros((len(users), len(items)))
    rated[u, i], values[u, i] = 1, value

    def half(rated: Any, values: Any, y: NDArray[np.float64]) -> NDArray[np.float64]:
        out = []
        for mask, row in zip(rated, values, strict=True):
            weight = mask if alpha is None else 1 + alpha * np.abs(row)
            target = row if alpha is None else row > 0
            count = mask.sum() if alpha is None else (row > 0).sum()
            if ials and alpha is not None:
                target, weight = alpha * row / (alpha * row + ials[0]), alpha * row + ials[0]
                count = (count + ials[0] * len(row)) ** ials[1]
            matrix = (y.T * weight) @ y + regularization * count * np.eye(RANK)
            out.append(np.linalg.solve(matrix, y.T @ (weight * target)))
        return np.array(out)

    first = initial_factors(users.astype(np.int32), rank=RANK, seed=42, side=0)
    p = first[:, :RANK].astype(np.float64)
    for _ in range(ITERATIONS):
        q = half(rated.T, values.T, p)
        p = half(rated, values, q)
    return p, q


def test_the_fit_is_that_of_dense_solves(
    scratch: Folder, train: DataFrame, pairs: list[tuple[int, int, float]]
) -> None:
    model = explicit(scratch, train, regularization=0.05)
    p, q = alternated(pairs, regularization=0.05, alpha=None)
    np.testing.assert_allclose(factors(model.user_factors, "user")[1], p, rtol=0, atol=1e-3)
    np.testing.assert_allclose(factors(model.item_factors, "item")[1], q, rtol=0, atol=1e-3)
    assert model.info()["blocks"] == 3
    assert model.info()["ratings"] == len(pairs)


@pytest.mark.parametrize("below", ["unobserved", "disliked"])
def test_ratings_become_preference_and_confidence_as_for_als_implicit(
    scratch: Folder, train: DataFrame, below: str
) -> None:
    own = {"below": below, "confidence": "rating", "alpha": 4.0, "preference_from": 3.0}
    model = implicit(scratch, train, regularization=0.05, **own)
    fed = preferences(
        TrainingData(ratings=train, scale=SCALE), settings=BlockAlsImplicitSettings(**own)
    ).collect()
    p, q = alternated([tuple(row) for row in fed], regularization=0.05, alpha=4.0)
    np.testing.assert_allclose(factors(model.user_factors, "user")[1], p, rtol=0, atol=1e-3)
    np.testing.assert_allclose(factors(model.item_factors, "item")[1], q, rtol=0, atol=1e-3)
    assert not model.predict(train).frame.count(), "what it scores are not ratings"


@pytest.mark.parametrize("exchange", ["spark", "ring"])
def test_the_objective_of_ials_is_fitted_as_dense_solves_do(
    scratch: Folder, train: DataFrame, pairs: list[tuple[int, int, float]], exchange: str
) -> None:
    own: dict[str, Any] = {"loss": "ials", "unobserved_weight": 0.2}
    own["regularization_exponent"] = 0.6
    shared = {"alpha": 1.0, "preference_from": 1.0, "regularization": 0.05}
    model = implicit(scratch, train, exchange=exchange, **shared, **own)
    liked = [(user, item, 1.0) for user, item, _ in pairs]
    p, q = alternated(liked, regularization=0.05, alpha=1.0, ials=(0.2, 0.6))
    np.testing.assert_allclose(factors(model.user_factors, "user")[1], p, rtol=0, atol=1e-3)
    np.testing.assert_allclose(factors(model.item_factors, "item")[1], q, rtol=0, atol=1e-3)


@pytest.mark.parametrize("fit", [explicit, implicit])
def test_steps_in_subspaces_come_to_the_same_fit(
    scratch: Folder, train: DataFrame, fit: Any
) -> None:
    own = {"regularization": 0.3, "blocks": 1}
    exact = fit(scratch, train, iterations=60, **own)
    steps = fit(scratch, train, iterations=60, subspace=2, **own)
    scores = [
        factors(model.user_factors, "user")[1] @ factors(model.item_factors, "item")[1].T
        for model in (exact, steps)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("own", "width"),
    [
        ({"rank": 255}, 0),
        ({"rank": 256}, 64),
        ({"rank": 300}, 64),
        ({"rank": 2048}, 128),
        ({"rank": 256, "subspace": 0}, 0),
        ({"rank": 256, "solver": "cg"}, 0),
        ({"rank": 20, "subspace": 16}, 16),
        ({"rank": 16, "subspace": 16}, 0),
    ],
)
def test_steps_in_subspaces_are_taken_from_rank_256_on_or_as_set(
    own: dict[str, Any], width: int
) -> None:
    assert BlockAlsSettings(**own).subspace_width(own["rank"]) == width


def test_subspaces_are_for_one_solver() -> None:
    with pytest.raises(ValueError, match="subspace = 8 is for solver = cholesky"):
        BlockAlsSettings(solver="cg", subspace=8)


def test_order_and_partitions_of_the_input_do_not_change_a_bit(
    scratch: Folder, train: DataFrame
) -> None:
    expected = bits(explicit(scratch, train))
    shuffled = train.orderBy(F.rand(1)).repartition(5)
    assert bits(explicit(scratch, shuffled)) == expected
    # Rows are solved apart from each other, so not even the blocks do.
    assert bits(explicit(scratch, train, blocks=1)) == expected
    assert bits(explicit(scratch, train, blocks=7)) == expected


def test_another_seed_is_another_model(spark: SparkSession, scratch: Folder) -> None:
    train = spark.createDataFrame([(u, i, 3.0) for u in range(5) for i in range(4)], RATINGS)
    model, data = BlockAls(BlockAlsSettings(rank=2, iterations=1)), TrainingData(ratings=train)
    one, two = (model.fit(data, scratch=scratch / str(seed), seed=seed) for seed in (1, 2))
    one_users = factors(one.user_factors, "user")[1]
    assert not np.allclose(one_users, factors(two.user_factors, "user")[1])


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace", "ials"])
def test_factors_by_block_are_those_of_the_broadcast_to_the_bit(
    spark: SparkSession, scratch: Folder, solver: str
) -> None:
    # 17,600 liked items at 64 bytes pass one MiB; a block's ratings name a third of them.
    rows = spark.range(22_000).select(
        F.pmod(F.col("id") * 7, F.lit(30)).cast("int").alias("user"),
        F.col("id").cast("int").alias("item"),
        (1 + F.pmod("id", F.lit(5))).cast("float").alias("rating"),
    )
    own: dict[str, Any] = {"iterations": 2, "preference_from": 2.0, "regularization": 1.0}
    own["exchange"] = "spark"
    ways: dict[str, dict[str, Any]] = {"subspace": {"subspace": 2}, "ials": {"loss": "ials"}}
    own.update(ways.get(solver, {"solver": solver}))
    whole = implicit(scratch, rows, **own)
    by_block = implicit(scratch, rows, max_broadcast_mb=1, **own)
    assert whole.info()["exchange"] == "broadcast"
    assert by_block.info()["exchange"] == "by block"
    assert bits(by_block) == bits(whole)


def test_factors_that_fit_nowhere_are_refused(spark: SparkSession, scratch: Folder) -> None:
    rows = spark.range(20_000).select(
        F.lit(1).alias("user"), F.col("id").cast("int").alias("item"), F.lit(4.0).alias("rating")
    )
    with pytest.raises(MissingError, match="max_broadcast_mb = 1") as refused:
        explicit(scratch, rows, max_broadcast_mb=1)
    assert refused.value.exit_code == 5


@pytest.mark.parametrize("exponent", [1, 0])
def test_every_iteration_lowers_the_objective(
    scratch: Folder, train: DataFrame, pairs: list[tuple[int, int, float]], exponent: int
) -> None:
    def objective(iterations: int) -> float:
        model = explicit(
            scratch,
            train,
            iterations=iterations,
            regularization=0.1,
            regularization_exponent=exponent,
            blocks=1,
        )
        (users, p), (items, q) = (
            factors(model.user_factors, "user"),
            factors(model.item_factors, "item"),
        )
        u = np.searchsorted(users, [pair[0] for pair in pairs])
        i = np.searchsorted(items, [pair[1] for pair in pairs])
        error = np.array([pair[2] for pair in pairs]) - (p[u] * q[i]).sum(axis=1)
        norms = [(a**2).sum(axis=1) @ np.bincount(n) ** exponent for a, n in ((p, u), (q, i))]
        return float((error**2).sum() + 0.1 * sum(norms))

    values = [objective(n) for n in (1, 2, 4)]
    assert values[0] > values[1] > values[2]


def test_conjugate_gradients_come_to_the_same_fit(scratch: Folder, train: DataFrame) -> None:
    exact = explicit(scratch, train, iterations=8, blocks=1)
    steps = explicit(scratch, train, iterations=8, blocks=1, solver="cg")
    expected = exact.predict(train).frame.withColumnRenamed("prediction", "expected")
    apart = steps.predict(train).frame.join(expected, ["user", "item"])
    assert apart.agg(F.max(F.abs(F.col("prediction") - F.col("expected")))).collect()[0][0] < 0.1


def test_unknown_users_and_items_predict_nothing(
    spark: SparkSession, scratch: Folder, train: DataFrame
) -> None:
    model = explicit(scratch, train)
    asked = spark.createDataFrame([(3, 2), (1, 2), (3, 1)], "user int, item int")
    assert [(row.user, row.item) for row in model.predict(asked).frame.collect()] == [(3, 2)]
    nobody = spark.createDataFrame([(1,)], "user int")
    seen = spark.createDataFrame([], "user int, item int")
    assert not model.recommend(nobody, n=3, seen=seen).frame.collect()


def test_a_saved_model_is_the_same_when_loaded(
    spark: SparkSession, scratch: Folder, tmp_path: Path, train: DataFrame
) -> None:
    for fit in (explicit, implicit):
        model = fit(scratch, train)
        folder = Folder(spark, tmp_path) / model.name
        model.save(folder)
        again = registry.load(folder)
        assert bits(again) == bits(model)  # type: ignore[arg-type]
        assert again.refit_config == model.refit_config


def users_of(model: FactorModel, train: DataFrame, items: DataFrame) -> NDArray[np.float64]:
    """The factors of the users of `train` by one half-iteration from these items' factors."""
    again: Any = model.refit_config
    plan = Solve("ours", again.objective(), "cholesky", cg_steps=1, subspace=0, seed=0)
    ids, values = factors(items, "item")
    known = np.zeros((len(ids), plan.width), np.float32)
    known[:, :RANK] = values
    fed = frame_of(again.fed(TrainingData(ratings=train, scale=SCALE))).toPandas()
    own = np.unique(fed["user"], return_inverse=True)[1].astype(np.int32)
    at = np.searchsorted(ids, fed["item"]).astype(np.int32)
    rows = Rows.of(own, at, fed["rating"].to_numpy(np.float32), rows=own.max() + 1)
    solved, bad = plan.rows(
        rows, known, plan.gram(known).astype(np.float32), None, others=len(known)
    )
    assert bad == -1
    return solved[:, :RANK].astype(np.float64)


@pytest.mark.parametrize("below", ["explicit", "disliked"])
def test_a_row_is_solved_as_mllib_solves_it(train: DataFrame, below: str) -> None:
    fed, theirs = train, dict[str, Any]()
    ours: BlockAls | BlockAlsImplicit = BlockAls(BlockAlsSettings(rank=RANK, regularization=0.07))
    if below != "explicit":
        own = BlockAlsImplicitSettings(
            rank=RANK, regularization=0.07, below="disliked", alpha=4.0, preference_from=3.0
        )
        ours, theirs = BlockAlsImplicit(own), {"implicitPrefs": True, "alpha": 4.0}
        fed = preferences(TrainingData(ratings=train, scale=SCALE), settings=own)
    # MLlib's last half-iteration solves users from the items that it hands back.
    found = ALS(rank=RANK, maxIter=2, regParam=0.07, seed=1, **theirs).fit(fed)
    (users, p), (items, q) = (
        factors(frame.withColumnsRenamed({"id": side, "features": "factors"}), side)
        for frame, side in ((found.userFactors, "user"), (found.itemFactors, "item"))
    )
    plan = Solve("block_als", ours.objective(), "cholesky", cg_steps=1, subspace=0, seed=0)
    other = np.zeros((len(items), plan.width), np.float32)
    other[:, :RANK] = q
    rated = fed.toPandas()
    rows = Rows.of(
        np.searchsorted(users, rated["user"]).astype(np.int32),
        np.searchsorted(items, rated["item"]).astype(np.int32),
        rated["rating"].to_numpy(np.float32),
        rows=len(users),
    )
    solved, singular = plan.rows(
        rows, other, plan.gram(other).astype(np.float32), None, others=len(other)
    )
    assert singular == -1
    np.testing.assert_allclose(solved[:, :RANK], p, rtol=1e-3, atol=1e-4)


def test_no_rating_is_no_fit(scratch: Folder, train: DataFrame) -> None:
    with pytest.raises(FitError, match="block_als: no rating to fit"):
        explicit(scratch, train.where("rating > 9"))


def test_a_row_that_nothing_determines_is_named(spark: SparkSession, scratch: Folder) -> None:
    train = spark.createDataFrame([(4, 1, 3.0)], RATINGS)
    with pytest.raises(FitError, match="factors of item 1 are not determined"):
        explicit(scratch, train, regularization=0)


def test_a_pair_that_occurs_twice_counts_twice(spark: SparkSession, scratch: Folder) -> None:
    once = [(u, i, float(u + i)) for u in range(4) for i in range(4)]
    twice = spark.createDataFrame([*once, *once], RATINGS)
    own = {"regularization_exponent": 0.0, "iterations": 3}
    doubled = explicit(scratch, twice, regularization=0.2, **own)
    single = explicit(scratch, spark.createDataFrame(once, RATINGS), regularization=0.1, **own)
    np.testing.assert_allclose(
        factors(doubled.item_factors, "item")[1],
        factors(single.item_factors, "item")[1],
        rtol=1e-3,
        atol=1e-3,
    )
