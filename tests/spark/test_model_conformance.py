"""What every model keeps, whatever its family: one suite over every spec of the registry."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.settings import Settings
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.models.base import FittedModel
    from recpipe.sections import Section

RATINGS = "user int, item int, rating float, rated_at timestamp"
PARTS = ("popularity", "ease")
"""What a blend is made of here."""
MLLIB = {"als_explicit", "als_implicit", "nmf"}
"""Their sums are taken in the order in which tasks end: equal to a few digits, not to the bit."""
EVERYBODY = {"popularity", "mean", "random", "biases", "blend"}
"""Models that have a list for a user of whom they know nothing."""
SMALL: dict[str, dict[str, Any]] = {
    "als": {"blocks": 2},
    "als_explicit": {"rank": 4, "iterations": 3},
    "als_implicit": {"rank": 4, "iterations": 3},
    "nmf": {"rank": 4, "iterations": 3},
    "block_als": {"rank": 4, "iterations": 3},
    "block_als_implicit": {"rank": 4, "iterations": 3},
    "sgd": {"rank": 4, "epochs": 6},
    "blend": {"models": PARTS},
}
N = 5
each_model = pytest.mark.parametrize("name", registry.SPECS)


def sections(**changes: dict[str, Any]) -> dict[str, Section]:
    tree = {key: {**SMALL.get(key, {}), **changes.get(key, {})} for key in {*SMALL, *changes}}
    tree["train"] = {"models": [*registry.SPECS]}
    return dict(Settings.model_validate(tree))


def rated(users: int, items: int, *, seed: int = 1) -> list[tuple[int, int, float, datetime]]:
    """Half of all pairs, rated by two tastes; every user likes something."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        mine = rng.choice(items, max(1, items // 2), replace=False)
        for place, item in enumerate(mine):
            likes = place == 0 or (user + item) % 2 == 0
            rating = float(rng.integers(4, 6) if likes else rng.integers(1, 4))
            rows.append(
                (2 * user, 3 * int(item), rating, datetime(2020, 1, 1 + place % 28, tzinfo=UTC))
            )
    return rows


@dataclass(frozen=True)
class House:
    """What fits here are made with."""

    spark: SparkSession
    folder: Path

    def fit(
        self, name: str, rows: list[Any], *, seed: int = 7, place: str = "", **changes: Any
    ) -> FittedModel:
        frame = self.spark.createDataFrame(rows, RATINGS)
        given = sections(**changes)
        fitted = {}
        if name == "blend":
            fitted = {part: self.fit(part, rows, place=f"{place}-part") for part in PARTS}
        held_out = self.spark.createDataFrame(rows[::3], RATINGS) if name == "blend" else None
        data = TrainingData(
            ratings=frame,
            validation=held_out,
            fitted=fitted,
            scale=Scale(min=1, max=5, step=1),
        )
        scratch = Folder(self.spark, self.folder) / f"{name}-{seed}-{place}"
        return registry.build(name, given).fit(data, scratch=scratch, seed=seed)


