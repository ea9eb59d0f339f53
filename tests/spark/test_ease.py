"""EASE against its closed form in NumPy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError, MissingError
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.linear import dealing, gram, tiled, weights
from recpipe.models.linear.ease import Ease, EaseModel
from recpipe.models.linear.settings import EaseSettings
from recpipe.models.neighbours import rows as packed_rows
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.ranking import item_blocks
from recpipe.ranking.similar import Wanted
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

RATINGS = "user int, item int, rating float"
PENALTY = 3.0
SHAPES = {"items": (40, 15), "users": (15, 40)}
"""Users and items, by what the matrix is of."""
Rows = list[tuple[int, int, float]]
Lists = dict[int, list[tuple[int, float]]]
fits = itertools.count()


@pytest.fixture(scope="module")
def scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(spark, tmp_path_factory.mktemp("ease"))


@pytest.fixture(scope="module")
def fitted(scratch: Folder) -> Callable[[str, str], EaseModel]:
    """The model of a shape and of `values`; each is fitted once."""
    return cache(lambda matrix, values: fit(scratch, rated(*SHAPES[matrix]), values=values))


def rated(users: int, items: int, *, share: float = 0.4, seed: int = 1) -> Rows:
    """Some pairs, rated 0.1 to 5.0; ids have gaps, and the last item's number is huge."""
    rng = np.random.default_rng(seed)
    there, stars = rng.random((users, items)) < share, rng.integers(1, 51, (users, items)) / 10
    number = [*range(0, 3 * (items - 1), 3), 2_000_000_000]
    # float32, as the ratings of tables are.
    return [
        (2 * int(u), number[int(i)], float(np.float32(stars[u, i]))) for u, i in np.argwhere(there)
    ]


def fit(scratch: Folder, rows: Rows | DataFrame, **own: Any) -> EaseModel:
    model = fit_any(scratch, rows, **own)
    assert isinstance(model, EaseModel)
    return model


def fit_sparse(scratch: Folder, rows: Rows | DataFrame, **own: Any) -> NeighbourModel:
    model = fit_any(scratch, rows, **{"method": "sparse", **own})
    assert isinstance(model, NeighbourModel)
    return model


def fit_any(scratch: Folder, rows: Rows | DataFrame, **own: Any) -> EaseModel | NeighbourModel:
    frame = scratch.spark.createDataFrame(rows, RATINGS) if isinstance(rows, list) else rows
    settings = EaseSettings(**{"regularization": PENALTY, **own})
    place = scratch / str(next(fits))
    return Ease(settings).fit(TrainingData(ratings=frame), scratch=place, seed=1)


@dataclass(frozen=True)
class Closed:
    """EASE as the paper has it.

    Args:
        users: (n,) with a value.
        items: (m,) with a value.
        x: (n, m) values.
        weights: (m, m) B.
    """

    users: list[int]
    items: list[int]
    x: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, rows: Rows, *, values: str, preference_from: float = 4.0) -> Closed:
        if values == "likings":
            rows = [(u, i, 1.0) for u, i, r in rows if r >= np.float32(preference_from)]
        users, u = np.unique([row[0] for row in rows], return_inverse=True)
        items, i = np.unique([row[1] for row in rows], return_inverse=True)
        x = np.zeros((len(users), len(items)))
        x[u, i] = [row[2] for row in rows]
        p = np.linalg.inv(x.T @ x + PENALTY * np.eye(len(items)))
        b = -p / np.diag(p)
        np.fill_diagonal(b, 0)
        return cls(users.tolist(), items.tolist(), x, b)

    def scores(self) -> dict[int, dict[int, float]]:
        found = (self.x @ self.weights).tolist()
        return {
            user: dict(zip(self.items, row, strict=True))
            for user, row in zip(self.users, found, strict=True)
        }


