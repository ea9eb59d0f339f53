"""The blend: scores of several models on one scale, and weights found on validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from recpipe.errors import FitError
from recpipe.models import registry
from recpipe.models.blend.blend import Blend, BlendModel
from recpipe.models.blend.scorer import BlendItems, Component
from recpipe.models.blend.settings import BlendSettings
from recpipe.models.blend.weights import (
    NO_CANDIDATE,
    Estimate,
    ScoredCandidates,
    cross_validated,
    forward_selection,
)
from recpipe.models.data import TrainingData
from recpipe.ranking.scorer import DenseScorer
from recpipe.ranking.user_batch import UserBatch
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.base import FittedModel

RATINGS = "user int, item int, rating float, rated_at timestamp"
K = 10


# -- one scale for all models -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Given(DenseScorer):
    """Scores that are there: (users, items), the row of a user its number."""

    items: np.ndarray
    scores: np.ndarray

    def score_all(self, batch: UserBatch) -> np.ndarray:
        return self.scores[batch.users]


@dataclass(frozen=True)
class Here:
    """Items of which each block is a scorer in this process."""

    blocks: tuple[Given, ...]

    @property
    def count(self) -> int:
        return sum(len(block.items) for block in self.blocks)

    def scorers(self) -> Iterator[Given]:
        yield from self.blocks


def component(
    items: list[int], scores: Any, *, weight: float = 1, everyone: bool = True, blocks: int = 1
) -> Component:
    given = np.array(scores, np.float32).reshape(-1, len(items))
    parts = np.array_split(np.arange(len(items)), blocks)
    scorers = [Given(np.array(items, np.int32)[p], given[:, p]) for p in parts]
    return Component(Here(tuple(scorers)), everyone, weight)


def batch(users: list[int], *known: list[bool]) -> UserBatch:
    """Users, and for each part whether it knows them."""
    numbers = np.array(users, np.int32)
    components = tuple(UserBatch(numbers, np.array(some, bool)) for some in known)
    return UserBatch(numbers, np.any([p.known for p in components], axis=0), components=components)


def test_the_scores_of_a_user_have_mean_0_and_deviation_1_over_the_items_of_the_model() -> None:
    one = component([2, 5, 9], [[1, 2, 3], [1000, 1000, 4000]])
    items = BlendItems.of((one, component([5], [[0], [0]])))
    found = items.scorer.standard_scores(batch([0, 1], [True, True], [True, True]), 0)
    high = np.sqrt(1.5)
    assert found == pytest.approx(np.array([[-high, 0, high], [-(0.5**0.5)] * 2 + [2**0.5]]))


def test_an_item_that_a_model_does_not_know_stands_with_its_lowest() -> None:
    items = BlendItems.of(
        (component([2, 9], [[1, 3], [5, 4]]), component([1, 5], [[0, 0], [0, 0]]))
    )
    assert items.scorer.items.tolist() == [1, 2, 5, 9]
    assert items.count == 4
    found = items.scorer.standard_scores(batch([0, 1], [True] * 2, [True] * 2), 0)
    assert found.tolist() == [[-1, -1, -1, 1], [-1, 1, -1, -1]]


def test_a_user_whom_a_model_does_not_know_gets_0_so_that_the_others_decide() -> None:
    some = component([1, 2], [[7, 9], [7, 9]], everyone=False, weight=5)
    all_of_them = component([1, 2, 3], [[1, 2, 3], [3, 2, 1]], weight=2)
    items = BlendItems.of((some, all_of_them))
    asked = batch([0, 1], [True, False], [False, False])
    assert items.scorer.standard_scores(asked, 0).tolist() == [[-1, 1, -1], [0, 0, 0]]
    high = np.sqrt(1.5)
    found = items.scorer.score_all(asked)
    assert found == pytest.approx(
        np.array([[-5 - 2 * high, 5, -5 + 2 * high], [2 * high, 0, -2 * high]])
    )


def test_equal_scores_say_nothing() -> None:
    items = BlendItems.of(
        (component([1, 2, 3], [[4, 4, 4]]), component([1, 2, 8], [[0.1, 0.1, 0.1]]))
    )
    asked = batch([0], [True], [True])
    assert items.scorer.score_all(asked).tolist() == [[0, 0, 0, 0]]


def test_neither_blocks_nor_who_stands_beside_a_user_change_a_bit() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(3, 50, (40, 300)).astype(np.float32)
    numbers = np.sort(rng.choice(900, 300, replace=False)).tolist()
    known = [True] * 40
    other = component([5, 1000], rng.normal(size=(40, 2)), weight=0.3)
    whole, split = (
        BlendItems.of((component(numbers, scores, weight=0.7, blocks=blocks), other)).scorer
        for blocks in (1, 7)
    )
    found = whole.score_all(batch(list(range(40)), known, known))
    assert split.score_all(batch(list(range(40)), known, known)).tobytes() == found.tobytes()
    for user in (0, 13, 39):
        alone = whole.score_all(batch([user], [True], [True]))
        assert alone.tobytes() == found[user].tobytes()


# -- weights ----------------------------------------------------------------------------------


@st.composite
def any_questions(draw: st.DrawFn) -> ScoredCandidates:
    users, candidates, components = (draw(st.integers(low, 5)) for low in (1, 0, 1))
    # Tenths tie often, and often in one sum but not in a multiple of it.
    numbers = st.floats(-3, 3, width=32) | st.integers(-9, 9).map(
        lambda n: float(np.float32(n / 10))
    )
    scores = draw(hnp.arrays(np.float32, (users, candidates, components), elements=numbers))
    hits = draw(hnp.arrays(bool, (users, candidates)))
    for user in range(users):
        there = draw(st.integers(0, candidates))
        scores[user, there:], hits[user, there:] = NO_CANDIDATE, False
    # Not every relevant item need be a candidate.
    more = draw(hnp.arrays(np.int32, users, elements=st.integers(0, 3)))
    return ScoredCandidates(scores, hits, np.maximum(hits.sum(axis=1) + more, 1).astype(np.int32))


def ndcg_of(questions: ScoredCandidates, weights: np.ndarray, *, k: int) -> float:
    """One user after the other, in plain Python."""
    every = []
    for scores, hits, relevant in zip(*vars(questions).values(), strict=True):
        there = [at for at, row in enumerate(scores) if (row > NO_CANDIDATE).all()]
        blended = {at: float(np.dot(scores[at], weights.astype(np.float32))) for at in there}
        best = sorted(there, key=lambda at: (-blended[at], at))[:k]
        found = sum(1 / np.log2(place + 2) for place, at in enumerate(best) if hits[at])
        every.append(found / sum(1 / np.log2(place + 2) for place in range(min(relevant, k))))
    return float(np.mean(every))


@settings(deadline=None)
@given(any_questions(), st.integers(1, 6), st.data())
def test_ndcg_is_that_of_lists_of_the_candidates(
    questions: ScoredCandidates, k: int, data: st.DataObject
) -> None:
    components = questions.scores.shape[2]
    # Products and sums of these are exact for the scores that tie.
    shares = data.draw(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=components, max_size=components)
    )
    rounded = replace(questions, scores=np.round(questions.scores))
    found = rounded.ndcg(np.array(shares), k=k)
    assert found == pytest.approx(ndcg_of(rounded, np.array(shares), k=k))


@settings(deadline=None)
@given(any_questions(), st.integers(1, 6), st.integers(1, 7))
def test_weights_are_shares_and_never_worse_than_the_best_single_model(
    questions: ScoredCandidates, k: int, steps: int
) -> None:
    weights = forward_selection(questions, steps=steps, k=k)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    alone = [questions.ndcg(one, k=k) for one in np.eye(len(weights))]
    assert questions.ndcg(weights, k=k) >= max(alone)


@settings(deadline=None)
@given(any_questions(), st.integers(1, 6), st.integers(1, 7), st.integers(2, 6))
def test_every_user_judges_weights_that_were_found_without_the_user(
    questions: ScoredCandidates, k: int, steps: int, folds: int
) -> None:
    found = cross_validated(questions, folds=folds, steps=steps, k=k, seed=1)
    users, _, width = questions.scores.shape
    assert found.by_fold.shape == (min(folds, users), width)
    assert found.weights.sum() == pytest.approx(1)
    assert (found.weights >= 0).all()
    # Each user's value is that of the weights of one fold, and no fold has found its weights on it.
    for user in range(users if users > 1 else 0):
        one = questions.of(np.array([user]))
        rest = questions.of(np.array([u for u in range(users) if u != user]))
        possible = [one.ndcg(weights, k=k) for weights in found.by_fold]
        assert found.blended[user] in possible
        if folds >= users:
            expected = one.ndcg(forward_selection(rest, steps=steps, k=k), k=k)
            assert found.blended[user] == expected
        alone = [one.ndcg(weights, k=k) for weights in np.eye(width)]
        np.testing.assert_array_equal(found.alone[user], alone)


def test_noise_looks_better_than_it_is_only_to_whom_it_was_fitted() -> None:
    random = np.random.default_rng(2)
    hits = np.zeros((40, 30), bool)
    hits[:, :3] = True
    noise = random.normal(size=(40, 30, 12)).astype(np.float32)
    questions = ScoredCandidates(noise, hits, np.full(40, 3, np.int32))
    found = cross_validated(questions, folds=5, steps=20, k=10, seed=1)
    fitted = questions.ndcg(forward_selection(questions, steps=20, k=10), k=10)
    # What a list by chance reaches.
    chance = found.alone.mean()
    assert fitted > chance + 0.1
    assert found.blended.mean() < chance + 0.06


def test_an_interval_is_that_of_student() -> None:
    values = np.random.default_rng(3).normal(0.4, 0.2, 17)
    low, high = stats.t.interval(0.95, 16, values.mean(), stats.sem(values))
    assert Estimate.of(values) == pytest.approx((values.mean(), low, high))
    assert Estimate.of(values[:1]) == (values[0], None, None)


def test_two_models_that_each_know_half_are_blended() -> None:
    # The first puts the relevant item of user 0 first, the second that of user 1.
    scores = np.array([[[3, 0], [0, 1], [0, 0]], [[0, 0], [1, 0], [0, 3]]], np.float32)
    hits = np.array([[True, False, False], [False, False, True]])
    questions = ScoredCandidates(scores, hits, np.array([1, 1], np.int32))
    weights = forward_selection(questions, steps=4, k=1)
    assert weights.tolist() == [0.5, 0.5]
    assert questions.ndcg(weights, k=1) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"a": -0.1, "b": 1.0}},
        {"weights": {"a": 0.0}},
        {"weights": {"a": 1.0}, "models": ["b"]},
        {"weights": {"a": float("inf")}},
        {"steps": 0},
    ],
)
def test_weights_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="for Blend"):
        BlendSettings.model_validate(wrong)


def test_the_components_are_the_named_models_or_all_others_that_can_be_chosen() -> None:
    trained = ["random", "sgd", "blend", "mean", "ease", "popularity"]

    def components(**own: Any) -> tuple[str, ...]:
        return registry.components_of("blend", {"blend": BlendSettings(**own)}, trained)

    assert components() == ("sgd", "ease", "popularity")
    assert components(models=("ease", "mean")) == ("ease", "mean")
    assert components(weights={"sgd": 1.0, "ease": 0.5}) == ("sgd", "ease")


# -- fitted -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Tastes and popularity: half of the users like what many like, half what their kind likes.

    Args:
        train: ratings.
        validation: of every user two liked items and one that the user does not like.
        components: fitted on train.
        folder: for more.
    """

    train: DataFrame
    validation: DataFrame
    components: Mapping[str, FittedModel]
    folder: Folder

    def data(self, **rest: Any) -> TrainingData:
        given = {"validation": self.validation, "fitted": self.components, **rest}
        return TrainingData(ratings=self.train, **given)

    def blend(self, place: str, data: TrainingData, **own: Any) -> BlendModel:
        return Blend(BlendSettings(**own)).fit(data, scratch=self.folder / place, seed=3)