@pytest.fixture(scope="module")
def house(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(spark, tmp_path_factory.mktemp("fits"))


TRAIN = rated(30, 24)
USERS = sorted({row[0] for row in TRAIN})
ITEMS = sorted({row[1] for row in TRAIN})
_fitted: dict[str, FittedModel] = {}


def fitted(house: House, name: str) -> FittedModel:
    """Fitted on TRAIN once for all tests."""
    if name not in _fitted:
        _fitted[name] = house.fit(name, TRAIN)
    return _fitted[name]


List = list[tuple[int, float]]


def lists_of(
    model: FittedModel, users: list[int], seen: list[Any] = TRAIN, *, n: int = N
) -> dict[int, List]:
    """(item, score) of every user by rank."""
    spark = model.spark
    asked = spark.createDataFrame([(user,) for user in users], "user int")
    left_out = spark.createDataFrame([row[:2] for row in seen], "user int, item int")
    instant = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    rows = model.recommend(asked, n=n, seen=left_out, instant=instant).frame.collect()
    found: dict[int, List] = {}
    for row in sorted(rows, key=lambda row: (row.user, row["rank"])):
        found.setdefault(row.user, []).append((row.item, row.score))
        assert row["rank"] == len(found[row.user])
    return found


def predictions_of(
    model: FittedModel, pairs: list[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    at = datetime(2021, 1, 1, tzinfo=UTC)
    asked = model.spark.createDataFrame(
        [(*pair, at) for pair in pairs], "user int, item int, rated_at timestamp"
    )
    rows = model.predict(asked).frame.collect()
    found = {(row.user, row.item): row.prediction for row in rows}
    assert len(found) == len(rows)
    return found


@each_model
def test_every_user_gets_n_unseen_items_in_total_order(house: House, name: str) -> None:
    found = lists_of(fitted(house, name), USERS)
    seen = {row[:2] for row in TRAIN}
    assert sorted(found) == USERS
    for user, places in found.items():
        items = [item for item, _ in places]
        assert len(set(items)) == len(items) == N
        assert not seen & {(user, item) for item in items}
        assert set(items) <= set(ITEMS)
        assert all(np.isfinite(score) for _, score in places)
        assert places == sorted(places, key=lambda place: (-place[1], place[0]))


@each_model
def test_where_fewer_items_are_left_the_list_has_all_of_them(house: House, name: str) -> None:
    user = USERS[0]
    known = {item for item, _ in lists_of(fitted(house, name), [user], [], n=100)[user]}
    assert len(known) >= len(ITEMS) // 2
    left = sorted(known)[:3]
    seen = [(user, item) for item in ITEMS if item not in left]
    assert sorted(i for i, _ in lists_of(fitted(house, name), [user], seen)[user]) == left


@each_model
def test_predictions_are_finite_and_on_the_scale_or_none(house: House, name: str) -> None:
    pairs = [(user, item) for user in USERS[:6] for item in ITEMS]
    found = predictions_of(fitted(house, name), pairs)
    if not registry.SPECS[name].predicts_ratings:
        assert not found
        return
    assert set(found) == set(pairs)
    assert all(1 <= rating <= 5 for rating in found.values())
    assert name == "mean" or len(set(found.values())) > 5


@each_model
def test_unknown_users_and_items_do_no_harm(house: House, name: str) -> None:
    model = fitted(house, name)
    known, unknown = USERS[0], 999
    seen = [*TRAIN, (known, 777), (unknown, ITEMS[0]), (unknown, 777), (555, 777)]
    found = lists_of(model, [known, unknown], seen)
    assert found.pop(known) == lists_of(model, [known])[known]
    if name in EVERYBODY:
        assert len(found[unknown]) == N
        assert ITEMS[0] not in {item for item, _ in found[unknown]}
    else:
        assert not found
    pairs = [(known, 777), (unknown, ITEMS[0]), (unknown, 777)]
    predicted = predictions_of(model, pairs)
    assert all(1 <= rating <= 5 for rating in predicted.values())
    assert not predicted or name in {"mean", "biases"}


@each_model
def test_one_seed_makes_one_model(house: House, name: str) -> None:
    once = lists_of(fitted(house, name), USERS)
    again = lists_of(house.fit(name, TRAIN[::-1], place="again"), USERS)
    if name not in MLLIB:
        assert again == once
        return
    for user, places in once.items():
        scores = [score for _, score in places]
        assert [score for _, score in again[user]] == pytest.approx(scores, abs=1e-4)


@each_model
def test_one_user_and_one_item_are_enough(house: House, name: str) -> None:
    rows = [(0, 0, 5.0, datetime(2020, 1, 1, tzinfo=UTC))]
    model = house.fit(name, rows, place="one")
    assert lists_of(model, [0], rows) == {}
    assert [item for item, _ in lists_of(model, [0], [])[0]] == [0]


@pytest.mark.parametrize(
    "name",
    [name for name, spec in registry.SPECS.items() if name in SMALL and "rank" in SMALL[name]],
)
@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_a_rank_above_users_or_items_is_no_fault(
    house: House, name: str, shape: tuple[int, int]
) -> None:
    rows = rated(*shape)
    changes: dict[str, Any] = {name: {"rank": 12}}
    model = house.fit(name, rows, place=f"rank-{shape[0]}", **changes)
    found = lists_of(model, sorted({row[0] for row in rows}), rows, n=2)
    assert len(found) == shape[0]
    assert all(np.isfinite(score) for places in found.values() for _, score in places)


@each_model
def test_no_rating_is_refused_in_words(house: House, name: str) -> None:
    if name == "blend":
        pytest.xfail("its parts refuse first")
    with pytest.raises(FitError, match=f"{name}.*to fit|no item was fitted") as refusal:
        house.fit(name, [], place="none")
    assert refusal.value.hint


LOAD = """
import json, sys
from pyspark.sql import SparkSession
from recpipe.models import registry
from recpipe.storage import Folder

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
names, users, seen, n = json.loads(sys.argv[2])
asked = spark.createDataFrame([(u,) for u in users], "user int")
left_out = spark.createDataFrame(seen, "user int, item int")
for name in names:
    model = registry.load(Folder(spark, sys.argv[1]) / name)
    again = registry.build(name, model.refit_config.sections())
    rows = model.recommend(asked, n=n, seen=left_out, instant=1609459200000000).frame.collect()
    lists = sorted((r.user, r["rank"], r.item, r.score) for r in rows)
    print("LOADED", json.dumps([name, again == model.refit_config, model.info(), lists]))
"""


def test_saved_models_give_the_same_lists_in_a_fresh_process(house: House, tmp_path: Path) -> None:
    names = list(registry.SPECS)
    for name in names:
        fitted(house, name).save(Folder(house.spark, tmp_path) / name)
    given = json.dumps([names, USERS, [row[:2] for row in TRAIN], N])
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), given],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.removeprefix("LOADED ") for line in done.stdout.splitlines() if "LOADED" in line]
    assert [json.loads(line)[0] for line in lines] == names
    for name, same_config, info, rows in map(json.loads, lines):
        model = fitted(house, name)
        assert same_config, name
        assert info == json.loads(json.dumps(dict(model.info()))), name
        lists = lists_of(model, USERS)
        expected = [
            [user, rank, item, score]
            for user, places in sorted(lists.items())
            for rank, (item, score) in enumerate(places, 1)
        ]
        assert rows == expected, name