def weights_of(model: EaseModel | NeighbourModel) -> tuple[list[int], np.ndarray]:
    """Items, ascending, and B of the tables of a fitted model."""
    if isinstance(model, NeighbourModel):
        rows = sorted(model.table.frame.collect(), key=lambda row: row["item"])
        numbers = [row["item"] for row in rows]
        found = np.zeros((len(rows), len(rows)))
        for column, row in enumerate(rows):
            sources = np.searchsorted(numbers, np.frombuffer(row["sources"], np.int32))
            found[sources, column] = np.frombuffer(row["numbers"], np.float32)
        return numbers, found
    rows = sorted(model.weights.frame.collect(), key=lambda row: row["item"])
    items = [row["item"] for row in rows]
    if model.vectors is None:
        return items, np.array([np.frombuffer(row["weights"], np.float32) for row in rows]).T
    factors = np.array([np.frombuffer(row["factors"], np.float32) for row in rows])
    own = np.array([row["own"] for row in rows])
    # Of y / (1 - y . y) and, as `own`, y . y / (1 - y . y).
    y = factors / (1 + own)[:, None]
    b = y @ factors.T
    assert np.diag(b) == pytest.approx(own, abs=1e-6)
    np.fill_diagonal(b, 0)
    return items, b


def lists(
    model: EaseModel | NeighbourModel, users: list[int], seen: Sequence[Any] = (), *, n: int = 10**6
) -> Lists:
    spark = model.spark
    asked = spark.createDataFrame([(user,) for user in users], "user int")
    left_out = spark.createDataFrame([row[:2] for row in seen], "user int, item int")
    found: Lists = {}
    for row in sorted(
        model.recommend(asked, n=n, seen=left_out).frame.collect(),
        key=lambda row: (row["user"], row["rank"]),
    ):
        found.setdefault(row["user"], []).append((row["item"], row["score"]))
    return found


@pytest.mark.parametrize("values", ["likings", "ratings"])
@pytest.mark.parametrize("matrix", SHAPES)
def test_weights_and_scores_are_those_of_the_closed_form(
    fitted: Callable[[str, str], EaseModel], matrix: str, values: str
) -> None:
    rows = rated(*SHAPES[matrix])
    closed, model = Closed.of(rows, values=values), fitted(matrix, values)
    assert model.info() == {
        "items": len(closed.items), "users": len(closed.users), "regularization": PENALTY,
        "matrix": matrix,
    }  # fmt: skip
    items, found = weights_of(model)
    assert items == closed.items
    np.testing.assert_allclose(found, closed.weights, rtol=0, atol=1e-6)
    # With nothing left out the diagonal of zeros shows: no item speaks for itself.
    listed = lists(model, [*closed.users, 999])
    assert sorted(listed) == closed.users
    for user, due in closed.scores().items():
        scores = dict(listed[user])
        assert scores.keys() == due.keys()
        assert scores == pytest.approx(due, rel=1e-6, abs=1e-6)
        order = sorted(scores, key=lambda item: (-scores[item], item))
        assert [item for item, _ in listed[user]] == order


@pytest.mark.parametrize("matrix", SHAPES)
def test_lists_are_the_best_of_the_closed_form_without_the_seen_items(
    fitted: Callable[[str, str], EaseModel], matrix: str
) -> None:
    rows = rated(*SHAPES[matrix])
    closed, model = Closed.of(rows, values="likings"), fitted(matrix, "likings")
    seen = {row[:2] for row in rows}
    listed = lists(model, closed.users, rows, n=4)
    for user, scores in closed.scores().items():
        left = {item: score for item, score in scores.items() if (user, item) not in seen}
        best = sorted(left.values(), reverse=True)[:4]
        assert [score for _, score in listed[user]] == pytest.approx(best, abs=1e-6)
        assert {item for item, _ in listed[user]} <= set(left)


