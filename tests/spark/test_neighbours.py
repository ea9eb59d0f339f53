"""Neighbourhoods of items and users, and random walks, against their definitions in NumPy."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.neighbours import nearest, rows
from recpipe.ranking import item_blocks
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

    from recpipe.models.neighbours.model import NeighbourModel

RATINGS = "user int, item int, rating float"
LIKED = 4.0
FAR = 2_000_000_000
Rows = list[tuple[int, int, float]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
fits = itertools.count()


@pytest.fixture(scope="module")
def scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(spark, tmp_path_factory.mktemp("neighbours"))


def rated(users: int, items: int, *, share: float = 0.4, seed: int = 1) -> Rows:
    """Some pairs, rated 0.1 to 5.0; ids have gaps, and the last item's number is huge."""
    rng = np.random.default_rng(seed)
    there, stars = rng.random((users, items)) < share, rng.integers(1, 51, (users, items)) / 10
    # A user and an item whose ratings are all equal.
    stars[0], stars[:, 1] = 3.3, 4.1
    number = [*range(0, 3 * (items - 1), 3), FAR]
    return [
        (2 * int(u), number[int(i)], float(np.float32(stars[u, i]))) for u, i in np.argwhere(there)
    ]


ROWS = rated(30, 17)


def fit(scratch: Folder, name: str, given: Rows, *, implicit: bool = False, **own: Any) -> Any:
    section = registry.SPECS[name].sections[name].model_validate(own)
    scale = None if implicit else Scale(min=0.1, max=5, step=0.1)
    frame = scratch.spark.createDataFrame(given, RATINGS)
    data = TrainingData(ratings=frame, scale=scale)
    model = registry.build(name, {name: section})
    return model.fit(data, scratch=scratch / str(next(fits)), seed=1)


@dataclass(frozen=True)
class Dense:
    """Ratings as a matrix; NaN where there is none.

    Args:
        users: (n,)
        items: (m,)
        ratings: (n, m)
    """

    users: list[int]
    items: list[int]
    ratings: Doubles

    @classmethod
    def of(cls, given: Rows) -> Dense:
        users, u = np.unique([row[0] for row in given], return_inverse=True)
        items, i = np.unique([row[1] for row in given], return_inverse=True)
        ratings = np.full((len(users), len(items)), np.nan)
        ratings[u, i] = [row[2] for row in given]
        return cls(users.tolist(), items.tolist(), ratings)

    def entries(self, values: str) -> Doubles:
        if values == "ratings":
            return self.ratings
        return np.where(self.ratings >= np.float32(LIKED), 1.0, np.nan)


def bm25(x: Doubles, k1: float = 1.2, b: float = 0.75) -> Doubles:
    """Of the columns of a matrix."""
    there = ~np.isnan(x)
    lengths, d = np.nansum(x, axis=0), there.sum(axis=1)[:, None]
    mean = lengths[lengths > 0].mean()
    saturated = x * (k1 + 1) / (x + k1 * (1 - b + b * lengths / mean))
    weighted: Doubles = saturated * np.log(1 + (x.shape[1] - d + 0.5) / (d + 0.5))
    return weighted


def correlation(x: Doubles, y: Doubles) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def cosine(x: Doubles, y: Doubles) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm else 0.0


DISTANCES: dict[str, Callable[[Doubles], float]] = {
    "manhattan": lambda d: float(np.abs(d).sum()),
    "euclidean": lambda d: float(np.sqrt((d**2).sum())),
    "chebyshev": lambda d: float(np.abs(d).max()),
}


def similarities(x: Doubles, name: str, *, overlap: int = 1, shrinkage: float = 0.0) -> Doubles:
    """(m, m) of the columns of a matrix, 0 on the diagonal."""
    there = ~np.isnan(x)
    filled = np.where(there, x, 0)
    centred = (
        x
        - np.array([np.nanmean(row) if t.any() else 0 for row, t in zip(x, there, strict=True)])[
            :, None
        ]
    )
    centred = np.where(np.abs(centred) < 1e-6, 0, centred)
    found = np.zeros((x.shape[1], x.shape[1]))
    for i, j in itertools.permutations(range(x.shape[1]), 2):
        both = there[:, i] & there[:, j]
        n = int(both.sum())
        if n < max(overlap, 1):
            continue
        a, b = x[both, i], x[both, j]
        if name == "cosine":
            s = cosine(filled[:, i], filled[:, j])
        elif name == "jaccard":
            s = n / (there[:, i] | there[:, j]).sum()
        elif name == "pearson":
            s = correlation(a, b)
        elif name == "adjusted_cosine":
            s = cosine(centred[both, i], centred[both, j])
        else:
            s = 1 / (1 + DISTANCES[name](a - b))
        found[i, j] = s * n / (n + shrinkage)
    return found