def planted() -> tuple[list[Any], list[Any]]:
    """Train and validation."""
    rng = np.random.default_rng(8)
    at = datetime(2020, 1, 1, tzinfo=UTC)
    train: list[Any] = []
    validation: list[Any] = []
    for user in range(60):
        chance = np.linspace(3, 0.5, 40)
        if user % 2:
            chance = np.where(np.arange(40) % 4 == user % 4, 12.0, 0.5)
        items = rng.choice(40, 14, replace=False, p=chance / chance.sum()).tolist()
        train += [(user, item, 5.0, at) for item in items[:10]]
        train += [(user, item, 2.0, at) for item in items[10:11]]
        validation += [(user, item, 4.0, at) for item in items[11:13]]
        validation += [(user, item, 1.0, at) for item in items[13:]]
    return train, validation


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = Folder(spark, tmp_path_factory.mktemp("blend"))
    train, validation = (spark.createDataFrame(rows, RATINGS) for rows in planted())
    components = {
        name: registry.build(name, {}).fit(
            TrainingData(ratings=train), scratch=folder / name, seed=3
        )
        for name in ("popularity", "ease", "random")
    }
    return World(train, validation, components, folder)


def ndcg(model: FittedModel, world: World) -> float:
    """On the liked items of validation, by the lists of the model."""
    liked = world.validation.where("rating >= 4").select("user", "item")
    users = liked.select("user").distinct()
    seen = world.train.select("user", "item")
    lists = model.recommend(users, n=K, seen=seen).frame
    hits = lists.join(liked, ["user", "item"]).select("rank").toPandas()["rank"]
    best = 1 + 1 / np.log2(3)
    return float((1 / np.log2(hits + 1)).sum() / best / users.count())