@pytest.mark.parametrize("matrix", SHAPES)
def test_tiles_and_blocks_change_no_weight(
    scratch: Folder,
    fitted: Callable[[str, str], EaseModel],
    matrix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rated(*SHAPES[matrix])
    closed = Closed.of(rows, values="ratings")
    whole, counted = (bits(fitted(matrix, values)) for values in ("ratings", "likings"))
    # Rows of the matrix three at a time: every sum is taken in the order in which it was.
    monkeypatch.setattr(gram, "_TILE_BYTES", 3 * 8 * 15)
    monkeypatch.setattr(weights, "_BLOCK_BYTES", 4 * 8 * 15)
    assert bits(fit(scratch, rows, values="ratings")) == whole
    # Several blocks of users: sums of sums, so a few digits.
    monkeypatch.setattr(gram, "_MIN_USERS", 3)
    monkeypatch.setattr(gram, "_PRODUCTS_OF_A_NUMBER", 1)
    blocks = fit(scratch, rows, values="ratings")
    np.testing.assert_allclose(weights_of(blocks)[1], closed.weights, rtol=0, atol=1e-6)
    # Likings are counted, and counts are exact.
    assert bits(fit(scratch, rows)) == counted


def bits(model: EaseModel) -> list[Any]:
    """Of weights, vectors and lists."""
    tables = [model.weights, *([model.vectors] if model.vectors else [])]
    users = [row["user"] for row in model.histories.frame.select("user").distinct().collect()]
    return [
        [sorted(map(tuple, table.frame.collect())) for table in tables],
        sorted(lists(model, users, n=5).items()),
    ]


@pytest.mark.parametrize("matrix", SHAPES)
def test_partitions_and_the_order_of_rows_change_no_bit(
    spark: SparkSession,
    scratch: Folder,
    fitted: Callable[[str, str], EaseModel],
    matrix: str,
) -> None:
    rows = rated(*SHAPES[matrix])
    whole = bits(fitted(matrix, "ratings"))
    try:
        spark.conf.set("spark.sql.shuffle.partitions", "7")
        moved = spark.createDataFrame(rows[::-1], RATINGS).repartition(5)
        assert bits(fit(scratch, moved, values="ratings")) == whole
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "2")


@pytest.mark.parametrize(
    ("users", "items", "matrix", "least"), [(700, 600, "items", 400), (300, 1000, "users", 800)]
)
def test_items_in_blocks_have_the_lists_of_items_sent_whole(
    scratch: Folder,
    monkeypatch: pytest.MonkeyPatch,
    users: int,
    items: int,
    matrix: str,
    least: int,
) -> None:
    # A block of items at 4 bytes for each number of the smaller side just passes a MiB.
    rows = rated(users, items, share=0.05)
    whole = fit(scratch, rows, preference_from=0.1)
    assert whole.info()["matrix"] == matrix
    monkeypatch.setattr(item_blocks, "MIN_ITEMS", least)
    split = replace(whole, max_broadcast_mb=1)
    sent = split.scoring.items()
    assert isinstance(sent, item_blocks.ItemBlocks)
    assert len(sent.blocks) == 2
    some = [0, 2, 10, 2 * users - 2]
    assert lists(split, some, rows, n=30) == lists(whole, some, rows, n=30)


@pytest.mark.parametrize(
    ("users", "items", "words"),
    [
        (1500, 1000, r"matrix of 1000 items takes 8 MiB .*ease\.max_matrix_mb = 1 is 1 MiB"),
        (800, 1000, r"matrix of 800 users takes 5 MiB .*ease\.max_matrix_mb = 1 is 1 MiB"),
    ],
)
def test_a_matrix_above_the_limit_is_refused_by_both_sizes(
    scratch: Folder, users: int, items: int, words: str
) -> None:
    rows = [(n % users, n % items, 5.0) for n in range(max(users, items))]
    with pytest.raises(MissingError, match=words) as refused:
        fit(scratch, rows, max_matrix_mb=1, method="dense")
    assert refused.value.exit_code == 5
    assert "ease.max_matrix_mb" in str(refused.value.hint)


# -- tiles on the executors -------------------------------------------------------------------