def kept(similarity: Doubles, k: int) -> Doubles:
    """The k greatest of each row that are above 0, of equal ones the first; 0 elsewhere."""
    rounded = similarity.astype(np.float32)
    found = np.zeros_like(similarity)
    for row in range(len(rounded)):
        order = np.lexsort((np.arange(len(rounded)), -rounded[row]))[:k]
        order = order[rounded[row, order] > 0]
        found[row, order] = similarity[row, order]
    return found


def weights_of(model: NeighbourModel) -> tuple[list[int], Doubles]:
    """Items or users, and the weights of the tables of a fitted model: a row has its neighbours."""
    if model.means is None:
        items = sorted(model.table.frame.collect(), key=lambda row: row["item"])
        ids = [row["item"] for row in items]
        links = [
            (row["item"], source, weight)
            for row in items
            for source, weight in zip(
                np.frombuffer(row["sources"], np.int32),
                np.frombuffer(row["numbers"], np.float32),
                strict=True,
            )
        ]
    else:
        ids = sorted(row["user"] for row in model.means.frame.collect())
        links = [tuple(row) for row in model.histories.frame.collect()]
    at = {number: place for place, number in enumerate(ids)}
    found = np.zeros((len(ids), len(ids)))
    for owner, source, weight in links:
        found[at[owner], at[int(source)]] = weight
    return ids, found