def test_weights_from_validation_are_at_least_as_good_as_the_best_part(world: World) -> None:
    model = world.blend("found", world.data())
    weights = model.info()["weights"]
    assert set(weights) == set(model.components) <= set(world.components)
    assert min(weights.values()) > 0
    assert sum(weights.values()) == pytest.approx(1)
    alone = {name: ndcg(part, world) for name, part in world.components.items()}
    assert alone["random"] < min(alone["popularity"], alone["ease"])
    # Popularity and tastes are worth more together.
    assert {"popularity", "ease"} <= set(weights)
    assert ndcg(model, world) > 1.02 * max(alone.values())
    told = model.info()["validated"]
    assert (told["users"], told["folds"], told["metric"]) == (60, 5, "ndcg@10")
    by_name = {each["model"]: each for each in told["models"]}
    assert by_name.keys() == world.components.keys()
    for name, each in by_name.items():
        assert each["alone"]["value"] == pytest.approx(alone[name], abs=1e-6)
        assert each["least_weight"] <= each["most_weight"]
        assert each["difference"]["value"] == pytest.approx(
            told["blend"]["value"] - each["alone"]["value"]
        )
    assert by_name["random"]["difference"]["ci_low"] > 0


def test_weights_are_settings_of_the_model_that_is_fitted_again(world: World) -> None:
    model = world.blend("kept", world.data())
    again = model.refit_config
    assert isinstance(again, Blend)
    assert again.settings.weights == model.weights
    assert again.settings.models == tuple(model.weights)
    # No validation is left of a refit on all ratings, and none is needed.
    fitted = {name: world.components[name] for name in model.weights}
    refitted = again.fit(
        world.data(validation=None, fitted=fitted), scratch=world.folder / "again", seed=3
    )
    assert (refitted.weights, refitted.refit_config) == (model.weights, again)