@pytest.mark.parametrize("values", ["likings", "ratings"])
@pytest.mark.parametrize("strip", [4, 15, 2048])
def test_weights_by_tiles_are_those_of_the_closed_form_and_lists_those_of_the_dense_fit(
    scratch: Folder,
    fitted: Callable[[str, str], EaseModel],
    monkeypatch: pytest.MonkeyPatch,
    values: str,
    strip: int,
) -> None:
    rows = rated(*SHAPES["items"])
    closed, dense = Closed.of(rows, values=values), fitted("items", values)
    # Strips of 4, 4, 4 and 3 rows, which are made into weights 3 at a time.
    monkeypatch.setattr(tiled, "_STRIP", strip)
    monkeypatch.setattr(tiled, "_CHUNK_BYTES", 3 * 8 * 15)
    monkeypatch.setattr(tiled, "_COLLECTED_BYTES", 2 * 8 * strip**2)
    model = fit(scratch, rows, values=values, method="tiled")
    items, found = weights_of(model)
    assert items == closed.items
    np.testing.assert_allclose(found, closed.weights, rtol=1e-5, atol=1e-9)
    assert model.info() == dense.info()
    users = closed.users
    listed, due = lists(model, users, rows, n=5), lists(dense, users, rows, n=5)
    assert {user: [item for item, _ in best] for user, best in listed.items()} == {
        user: [item for item, _ in best] for user, best in due.items()
    }
    # Nothing is left of the tiles.
    assert model.weights.path is not None
    assert sorted(Folder(scratch.spark, model.weights.path.rsplit("/", 1)[0]).list()) == [
        "histories", "weights",
    ]  # fmt: skip