def lists(model: NeighbourModel, users: list[int], *, n: int = 1000) -> dict[int, dict[int, float]]:
    spark = model.spark
    asked = spark.createDataFrame([(user,) for user in users], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    found: dict[int, dict[int, float]] = {}
    listed = model.recommend(asked, n=n, seen=nothing).frame.collect()
    for row in sorted(listed, key=lambda row: (row["user"], row["rank"])):
        found.setdefault(row["user"], {})[row["item"]] = row["score"]
    return found


def predictions(model: NeighbourModel, dense: Dense) -> Doubles:
    """(n, m) of all pairs."""
    pairs = [(u, i) for u in dense.users for i in dense.items]
    asked = model.spark.createDataFrame(pairs, "user int, item int")
    rows = {(r["user"], r["item"]): r["prediction"] for r in model.predict(asked).frame.collect()}
    return np.array([[rows[u, i] for i in dense.items] for u in dense.users])


def best_biases(ratings: Doubles, *, regularization: float) -> tuple[Doubles, Doubles]:
    """The biases of rows and columns that minimise the regularised squared error."""
    rows, columns = np.nonzero(~np.isnan(ratings))
    n, m = ratings.shape
    x = np.zeros((len(rows), n + m))
    x[np.arange(len(rows)), rows] = x[np.arange(len(rows)), n + columns] = 1
    left = ratings[rows, columns] - np.nanmean(ratings)
    found = np.linalg.solve(x.T @ x + regularization * np.eye(n + m), x.T @ left)
    return found[:n], found[n:]


def close(found: Any, due: Any) -> None:
    np.testing.assert_allclose(found, due, rtol=0, atol=1e-6)


SIMILARITIES = ["cosine", "jaccard", "pearson", "adjusted_cosine", *DISTANCES]


@pytest.mark.parametrize("name", ["item_knn", "user_knn"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_weights_are_the_k_greatest_similarities_of_their_definition(
    scratch: Folder, name: str, similarity: str
) -> None:
    own: dict[str, Any] = {
        "similarity": similarity,
        "min_overlap": 3,
        "shrinkage": 2.5,
        "values": "ratings",
    }
    model = fit(scratch, name, ROWS, k=4, **own)
    dense = Dense.of(ROWS)
    x = dense.ratings if name == "item_knn" else dense.ratings.T
    due = kept(similarities(x, similarity, overlap=3, shrinkage=2.5), 4)
    ids, found = weights_of(model)
    assert ids == (dense.items if name == "item_knn" else dense.users)
    assert np.count_nonzero(due)
    close(found, due)


@pytest.mark.parametrize("name", ["item_knn", "user_knn"])
@pytest.mark.parametrize("similarity", ["cosine", "jaccard"])
@pytest.mark.parametrize("weighting", ["none", "bm25"])
def test_likings_are_compared_with_or_without_weights(
    scratch: Folder, name: str, similarity: str, weighting: str
) -> None:
    model = fit(
        scratch, name, ROWS, k=100, similarity=similarity, weighting=weighting, shrinkage=0,
        preference_from=LIKED,
    )  # fmt: skip
    dense = Dense.of(ROWS)
    x = dense.entries("likings") if name == "item_knn" else dense.entries("likings").T
    # More neighbours are asked for than there are.
    due = kept(similarities(bm25(x) if weighting == "bm25" else x, similarity), 100)
    close(weights_of(model)[1], due)


def test_equal_similarities_are_ordered_by_item(scratch: Folder) -> None:
    given = [(user, item, 5.0) for user in range(4) for item in (9, 2, 7, 5, 1)]
    model = fit(scratch, "item_knn", given, k=2, shrinkage=0)
    found = {
        row["item"]: np.frombuffer(row["sources"], np.int32).tolist()
        for row in model.table.frame.collect()
    }
    assert found == {1: [2, 5], 2: [1, 5], 5: [1, 2], 7: [1, 2], 9: [1, 2]}


@pytest.mark.parametrize("values", ["likings", "ratings"])
def test_items_are_scored_by_their_neighbours_in_the_history(scratch: Folder, values: str) -> None:
    model = fit(scratch, "item_knn", ROWS, k=5, values=values, preference_from=LIKED)
    dense = Dense.of(ROWS)
    x = np.nan_to_num(dense.entries(values))
    scores = x @ weights_of(model)[1].T
    listed = lists(model, [*dense.users, 999])
    assert sorted(listed) == dense.users
    for user, due in zip(dense.users, scores, strict=True):
        close([listed[user][item] for item in dense.items], due)


@pytest.mark.parametrize("values", ["likings", "ratings"])
def test_items_are_scored_by_what_neighbours_have(scratch: Folder, values: str) -> None:
    model = fit(scratch, "user_knn", ROWS, k=5, values=values, preference_from=LIKED)
    dense = Dense.of(ROWS)
    scores = weights_of(model)[1] @ np.nan_to_num(dense.entries(values))
    listed = lists(model, [*dense.users, 999])
    assert sorted(listed) == dense.users
    for user, due in zip(dense.users, scores, strict=True):
        close([listed[user][item] for item in dense.items], due)


@pytest.mark.parametrize("name", ["item_knn", "user_knn"])
@pytest.mark.parametrize("prediction", ["weighted_mean", "mean"])
@pytest.mark.parametrize(
    ("centred", "centre"), [(True, "means"), (True, "biases"), (False, "means")]
)
def test_ratings_are_predicted_by_the_nearest_that_are_rated(
    scratch: Folder, name: str, prediction: str, centred: bool, centre: str
) -> None:
    own: dict[str, Any] = {"prediction": prediction, "centred": centred, "similarity": "pearson"}
    model = fit(scratch, name, ROWS, k=6, max_rated=2, centre=centre, bias_regularization=3, **own)
    dense = Dense.of(ROWS)
    # For users the same formula holds of the transposed matrix.
    ratings = dense.ratings if name == "item_knn" else dense.ratings.T
    means, alone = np.nanmean(ratings, axis=0), np.zeros(len(ratings))
    if centre == "biases":
        alone, biases = best_biases(ratings, regularization=3)
        means = np.nanmean(ratings) + biases
    weights = weights_of(model)[1]
    due = means + alone[:, None]
    for row, column in np.ndindex(*ratings.shape):
        near = [n for n in np.argsort(-weights[column], kind="stable") if weights[column, n] > 0]
        near = [n for n in near if not np.isnan(ratings[row, n])][:2]
        if near:
            w = weights[column, near] if prediction == "weighted_mean" else np.ones(len(near))
            base = means if centred else np.zeros(len(means))
            due[row, column] = base[column] + w @ (ratings[row, near] - base[near]) / w.sum()
    found = predictions(model, dense)
    due = np.clip(due, 0.1, 5)
    close(found if name == "item_knn" else found.T, due)


@pytest.mark.parametrize("values", ["likings", "ratings"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.4, 0.35)])
def test_walks_are_products_of_the_probabilities_of_their_steps(
    scratch: Folder, values: str, alpha: float, beta: float
) -> None:
    own: dict[str, Any] = {"values": values, "preference_from": LIKED, "alpha": alpha, "beta": beta}
    model = fit(scratch, "rp3beta", ROWS, k=5, **own)
    dense = Dense.of(ROWS)
    x = np.nan_to_num(dense.entries(values))
    of_user, of_item = (np.maximum(x.sum(axis=axis), 1e-9) for axis in (1, 0))
    to_users, to_items = (x / of_item).T ** alpha, (x / of_user[:, None]) ** alpha
    walks = to_users @ to_items / np.maximum((x > 0).sum(axis=0), 1) ** beta
    np.fill_diagonal(walks, 0)
    due = kept(walks, 5)
    # An item has the weights of those that lead to it.
    close(weights_of(model)[1], due.T)
    listed = lists(model, dense.users)
    for user, scores in zip(dense.users, x @ due, strict=True):
        close([listed[user][item] for item in dense.items], scores)


@pytest.mark.parametrize("name", ["item_knn", "user_knn", "rp3beta"])
def test_parts_and_blocks_change_no_bit(
    scratch: Folder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, Any] = {"values": "ratings", "k": 4}
    model = fit(scratch, name, ROWS, **own)
    whole = bits(model)
    monkeypatch.setattr(nearest, "_PRODUCTS_OF_A_BLOCK", 200)
    monkeypatch.setattr(nearest, "_RANGE", 5)
    assert bits(fit(scratch, name, ROWS[::-1], **own)) == whole
    # Whole rows in place of what lies right of a block.
    monkeypatch.setattr(nearest, "_CANDIDATE_BYTES", 0)
    assert bits(fit(scratch, name, ROWS, **own)) == whole
    # Sums over columns are of parts: weights may differ in their last digits.
    monkeypatch.setattr(rows, "_VALUES_OF_A_PART", 50)
    monkeypatch.setattr(rows, "_RANGE", 20)
    close(weights_of(fit(scratch, name, ROWS, **own))[1], weights_of(model)[1])


def test_rows_are_counted_once_where_spark_runs_tasks_again(tmp_path: Path) -> None:
    # In a session of its own, which is of no further use without its shuffles.
    script, lost = Path(__file__).with_name("lost_shuffle.py"), tmp_path / "lost"
    found = subprocess.run(
        [sys.executable, script, lost], capture_output=True, text=True, check=True, timeout=300
    )
    assert lost.exists()
    assert json.loads(found.stdout.splitlines()[-1]) == {"rows": 30, "counts": [30] * 40}


def bits(model: NeighbourModel) -> list[Any]:
    tables = [sorted(map(tuple, table.frame.collect())) for table in (model.table, model.histories)]
    return [*tables, lists(model, [0, 2, 10], n=6)]


@pytest.mark.parametrize("name", ["item_knn", "user_knn"])
def test_items_in_blocks_have_the_lists_of_items_sent_whole(
    scratch: Folder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = rated(400, 400, share=0.9)
    whole = fit(scratch, name, given, k=399)
    monkeypatch.setattr(item_blocks, "MIN_ITEMS", 10)
    split = replace(whole, max_broadcast_mb=1)
    sent = split.scoring.items()
    assert isinstance(sent, item_blocks.ItemBlocks)
    assert len(sent.blocks) > 1
    assert lists(split, [0, 2, 10, 798], n=30) == lists(whole, [0, 2, 10, 798], n=30)


@pytest.mark.parametrize("name", ["item_knn", "user_knn", "rp3beta"])
def test_a_saved_model_is_loaded_with_its_bits_and_predictions(
    spark: SparkSession, scratch: Folder, tmp_path: Path, name: str
) -> None:
    model = fit(scratch, name, ROWS)
    folder = Folder(spark, tmp_path) / name
    model.save(folder)
    loaded: Any = registry.load(folder)
    assert (bits(loaded), loaded.info()) == (bits(model), model.info())
    assert loaded.predicts_ratings == model.predicts_ratings == (name != "rp3beta")
    if loaded.predicts_ratings:
        dense = Dense.of(ROWS)
        assert (predictions(loaded, dense) == predictions(model, dense)).all()


@pytest.mark.parametrize("name", ["item_knn", "user_knn", "rp3beta"])
def test_implicit_feedback_is_all_liking_and_predicts_nothing(scratch: Folder, name: str) -> None:
    ones = [(user, item, 1.0) for user, item, _ in ROWS]
    strengths = [(user, item, 1.0 + user % 7) for user, item, _ in ROWS]
    model, other = (fit(scratch, name, each, implicit=True) for each in (ones, strengths))
    assert not model.predicts_ratings
    assert model.predict(model.histories).frame.count() == 0
    close(weights_of(model)[1], weights_of(other)[1])
    assert np.count_nonzero(weights_of(model)[1])


def test_ratings_that_do_not_vary_make_no_neighbours(scratch: Folder) -> None:
    given = [(user, item, 3.3) for user in range(5) for item in range(4)]
    for similarity in ("pearson", "adjusted_cosine"):
        model = fit(scratch, "item_knn", given, similarity=similarity)
        assert not np.count_nonzero(weights_of(model)[1])
        # With no neighbour a prediction is the mean, and a list is in the order of items.
        close(predictions(model, Dense.of(given)), np.full((5, 4), np.float32(3.3)))
        assert list(lists(model, [0])[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["item_knn", "user_knn", "rp3beta"])
def test_nothing_liked_is_a_failed_fit(scratch: Folder, name: str) -> None:
    with pytest.raises(FitError, match=f"{name}: no rating to fit") as refused:
        fit(scratch, name, [(0, 0, 3.5), (1, 0, 1.0)], preference_from=4.0)
    assert "preference_from" in str(refused.value.hint)