def test_a_model_of_weight_0_is_no_part_of_a_saved_blend(world: World, tmp_path: Path) -> None:
    weights = {"random": 0.0, "ease": 1.0, "popularity": 3.0}
    model = world.blend("zero", world.data(validation=None), weights=weights)
    assert model.weights == {"ease": 1.0, "popularity": 3.0}
    assert set(model.components) == {"ease", "popularity"}
    folder = Folder(world.train.sparkSession, tmp_path) / "blend"
    model.save(folder)
    assert sorted((folder / "components").list()) == ["ease", "popularity"]
    loaded = registry.load(folder, max_broadcast_mb=77)
    assert isinstance(loaded, BlendModel)
    assert (loaded.weights, loaded.refit_config) == (model.weights, model.refit_config)
    assert (model.validated, loaded.validated) == ({}, {})
    assert {each.max_broadcast_mb for each in loaded.components.values()} == {77}


def test_a_blend_of_one_model_has_the_order_of_its_lists(world: World) -> None:
    spark = world.train.sparkSession
    model = world.blend("one", world.data(validation=None), weights={"ease": 2.0})
    users, seen = world.train.select("user").distinct(), world.train.select("user", "item")

    def order(of: FittedModel) -> list[tuple[int, ...]]:
        rows = of.recommend(users, n=5, seen=seen).frame.collect()
        return sorted((row.user, row["rank"], row.item) for row in rows)

    assert order(model) == order(world.components["ease"])
    # Ease knows nobody else, and so neither does a blend of it.
    unknown = spark.createDataFrame([(999,)], "user int")
    assert not model.recommend(unknown, n=5, seen=seen).frame.collect()


def test_weights_depend_on_the_seed_alone_where_users_are_drawn(world: World) -> None:
    own = {"max_users": 20, "steps": 7}
    once = world.blend("drawn", world.data(), **own)
    moved = replace(
        world,
        train=world.train.orderBy("item").repartition(5),
        validation=world.validation.repartition(3, "item"),
    )
    again = moved.blend("drawn-again", moved.data(), **own)
    assert again.weights == once.weights


@pytest.mark.parametrize(
    ("changes", "own", "words"),
    [
        ({"fitted": {}}, {}, "no model to blend"),
        ({"validation": None}, {}, "no validation part to find weights on"),
        ({}, {"weights": {"sgd": 1.0}}, "sgd was not fitted"),
    ],
)
def test_what_a_blend_lacks_is_named(
    world: World, changes: dict[str, Any], own: dict[str, Any], words: str
) -> None:
    with pytest.raises(FitError, match=f"blend: {words}") as refusal:
        world.blend("refused", world.data(**changes), **own)
    assert refusal.value.hint