def test_tiles_are_of_items_where_users_are_fewer(
    scratch: Folder, fitted: Callable[[str, str], EaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rated(*SHAPES["users"])
    monkeypatch.setattr(tiled, "_STRIP", 16)
    # No matrix that the driver would hold is too large.
    model = fit(scratch, rows, values="ratings", method="tiled", max_matrix_mb=1)
    assert model.info()["matrix"] == "items"
    items, found = weights_of(model)
    due_items, due = weights_of(fitted("users", "ratings"))
    assert items == due_items
    np.testing.assert_allclose(found, due, rtol=1e-4, atol=1e-6)


def test_a_matrix_in_tiles_that_has_no_inverse_is_a_failed_fit(
    scratch: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "_STRIP", 1)
    # Four users like both items, so that the second column is what the first one is.
    rows = [(user, item, 5.0) for user in range(4) for item in (0, 1)]
    with pytest.raises(FitError, match="the matrix of items is singular") as refused:
        fit(scratch, rows, method="tiled", regularization=1e-300)
    assert "ease.regularization" in str(refused.value.hint)


def test_tiles_have_the_same_bits_whatever_the_order_of_rows(
    spark: SparkSession, scratch: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rated(*SHAPES["items"])
    monkeypatch.setattr(tiled, "_STRIP", 7)
    monkeypatch.setattr(packed_rows, "_VALUES_OF_A_PART", 50)
    whole = bits(fit(scratch, rows, values="ratings", method="tiled"))
    moved = spark.createDataFrame(rows[::-1], RATINGS).repartition(5)
    assert bits(fit(scratch, moved, values="ratings", method="tiled")) == whole


# -- sparse weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["likings", "ratings"])
@pytest.mark.parametrize("matrix", SHAPES)
def test_sparse_weights_of_all_items_are_those_of_the_closed_form(
    scratch: Folder, matrix: str, values: str
) -> None:
    rows = rated(*SHAPES[matrix])
    closed = Closed.of(rows, values=values)
    model = fit_sparse(scratch, rows, values=values, density=1.0)
    items, found = weights_of(model)
    assert items == closed.items
    np.testing.assert_allclose(found, closed.weights, rtol=0, atol=1e-5)
    listed = lists(model, [*closed.users, 999])
    assert sorted(listed) == closed.users
    for user, due in closed.scores().items():
        assert dict(listed[user]) == pytest.approx(due, abs=1e-4)


def test_sparse_weights_are_the_regression_on_the_nearest_items(scratch: Folder) -> None:
    rows = rated(60, 30)
    closed = Closed.of(rows, values="ratings")
    # 8 of 29, and 29 of them, which is all, in the matrix.
    model = fit_sparse(scratch, rows, values="ratings", density=0.25)
    _, found = weights_of(model)
    ridge = closed.x.T @ closed.x + PENALTY * np.eye(30)
    scale = np.sqrt(np.diag(ridge))
    for item in range(30):
        near = ridge[item] / scale
        near[item] = -1
        nearest = np.argsort(-near, kind="stable")[:8]
        due = np.zeros(30)
        due[nearest] = np.linalg.solve(ridge[np.ix_(nearest, nearest)], ridge[nearest, item])
        assert found[:, item] == pytest.approx(due, abs=1e-5)
    assert model.info() == {
        "items": 30, "users": 60, "regularization": PENALTY, "matrix": "sparse", "most_weights": 8,
    }  # fmt: skip


def planted(users: int, items: int, *, groups: int = 6) -> tuple[Rows, set[tuple[int, int]]]:
    """Likings by taste and popularity, and those of them that are held out."""
    rng = np.random.default_rng(4)
    taste, kind = rng.integers(groups, size=(users, 2)), rng.integers(groups, size=items)
    popular = rng.lognormal(0, 0.7, items)
    fits_taste = (taste[:, :1] == kind) | (taste[:, 1:] == kind)
    chance = np.minimum(0.9, popular * np.where(fits_taste, 0.25, 0.01))
    pairs = np.argwhere(rng.random((users, items)) < chance)
    held = rng.random(len(pairs)) < 0.2
    kept = [(int(u), int(i), 5.0) for u, i in pairs[~held]]
    return kept, {(int(u), int(i)) for u, i in pairs[held]}


def ndcg(model: EaseModel | NeighbourModel, rows: Rows, held: set[tuple[int, int]]) -> float:
    users = sorted({user for user, _ in held} & {row[0] for row in rows})
    gains = 1 / np.log2(np.arange(2, 12))
    found = []
    for user, best in lists(model, users, rows, n=10).items():
        due = sum(pair[0] == user for pair in held)
        hits = [(user, item) in held for item, _ in best]
        found.append(gains[: len(hits)][hits].sum() / gains[:due].sum())
    return float(np.mean(found))


def test_lists_of_sparse_weights_are_about_as_good_as_those_of_dense_ones(scratch: Folder) -> None:
    rows, held = planted(300, 200)
    exact = ndcg(fit(scratch, rows, regularization=50), rows, held)
    tenth = fit_sparse(scratch, rows, regularization=50, density=0.1)
    assert tenth.info()["most_weights"] == 20
    assert exact > 0.2
    assert ndcg(tenth, rows, held) > 0.95 * exact


def test_a_matrix_above_the_limit_is_sparse_by_itself_and_refused_if_that_is_too_large(
    scratch: Folder,
) -> None:
    rows = [(n % 900, n % 800, 5.0) for n in range(900)]
    chosen = fit_any(scratch, rows, max_matrix_mb=1)
    assert isinstance(chosen, NeighbourModel)
    assert chosen.info()["most_weights"] == 8
    with pytest.raises(MissingError, match=r"sparse matrix of 800 items with 400 weights for each"):
        fit_any(scratch, rows, max_matrix_mb=1, density=0.5)


def test_sparse_weights_have_the_same_bits_whatever_the_order_and_after_loading(
    spark: SparkSession, scratch: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rated(60, 30)
    model = fit_sparse(scratch, rows, values="ratings", density=0.2)
    whole = sorted(map(tuple, model.table.frame.collect()))
    monkeypatch.setattr(dealing, "_TASKS_A_SLOT", 1)
    moved = spark.createDataFrame(rows[::-1], RATINGS).repartition(5)
    again = fit_sparse(scratch, moved, values="ratings", density=0.2)
    assert sorted(map(tuple, again.table.frame.collect())) == whole
    folder = Folder(spark, tmp_path) / "ease"
    model.save(folder)
    loaded: Any = registry.load(folder)
    assert sorted(map(tuple, loaded.table.frame.collect())) == whole
    assert (loaded.refit_config, loaded.info()) == (model.refit_config, model.info())


# -- what both have ---------------------------------------------------------------------------


def test_a_preference_is_compared_in_the_precision_of_ratings(scratch: Folder) -> None:
    # The float 3.3 is below the double 3.3.
    liked = float(np.float32(3.3))
    rows = [(u, i, liked) for u in range(3) for i in range(2)] + [(0, 9, 3.0), (7, 1, 3.0)]
    model = fit(scratch, rows, preference_from=3.3)
    assert (model.items, model.users) == (2, 3)
    # A user without a liking gets no list, and item 9 is in none.
    assert sorted(lists(model, [0, 1, 2, 7])) == [0, 1, 2]


def test_a_rating_of_0_is_no_value(scratch: Folder) -> None:
    rows = [(u, i, 1.0 + u) for u in range(3) for i in range(2)]
    with_zeros = [*rows, (0, 5, 0.0), (9, 1, 0.0)]
    assert bits(fit(scratch, with_zeros, values="ratings")) == bits(
        fit(scratch, rows, values="ratings")
    )


@pytest.mark.parametrize("matrix", SHAPES)
def test_a_saved_model_is_loaded_with_its_bits(
    spark: SparkSession,
    fitted: Callable[[str, str], EaseModel],
    tmp_path: Path,
    matrix: str,
) -> None:
    model = fitted(matrix, "ratings")
    folder = Folder(spark, tmp_path) / "ease"
    model.save(folder)
    loaded = registry.load(folder, max_broadcast_mb=9)
    assert isinstance(loaded, EaseModel)
    assert (loaded.refit_config, loaded.max_broadcast_mb) == (model.refit_config, 9)
    assert bits(loaded) == bits(model)


@pytest.mark.parametrize(("users", "penalty"), [(3, 100), (600, 200), (11_000, 1000)])
def test_more_users_are_penalised_more_where_nothing_is_set(
    spark: SparkSession, scratch: Folder, tmp_path: Path, users: int, penalty: float
) -> None:
    rows = spark.range(users).selectExpr(
        "int(id) AS user", "int(id % 2) AS item", "float(5) AS rating"
    )
    model = fit(scratch, rows, regularization="auto")
    assert model.info()["regularization"] == penalty
    model.save(Folder(spark, tmp_path) / "ease")
    assert registry.load(Folder(spark, tmp_path) / "ease").info() == model.info()


def test_implicit_feedback_is_all_liking(spark: SparkSession, scratch: Folder) -> None:
    rows = [(user, item, 1.0) for user, item, _ in rated(*SHAPES["items"])]
    data = TrainingData(ratings=spark.createDataFrame(rows, RATINGS), scale=None)
    settings = EaseSettings(regularization=PENALTY)
    model = Ease(settings).fit(data, scratch=scratch / "implicit", seed=1)
    closed = Closed.of(rows, values="ratings")
    np.testing.assert_allclose(weights_of(model)[1], closed.weights, rtol=0, atol=1e-6)


def test_nothing_liked_is_a_failed_fit(scratch: Folder) -> None:
    with pytest.raises(FitError, match="ease: no rating to fit") as refused:
        fit(scratch, [(0, 0, 3.5), (1, 0, 1.0)])
    assert "preference_from" in str(refused.value.hint)


@pytest.mark.parametrize("matrix", SHAPES)
def test_similar_items_are_those_of_a_weight_above_0_the_greatest_first(
    scratch: Folder, fitted: Callable[[str, str], EaseModel], matrix: str
) -> None:
    model = fitted(matrix, "likings")
    truth = Closed.of(rated(*SHAPES[matrix]), values="likings")
    found = model.similar_items(Wanted(100, "cosine"), scratch=scratch / f"similar-{matrix}")
    lists: dict[int, list[Any]] = {}
    for row in sorted(found.frame.collect(), key=lambda row: row["rank"]):
        lists.setdefault(row["user"], []).append(row)
    place = {item: n for n, item in enumerate(truth.items)}
    for item, column in place.items():
        rows, weights = lists[item], truth.weights[:, column]
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        listed = [place[row["item"]] for row in rows]
        assert {*np.flatnonzero(weights > 1e-6)} <= {*listed} <= {*np.flatnonzero(weights > -1e-6)}
        assert (np.diff(weights[listed]) < 1e-6).all()
        assert min(row["score"] for row in rows) > 0
