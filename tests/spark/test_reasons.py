"""Reasons: what each item of a history adds to a score, and the largest of it for each place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from recpipe.contracts import EXPLANATIONS
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.factors import FactorModel
from recpipe.models.fold_in import AdditiveSolver, Shares
from recpipe.models.sgd.settings import SgdSettings
from recpipe.publish import current
from recpipe.ranking.reasons import reasons_for
from recpipe.ranking.rules import ListRules
from recpipe.ranking.similar import Wanted
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

    from recpipe.models.base import FittedModel
    from recpipe.ranking.reasons import Explainer
    from recpipe.stages.context import Context
    from recpipe.storage import Run

AT = datetime(2020, 1, 1, tzinfo=UTC)
USERS = 50
MODELS: dict[str, dict[str, Any]] = {
    "ease": {"regularization": 5.0},
    "item_knn": {"shrinkage": 1.0, "k": 6},
    "rp3beta": {"k": 6},
    "slim": {"l2": 2.0},
    "block_als_implicit": {"rank": 5, "iterations": 3},
    "block_als": {"rank": 5, "iterations": 3},
    "als_implicit": {"rank": 5, "iterations": 3},
    "svd": {"rank": 5},
    "svd_implicit": {"rank": 5},
    "sgd": {"rank": 5, "epochs": 20, "initial_scale": 0.5},
}
SOLVED_AGAIN = {"block_als_implicit", "block_als", "als_implicit", "sgd"}
"""Whose shares add up to the score of a row that is solved with the items as they are."""


def ratings_of(items: int) -> list[tuple[int, int, float, datetime]]:
    random = np.random.default_rng(4)
    rated = random.random((USERS, items)) < 8 / items
    return [
        (int(u), int(3 * i), float(random.integers(1, 6)), AT)
        for u, i in zip(*np.nonzero(rated), strict=True)
    ]


@pytest.fixture(scope="module")
def fitted(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], tuple[FittedModel, TrainingData]]:
    """A model of that name on ratings of so many items; each is fitted once."""
    known: dict[Any, tuple[FittedModel, TrainingData]] = {}

    def fit(name: str, items: int) -> tuple[FittedModel, TrainingData]:
        if (name, items) not in known:
            folder = Folder(spark, tmp_path_factory.mktemp(name))
            schema = "user int, item int, rating float, rated_at timestamp"
            rows = spark.createDataFrame(ratings_of(items), schema)
            data = TrainingData(ratings=folder.write_table("ratings", rows))
            section = registry.spec_of(name).sections[name].model_validate(MODELS[name])
            model = registry.build(name, {name: section}).fit(data, scratch=folder, seed=1)
            known[name, items] = model, data
        return known[name, items]

    return fit


def without_history(model: FittedModel) -> Callable[[int, int], float]:
    """What the score of a user and an item has that no item of the history adds."""
    if not isinstance(model, FactorModel):
        return lambda *_: 0.0
    biases: list[dict[int, float]] = [
        dict(frame_of(rows).select(key, "bias").collect())  # type: ignore[arg-type]
        for key, rows in (("user", model.user_factors), ("item", model.item_factors))
    ]
    of_users, of_items = biases
    # The mean of a user is M of svd; the bias of sgd follows from the ratings, as the factors do.
    by_user = model.name == "svd"
    return lambda user, item: model.mean + of_items[item] + (of_users[user] if by_user else 0)


# With fewer users than items ease has a matrix of users.
@pytest.mark.parametrize(("name", "items"), [*((name, 30) for name in MODELS), ("ease", 90)])
def test_shares_add_up_to_the_score_and_the_largest_are_the_reasons(
    fitted: Callable[[str, int], tuple[FittedModel, TrainingData]], name: str, items: int
) -> None:
    model, data = fitted(name, items)
    users = data.ratings.select("user").distinct().where("user < 12")  # type: ignore[union-attr]
    scorer = model.for_people(data) if name in SOLVED_AGAIN else model
    without = without_history(model)
    lists = scorer.recommend(users, n=4, seen=data.ratings).frame.cache()
    reasons = model.reasons(data)
    assert reasons is not None
    [explainer] = cast("list[Explainer]", reasons.explainers().scorers())
    histories = frame_of(reasons.histories)
    by_user: dict[int, dict[int, float]] = {}
    for row in histories.collect():
        by_user.setdefault(row["user"], {})[row["item"]] = row["value"]
    found: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for row in reasons_for(lists, reasons, n=3).frame.orderBy("reason").collect():
        found.setdefault((row["user"], row["item"]), []).append((row["because"], row["weight"]))
    places = lists.collect()
    assert len(places) > 30
    for place in places:
        history = dict(sorted(by_user[place["user"]].items()))
        items_of = np.array(list(history), np.int32)
        values = np.array(list(history.values()), np.float32)
        column = np.flatnonzero(explainer.items == place["item"]).astype(np.int32)
        [shares] = explainer.shares(items_of, values, column)
        score = place["score"] - without(place["user"], place["item"])
        assert shares.sum() == pytest.approx(score, rel=2e-4, abs=2e-5)
        best = sorted(zip(-shares, items_of.tolist(), strict=True))[:3]
        due = [(item, -share) for share, item in best if share < 0]
        mine = found.get((place["user"], place["item"]), [])
        assert [item for item, _ in mine] == [item for item, _ in due]
        assert [weight for _, weight in mine] == pytest.approx([w for _, w in due], rel=1e-5)


def test_a_model_whose_scores_are_no_sums_over_a_history_has_no_reasons(
    fitted: Callable[[str, int], tuple[FittedModel, TrainingData]], tmp_path: Any
) -> None:
    _, data = fitted("ease", 30)
    spark = data.ratings.sparkSession  # type: ignore[union-attr]
    bounded = {"sgd": SgdSettings(rank=2, epochs=2, bounded=True)}
    scaled = replace(data, scale=Scale(min=1, max=5, step=1))
    for name in ("popularity", "biases", "user_knn", "nmf", "sgd"):
        scratch = Folder(spark, tmp_path / name)
        model = registry.build(name, bounded).fit(scaled, scratch=scratch, seed=1)
        assert model.reasons(data) is None


@pytest.mark.parametrize(("name", "items"), [("ease", 30), ("ease", 90), ("item_knn", 30)])
def test_similar_items_of_models_of_weights_are_those_that_speak_most(
    fitted: Callable[[str, int], tuple[FittedModel, TrainingData]],
    tmp_path: Any,
    name: str,
    items: int,
) -> None:
    model, data = fitted(name, items)
    spark = data.ratings.sparkSession  # type: ignore[union-attr]
    reasons = model.reasons(data)
    assert reasons is not None
    [explainer] = cast("list[Explainer]", reasons.explainers().scorers())
    known, count = explainer.items, len(explainer.items)
    weights = explainer.shares(
        known, np.full(count, 5, np.float32), np.arange(count, dtype=np.int32)
    )
    never = np.array([6, 9], np.int32)
    wanted = Wanted(3, "cosine", rules=ListRules(never))
    found = model.similar_items(wanted, scratch=Folder(spark, tmp_path))
    assert found is not None
    rows = found.frame.toPandas().sort_values(["user", "rank"])
    assert not rows["item"].isin(never).any()
    for column, item in enumerate(known.tolist()):
        may = weights[column].copy()
        may[np.isin(known, [*never, item])] = -np.inf
        best = [p for p in np.argsort(-may, kind="stable")[:3] if may[p] > 0]
        mine = rows[rows["user"] == item]["item"].tolist()
        assert mine == known[best].tolist()


def test_a_run_publishes_why_each_place_is_there(whole_run: tuple[Context, Run]) -> None:
    context, run = whole_run
    now = current(context.root)
    assert set(now.tables) == {"similar_items", "explanations"}
    table = now.read_beside(context.root, "explanations")
    assert table is not None
    EXPLANATIONS.check(table)
    assert table.count() == run.manifest["explanations"]["rows"]
    places = now.read(context.root).where("source = 'block_als'").select("user_id", "rank")
    explained = table.select("user_id", "rank").distinct()
    assert explained.exceptAll(places).isEmpty()
    # Nearly all places have a reason, and every reason is something that the user has rated.
    assert explained.count() > 0.9 * places.count()
    rated = context.tables.read("ratings").withColumnRenamed("item_id", "because_item_id")
    assert table.join(rated, ["user_id", "because_item_id"], "left_anti").isEmpty()
    assert table.where("reason > 2 OR weight <= 0").isEmpty()


def test_explainers_pass_over_items_that_the_model_does_not_know() -> None:
    class Ones(AdditiveSolver):
        def shares(self, history: Any, values: Any, columns: Any) -> Any:
            return np.ones((len(columns), len(history))) * values

    explainer = Shares(np.array([2, 5, 9], np.int32), Ones())
    found = explainer.shares(
        np.array([1, 5], np.int32), np.array([3, 4], np.float32), np.array([0])
    )
    assert found.tolist() == [[0, 4]]
