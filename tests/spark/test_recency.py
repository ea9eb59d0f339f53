"""Ratings that weigh less the older they are: `train.half_life`, for every model that can."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import UsageError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.settings import Settings
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder
from tests.neural import named

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.models.base import FittedModel

RATINGS = "user int, item int, rating float, rated_at timestamp"
AS_OF = datetime(2021, 6, 1, tzinfo=UTC)
DAYS = 10.0
"""The half-life of these tests."""
USERS, ITEMS = 14, 6
STARS = Scale(min=1, max=5, step=1)
WIDE = Scale(min=-100, max=100, step=None)
OWN: dict[str, dict[str, Any]] = {
    "als_implicit": {"rank": 3, "iterations": 3},
    "block_als_implicit": {"rank": 3, "iterations": 3},
    "svd_implicit": {"rank": 3, "values": "likings"},
    "ease": {"regularization": 1.0},
    "slim": {"l1": 0.01, "l2": 0.5},
    "rp3beta": {"k": 5},
    "block_als": {"rank": 3, "iterations": 3},
    "svd": {"rank": 3},
    **{name: {"rank": 3, "epochs": 3} for name in ("gmf", "mlp", "neumf")},
}
STRENGTHS: dict[str, dict[str, Any]] = {
    **{n: {**OWN[n], "confidence": "rating"} for n in ("als_implicit", "block_als_implicit")},
    **{n: {**OWN[n], "values": "ratings"} for n in ("svd_implicit", "ease", "slim")},
}
"""Settings under which strengths of implicit feedback are fitted as they are."""
ABLE = [name for name, spec in registry.SPECS.items() if spec.takes_weights]

Row = tuple[int, int, float, datetime | None]


def rows() -> list[Row]:
    rng = np.random.default_rng(4)
    found: list[Row] = []
    for user in range(USERS):
        for item in rng.choice(ITEMS, 4, replace=False):
            age = timedelta(days=DAYS * int(rng.integers(0, 4)))
            found.append((user, int(item), float(rng.integers(3, 6)), AS_OF - age))
    return found


ROWS = rows()


def weight(row: Row) -> float:
    assert row[3] is not None
    return float(0.5 ** ((AS_OF - row[3]) / timedelta(days=DAYS)))


@dataclass(frozen=True)
class Place:
    spark: SparkSession
    scratch: Folder

    def fit(
        self, name: str, given: list[Row], own: dict[str, Any], label: str, **data: Any
    ) -> FittedModel:
        sections = {name: registry.SPECS[name].sections[name](**own)} if own else {}
        asked = TrainingData(
            ratings=self.spark.createDataFrame(given, RATINGS), **{"as_of": AS_OF, **data}
        )
        scratch = self.scratch / f"{name}-{label}"
        return registry.build(name, sections).fit(asked, scratch=scratch, seed=3)

    def scores(self, model: FittedModel) -> dict[tuple[int, int], float]:
        users = self.spark.createDataFrame([(user,) for user in range(USERS)], "user int")
        nothing = self.spark.createDataFrame([], "user int, item int")
        found = model.recommend(users, n=100, seen=nothing).frame.collect()
        return {(row.user, row.item): row.score for row in found}


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(spark, Folder(spark, tmp_path_factory.mktemp("recency")))


def test_a_weight_halves_with_each_half_life_and_is_never_0(spark: SparkSession) -> None:
    ages = [0, 10, 25, -3, 700_000]
    given: list[Row] = [(n, 0, 3.0, AS_OF - timedelta(days=age)) for n, age in enumerate(ages)]
    frame = spark.createDataFrame([*given, (5, 0, 3.0, None)], RATINGS)
    data = TrainingData(ratings=frame, as_of=AS_OF, half_life=DAYS)
    found = frame.select("user", data.weight.alias("weight")).orderBy("user").collect()
    expected = [1, 0.5, 2**-2.5, 1, 2.0**-100, 1]
    assert [row.weight for row in found] == pytest.approx(expected, rel=1e-12)


def test_popularity_and_mean_count_a_rating_as_much_as_it_weighs(place: Place) -> None:
    popular = place.fit("popularity", ROWS, {}, "half", half_life=DAYS)
    scores = place.scores(popular)
    for item in range(ITEMS):
        assert scores[0, item] == pytest.approx(sum(weight(r) for r in ROWS if r[1] == item))
    mean = place.fit("mean", ROWS, {}, "half", half_life=DAYS, scale=STARS)
    weights = [weight(row) for row in ROWS]
    expected = np.average([row[2] for row in ROWS], weights=weights)
    assert mean.info()["mean"] == pytest.approx(expected)


def test_biases_minimise_the_weighted_squares(place: Place) -> None:
    own = {"user_regularization": 0.5, "item_regularization": 1.5}
    fitted: Any = place.fit("biases", ROWS, own, "half", half_life=DAYS, scale=STARS)
    weights = np.array([weight(row) for row in ROWS])
    ratings = np.array([row[2] for row in ROWS])
    mean = np.average(ratings, weights=weights)
    design = np.zeros((len(ROWS), USERS + ITEMS))
    for n, (user, item, *_) in enumerate(ROWS):
        design[n, user] = design[n, USERS + item] = 1
    penalty = np.diag([0.5] * USERS + [1.5] * ITEMS)
    matrix = design.T @ (weights[:, None] * design) + penalty
    expected = np.linalg.solve(matrix, design.T @ (weights * (ratings - mean)))
    of_users = {row.user: row.bias for row in frame_of(fitted.user_factors).collect()}
    of_items = {row.item: row.bias for row in frame_of(fitted.item_factors).collect()}
    found = [*(of_users[n] for n in range(USERS)), *(of_items[n] for n in range(ITEMS))]
    assert found == pytest.approx(list(expected), abs=1e-5)


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_liking_of_half_the_weight_is_a_liking_of_half_the_strength(
    place: Place, name: str
) -> None:
    weighed = place.fit(name, ROWS, OWN[name], "weighed", half_life=DAYS, scale=STARS)
    # The strength of implicit feedback is ln(1 + value) for ALS.
    strength = math.expm1 if "als" in name else float
    liked: list[Row] = [
        (user, item, strength(weight((user, item, rating, at))), None)
        for user, item, rating, at in ROWS
        if rating >= 4
    ]
    strengths = place.fit(name, liked, STRENGTHS[name], "strengths", scale=None)
    assert place.scores(weighed) == pytest.approx(place.scores(strengths), rel=1e-4, abs=1e-5)
    unweighed = place.fit(name, ROWS, OWN[name], "unweighed", scale=STARS)
    assert place.scores(weighed) != pytest.approx(place.scores(unweighed), rel=1e-2)


@pytest.mark.parametrize("exchange", ["auto", "spark"])
def test_rows_of_factors_minimise_the_weighted_squares(place: Place, exchange: str) -> None:
    own = {"rank": 3, "iterations": 4, "regularization": 0.1, "blocks": 2, "exchange": exchange}
    label = f"half-{exchange}"
    fitted: Any = place.fit("block_als", ROWS, own, label, half_life=DAYS, scale=WIDE)
    users, items = (
        {row[side]: np.array(row.factors) for row in frame_of(frame).collect()}
        for side, frame in (("user", fitted.user_factors), ("item", fitted.item_factors))
    )
    assert len(users) == USERS
    for user, found in users.items():
        mine = [row for row in ROWS if row[0] == user]
        q = np.array([items[row[1]] for row in mine])
        w, r = np.array([weight(row) for row in mine]), np.array([row[2] for row in mine])
        # Users come last, so each is the best beside the items as they are.
        ridge = (q.T * w) @ q + 0.1 * len(mine) * np.eye(3)
        assert found == pytest.approx(np.linalg.solve(ridge, q.T @ (w * r)), abs=1e-4)


@pytest.mark.parametrize("own", [{}, {"optimizer": "momentum"}, {"blocks": 3, "exchange": "spark"}])
def test_steps_down_the_gradient_are_as_long_as_a_rating_weighs(
    place: Place, own: dict[str, Any]
) -> None:
    # Each user has rated one item and each item has one rating: no step depends on another.
    ages = [0, 1, 2, 5, 0, 3]
    given: list[Row] = [
        (n, n, float(1 + n % 5), AS_OF - timedelta(days=DAYS * age)) for n, age in enumerate(ages)
    ]
    still = {"rank": 2, "epochs": 2, "patience": 0, "initial_scale": 1e-6, "learning_rate": 0.05}
    label = "-".join(["half", *map(str, own.values())])
    fitted: Any = place.fit("sgd", given, {**still, **own}, label, half_life=DAYS, scale=STARS)
    weights = np.array([weight(row) for row in given])
    # As they are learned: from 1 to 5 becomes from 0.5 to 5.
    ratings, unit = np.array([row[2] for row in given]), 4 / 4.5
    learned = (ratings - 1) / unit + 0.5
    mean = np.average(learned, weights=weights)
    bias, moment = np.zeros(len(given)), np.zeros(len(given))
    defaults = registry.SPECS["sgd"].sections["sgd"]().model_dump()
    for epoch in range(2):
        rate = 0.05 * defaults["learning_rate_decay"] ** epoch
        error = learned - mean - 2 * bias
        gradient = defaults["bias_regularization"] * bias - weights * error
        moment = gradient + (0.9 * moment if "optimizer" in own else 0)
        bias -= rate * moment
    found = {row.user: row.bias for row in frame_of(fitted.user_factors).collect()}
    assert [found[n] for n in range(len(given))] == pytest.approx(list(unit * bias), abs=1e-4)
    assert fitted.info()["mean"] == pytest.approx((mean - 0.5) * unit + 1, abs=1e-5)


@pytest.mark.parametrize("fill", ["mean", "item", "user"])
def test_a_rating_of_a_filled_matrix_fades_to_what_the_unknown_are_filled_with(
    place: Place, fill: str
) -> None:
    own = {"rank": ITEMS, "fill": fill, "tolerance": 1e-12}
    fitted: Any = place.fit("svd", ROWS, own, f"half-{fill}", half_life=DAYS, scale=WIDE)
    known, ratings, weights = (np.zeros((USERS, ITEMS)) for _ in range(3))
    for row in ROWS:
        known[row[:2]], ratings[row[:2]], weights[row[:2]] = 1, row[2], weight(row)
    axis = {"mean": None, "item": 0, "user": 1}[fill]
    means = (weights * ratings).sum(axis, keepdims=True) / weights.sum(axis, keepdims=True)
    # Of full rank, so that the factors are the matrix.
    expected = means + known * weights * (ratings - means)
    for (user, item), score in place.scores(fitted).items():
        assert score == pytest.approx(expected[user, item], abs=1e-4)


def test_walks_are_likelier_through_ratings_that_weigh_more(place: Place) -> None:
    fitted = place.fit("rp3beta", ROWS, OWN["rp3beta"], "half", half_life=DAYS, scale=STARS)
    x = np.zeros((USERS, ITEMS))
    for row in ROWS:
        if row[2] >= 4:
            x[row[0], row[1]] = weight(row)
    ends = x.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        step, back = np.nan_to_num(x / ends), np.nan_to_num(x / x.sum(axis=1, keepdims=True))
    weights = step.T @ back / ends**0.4
    np.fill_diagonal(weights, 0)
    expected = x @ weights
    for (user, item), score in place.scores(fitted).items():
        assert score == pytest.approx(expected[user, item], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", named(name for name in ABLE if name != "blend"))
def test_under_a_very_long_half_life_a_model_is_as_it_is_without(place: Place, name: str) -> None:
    own = OWN.get(name, {})
    without, under = (
        place.scores(place.fit(name, ROWS, own, str(days), half_life=days, scale=STARS))
        for days in (None, 1e12)
    )
    assert without
    tolerance = 1e-4 if name == "als_implicit" else 1e-6
    assert under == pytest.approx(without, rel=tolerance, abs=tolerance)


def test_new_people_are_scored_from_ratings_as_they_weigh(place: Place) -> None:
    for name in ("ease", "slim", "rp3beta", "svd", "svd_implicit"):
        data: dict[str, Any] = {"half_life": DAYS, "scale": STARS}
        fitted = place.fit(name, ROWS, OWN[name], "people", **data)
        mine = [row for row in ROWS if row[0] < 3]
        asked = TrainingData(
            ratings=place.spark.createDataFrame(mine, RATINGS), as_of=AS_OF, **data
        )
        then = place.scores(fitted)
        now = {k: v for k, v in place.scores(fitted.for_people(asked)).items() if k[0] < 3}
        assert now
        assert now == pytest.approx({key: then[key] for key in now}, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in registry.SPECS if name not in ABLE])
def test_a_model_that_cannot_weigh_ratings_refuses_a_half_life(name: str) -> None:
    settings = Settings.model_validate({"train": {"half_life": 30, "models": ["popularity"]}})
    with pytest.raises(UsageError, match=f"half_life: {name} cannot weigh ratings; these can: pop"):
        registry.build(name, dict(settings))
    with pytest.raises(ValueError, match=f"half_life: {name} cannot weigh ratings"):
        Settings.model_validate({"train": {"half_life": 30, "models": ["popularity", name]}})
