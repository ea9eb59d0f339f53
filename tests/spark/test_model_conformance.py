"""What every model keeps, whatever its family: one suite over every spec of the registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe.errors import FitError, UsageError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.ranking.pairs import packed_pairs
from recpipe.runtime.parallel import run_all
from recpipe.settings import Settings
from recpipe.spark.interactions import mapped
from recpipe.storage import Folder
from tests.clock import Clock, micros
from tests.neural import fittable, named

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
SMALL: dict[str, dict[str, Any]] = {
    "als": {"blocks": 2},
    "als_explicit": {"rank": 4, "iterations": 2},
    "als_implicit": {"rank": 4, "iterations": 2},
    "nmf": {"rank": 4, "iterations": 2},
    "block_als": {"rank": 4, "iterations": 3},
    "block_als_implicit": {"rank": 4, "iterations": 3},
    "sgd": {"rank": 4, "epochs": 6},
    "svd": {"rank": 4},
    "svd_implicit": {"rank": 4},
    "gmf": {"rank": 4, "epochs": 2},
    "mlp": {"rank": 4, "epochs": 2, "layers": (6, 3)},
    "neumf": {"rank": 4, "epochs": 2, "layers": (6, 3), "pretrain": 1},
    "sasrec": {"rank": 4, "layers": 1, "max_length": 8, "epochs": 3},
    "blend": {"models": PARTS},
}
NO_NEW_PEOPLE = {"user_knn", "time_sgd", "gmf", "mlp", "neumf"}
"""Who say that they have no lists for people whom they have not met."""
NO_MEAN = {"ease", "slim", "item_knn", "rp3beta", "content"}
"""Who say nothing to people who have rated nothing that they know."""
AS_AT_THE_FIT = {
    "popularity", "mean", "biases", "ease", "slim", "svd", "svd_implicit", "item_knn", "rp3beta",
    "content", "sasrec", "blend",
}  # fmt: skip
"""Whose users of the fit are to them what new people with the same ratings are. The last step of a
fit of the others moves items, or moves nothing to its end."""
N = 5
LATER = datetime(2021, 1, 1, tzinfo=UTC)
List = list[tuple[int, float]]
Rating = tuple[int, int, float, datetime]
each_model = pytest.mark.parametrize("name", named(registry.SPECS))


def sections(**changes: dict[str, Any]) -> dict[str, Section]:
    tree = {key: {**SMALL.get(key, {}), **changes.get(key, {})} for key in {*SMALL, *changes}}
    tree["train"] = {"models": [*registry.SPECS]}
    return dict(Settings.model_validate(tree))


def rated(users: int, items: int) -> list[Rating]:
    """Half of all pairs, rated by two tastes; every user likes something."""
    rng = np.random.default_rng(1)
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


def held_out(rows: list[Rating]) -> list[Rating]:
    """Of every user the first unrated item of the user's taste, where there is one."""
    pairs, items = {row[:2] for row in rows}, sorted({row[1] for row in rows})
    found = []
    for user in sorted({row[0] for row in rows}):
        liked = [i for i in items if (user // 2 + i // 3) % 2 == 0 and (user, i) not in pairs]
        found += [(user, item, 5.0, LATER) for item in liked[:1]]
    return found


@dataclass(frozen=True)
class Answers:
    """What a model fitted on TRAIN says, asked once for all tests."""

    everything: dict[int, List]
    """All items of every user by rank, nothing left out."""
    unseen: dict[int, List]
    """N items of every user by rank, without SEEN."""
    predictions: dict[tuple[int, int], float]


@dataclass(frozen=True)
class House:
    """What fits here are made with."""

    spark: SparkSession
    folder: Path
    fits: dict[tuple[str, str], FittedModel] = field(default_factory=dict)
    asked: dict[str, Answers] = field(default_factory=dict)

    def data(self, rows: list[Rating], **rest: Any) -> TrainingData:
        frame = self.spark.createDataFrame(rows, RATINGS)
        return TrainingData(ratings=frame, scale=Scale(min=1, max=5, step=1), **rest)

    def fit(self, name: str, rows: list[Rating], *, place: str, **changes: Any) -> FittedModel:
        """Once for a name and a place, so that a blend takes the parts that others have fitted."""
        if (name, place) not in self.fits:
            rest: dict[str, Any] = {}
            if name == "blend":
                rest["fitted"] = {part: self.fit(part, rows, place=place) for part in PARTS}
                rest["validation"] = self.spark.createDataFrame(held_out(rows), RATINGS)
            model = registry.build(name, sections(**changes))
            scratch = Folder(self.spark, self.folder) / f"{name}-{place}"
            self.fits[name, place] = model.fit(self.data(rows, **rest), scratch=scratch, seed=7)
        return self.fits[name, place]

    def fitted(self, name: str) -> FittedModel:
        return self.fit(name, TRAIN, place="train")

    def answers(self, name: str) -> Answers:
        if name not in self.asked:
            model, asked = self.fitted(name), [*USERS, UNKNOWN]
            pairs = [(user, item) for user in USERS[:6] for item in ITEMS]
            everything, unseen = lists_of(model, asked, ([], 100), (SEEN, N))
            predictions = predictions_of(model, pairs + UNKNOWN_PAIRS)
            self.asked[name] = Answers(everything, unseen, predictions)
        return self.asked[name]


@pytest.fixture(scope="module")
def house(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(spark, tmp_path_factory.mktemp("fits"))


TRAIN = rated(30, 24)
USERS = sorted({row[0] for row in TRAIN})
ITEMS = sorted({row[1] for row in TRAIN})
UNKNOWN, NO_ITEM = 999, 777
UNKNOWN_PAIRS = [(USERS[0], NO_ITEM), (UNKNOWN, ITEMS[0]), (UNKNOWN, NO_ITEM)]
HAS_THREE_LEFT, HAS_NONE_LEFT = USERS[0], USERS[1]
LEFT = ITEMS[4:7]
SEEN = sorted(
    {row[:2] for row in TRAIN if row[0] != HAS_THREE_LEFT}
    | {(HAS_THREE_LEFT, item) for item in ITEMS if item not in LEFT}
    | {(HAS_NONE_LEFT, item) for item in ITEMS}
    # What no model knows does no harm.
    | {*UNKNOWN_PAIRS, (555, NO_ITEM)}
)


def lists_of(
    model: FittedModel, users: list[int], *questions: tuple[list[tuple[int, int]], int]
) -> list[dict[int, List]]:
    """(item, score) of every user by rank, for each of several seen pairs and n, in one query."""
    spark = model.spark
    asked = spark.createDataFrame([(user,) for user in users], "user int")
    frames = []
    for number, (seen, n) in enumerate(questions):
        left_out = spark.createDataFrame(seen, "user int, item int")
        lists = model.recommend(asked, n=n, seen=left_out, instant=LATER).frame
        frames.append(lists.withColumn("question", F.lit(number)))
    rows = reduce(DataFrame.unionByName, frames).collect()
    found: list[dict[int, List]] = [{} for _ in questions]
    for row in sorted(rows, key=lambda row: (row.user, row["rank"])):
        places = found[row.question].setdefault(row.user, [])
        places.append((row.item, row.score))
        assert row["rank"] == len(places)
    return found


def predictions_of(
    model: FittedModel, pairs: list[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    asked = model.spark.createDataFrame(
        [(*pair, LATER) for pair in pairs], "user int, item int, rated_at timestamp"
    )
    rows = model.predict(asked).frame.collect()
    found = {(row.user, row.item): row.prediction for row in rows}
    assert len(found) == len(rows)
    return found


@each_model
def test_every_user_gets_all_items_in_total_order_where_nothing_was_seen(
    house: House, name: str
) -> None:
    found = house.answers(name).everything
    assert sorted(set(found) - {UNKNOWN}) == USERS
    for places in found.values():
        assert sorted(item for item, _ in places) == ITEMS
        assert all(np.isfinite(score) for _, score in places)
        assert places == sorted(places, key=lambda place: (-place[1], place[0]))


@each_model
def test_every_user_gets_the_n_best_of_the_items_that_were_not_seen(
    house: House, name: str
) -> None:
    answers, seen = house.answers(name), set(SEEN)
    assert sorted(set(answers.unseen) - {UNKNOWN}) == sorted({*USERS} - {HAS_NONE_LEFT})
    for user, places in answers.unseen.items():
        # To the bit: a score does not depend on what else is asked.
        every = [place for place in answers.everything[user] if (user, place[0]) not in seen]
        assert places == every[:N]
        assert len(places) == (3 if user == HAS_THREE_LEFT else N)
    assert sorted(item for item, _ in answers.unseen[HAS_THREE_LEFT]) == LEFT


@each_model
def test_predictions_are_finite_and_on_the_scale_or_none(house: House, name: str) -> None:
    found = house.answers(name).predictions
    if not registry.SPECS[name].predicts_ratings:
        assert not found
        return
    assert set(found) - {*UNKNOWN_PAIRS} == {(user, item) for user in USERS[:6] for item in ITEMS}
    assert all(1 <= rating <= 5 for rating in found.values())
    assert name == "mean" or len(set(found.values())) > 5


@each_model
def test_unknown_users_and_items_are_served_by_those_who_can(house: House, name: str) -> None:
    answers = house.answers(name)
    served = house.fitted(name).scoring.everyone
    assert (UNKNOWN in answers.everything, UNKNOWN in answers.unseen) == (served, served)
    if served:
        assert len(answers.unseen[UNKNOWN]) == N
    predicted = {*UNKNOWN_PAIRS} & {*answers.predictions}
    assert predicted == ({*UNKNOWN_PAIRS} if name in {"mean", "biases"} else set())


@each_model
def test_new_people_get_lists_from_their_own_ratings(house: House, name: str) -> None:
    """Numbered anew, some of TRAIN's users are as good as anybody; 1001 has rated nothing known."""
    met = USERS[:6]
    rows: list[Rating] = [
        (user + 1, item, rating, at) for user, item, rating, at in TRAIN if user in met
    ]
    given = house.data([*rows, (1001, NO_ITEM, 5.0, LATER)])
    if name in NO_NEW_PEOPLE:
        with pytest.raises(UsageError, match=f"{name} has no lists for people") as refusal:
            house.fitted(name).for_people(given)
        assert refusal.value.hint
        return
    model = house.fitted(name).for_people(given)
    seen = [row[:2] for row in rows]
    people = [*(user + 1 for user in met), 1001]
    everything, unseen = lists_of(model, people, ([], 100), (seen, N))
    assert set(everything) == set(unseen) == set(people) - ({1001} if name in NO_MEAN else set())
    for person, places in unseen.items():
        every = everything[person]
        assert sorted(item for item, _ in every) == ITEMS
        assert all(np.isfinite(score) for _, score in every)
        assert every == sorted(every, key=lambda place: (-place[1], place[0]))
        assert places == [place for place in every if (person, place[0]) not in seen][:N]
    if name in AS_AT_THE_FIT:
        once = house.answers(name).everything
        for user in met:
            assert dict(everything[user + 1]) == pytest.approx(dict(once[user]), rel=1e-4, abs=1e-4)


@each_model
def test_one_seed_makes_one_model(house: House, name: str) -> None:
    once = house.answers(name).everything
    (again,) = lists_of(house.fit(name, TRAIN[::-1], place="again"), USERS, ([], 100))
    if name not in MLLIB:
        assert again == {user: once[user] for user in USERS}
        return
    for user in USERS:
        expected = dict(once[user])
        assert dict(again[user]) == pytest.approx(expected, abs=1e-4)


@each_model
def test_one_user_and_one_item_are_enough(house: House, name: str) -> None:
    model = house.fit(name, rated(1, 1), place="one")
    (found,) = lists_of(model, [0], ([], N))
    assert [item for item, _ in found[0]] == [0]


@pytest.mark.parametrize(
    "name", named(name for name in registry.SPECS if "rank" in SMALL.get(name, {}))
)
def test_a_rank_above_users_and_items_is_no_fault(house: House, name: str) -> None:
    rows, changes = rated(4, 9), {name: {"rank": 12}}
    (found,) = lists_of(house.fit(name, rows, place="rank", **changes), [0, 2, 4, 6], ([], 2))
    assert len(found) == 4
    assert all(np.isfinite(score) for places in found.values() for _, score in places)


@each_model
def test_nothing_to_fit_is_refused_in_words(house: House, name: str) -> None:
    # A blend is fitted from models: without any it has nothing, as others without ratings.
    words = "blend: no model to blend" if name == "blend" else f"{name}: no rating to fit"
    scratch = Folder(house.spark, house.folder) / f"{name}-none"
    with pytest.raises(FitError, match=words) as refusal:
        registry.build(name, sections()).fit(house.data([]), scratch=scratch, seed=7)
    assert refusal.value.hint


def test_a_blend_of_which_validation_says_nothing_weighs_its_parts_equally(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {part: house.fitted(part) for part in PARTS}
    nothing = house.spark.createDataFrame([], RATINGS)
    data = house.data(TRAIN, validation=nothing, fitted=parts)
    scratch = Folder(house.spark, house.folder) / "blend-equal"
    model = registry.build("blend", sections()).fit(data, scratch=scratch, seed=7)
    assert model.info()["weights"] == {part: 1 / len(PARTS) for part in PARTS}
    assert "no relevant item in validation" in caplog.text
    (found,) = lists_of(model, USERS, ([], N))
    assert len(found) == len(USERS)


LOAD = """
import json, sys
from datetime import datetime
from functools import reduce
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from recpipe.models import registry
from recpipe.storage import Folder

builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
# Other buckets of users than those of the session that fitted, and few of them.
builder = builder.config("spark.default.parallelism", "1")
# As the session of the tests: to compile plans and expressions takes longer than to interpret them.
builder = builder.config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
spark = builder.config("spark.sql.shuffle.partitions", "3").getOrCreate()
names, users, instant = json.loads(sys.argv[2])
instant = datetime.fromisoformat(instant)
asked = spark.createDataFrame([(u,) for u in users], "user int").persist()
nothing = spark.createDataFrame([], "user int, item int")
frames = []
for name in names:
    model = registry.load(Folder(spark, sys.argv[1]) / name)
    again = registry.build(name, model.refit_config.sections())
    lists = model.recommend(asked, n=100, seen=nothing, instant=instant).frame
    frames.append(lists.withColumn("model", F.lit(name)))
    print("LOADED", json.dumps([name, again == model.refit_config, model.info()]))
rows = reduce(DataFrame.unionByName, frames).collect()
print("LISTS", json.dumps(sorted((r.model, r.user, r["rank"], r.item, r.score) for r in rows)))
"""


def test_saved_models_give_the_same_lists_in_a_fresh_process(house: House, tmp_path: Path) -> None:
    names = fittable()
    place = Folder(house.spark, tmp_path)
    run_all([partial(house.fitted(name).save, place / name) for name in names])
    given = json.dumps([names, USERS, LATER.isoformat()])
    # Nor does anybody need PyTorch any more: neither the driver nor the workers find it.
    (tmp_path / "hides").mkdir()
    (tmp_path / "hides" / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    path = os.pathsep.join(filter(None, [str(tmp_path / "hides"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), given],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    loaded = [json.loads(line[1]) for line in lines if line[0] == "LOADED"]
    assert [name for name, *_ in loaded] == names
    for name, same_config, info in loaded:
        assert same_config, name
        assert info == json.loads(json.dumps(dict(house.fitted(name).info()))), name
    (rows,) = (json.loads(line[1]) for line in lines if line[0] == "LISTS")
    for name in names:
        lists = house.answers(name).everything
        expected = [
            [name, user, rank, item, score]
            for user in USERS
            for rank, (item, score) in enumerate(lists[user], 1)
        ]
        assert [row for row in rows if row[0] == name] == expected


# -- a scorer that asks for the instant -------------------------------------------------------


def test_a_scorer_is_told_the_instant_for_which_lists_are_made(spark: SparkSession) -> None:
    users = spark.createDataFrame([(1,), (2,)], "user int")
    seen = spark.createDataFrame([(2, 8)], "user int, item int")
    whole, split = Clock.of(spark, (3, 7, 8, 22)), Clock.of(spark, (3, 7), (8, 22))
    packed = packed_pairs(seen)
    frames = []
    for hour in (6, 23):
        instant = datetime(1969, 5, 1, hour, 59, 59, 999_999, tzinfo=UTC)
        for clock, left_out in ((whole, seen), (whole, packed), (split, seen)):
            lists = clock.recommend(users, n=2, seen=left_out, instant=instant).frame
            frames.append(lists.withColumn("hour", F.lit(hour)))
    found = sorted(
        (row.hour, row.user, row["rank"], row.item)
        for row in reduce(DataFrame.unionByName, frames).collect()
    )
    due = {(6, 1): [7, 8], (6, 2): [7, 3], (23, 1): [22, 8], (23, 2): [22, 7]}
    assert found == sorted(
        (*key, rank, item)
        for key, items in due.items()
        for rank, item in enumerate(items, 1)
        for _ in range(3)
    )


def test_a_scorer_is_told_the_instant_of_every_pair_that_is_predicted(spark: SparkSession) -> None:
    first, second = (
        datetime(2020, 3, 1, 17, 4, 9, 123_457, tzinfo=UTC),
        datetime(1969, 12, 31, 22, 59, 58, 1, tzinfo=UTC),
    )
    # Items 2 and 5 are of different blocks, 9 of none; a pair is asked for at two instants.
    rows = [(u, i, at) for u in range(40) for i in (2, 5, 9) for at in (first, second)]
    asked = spark.createDataFrame(rows, "user int, item int, rated_at timestamp")
    clock = Clock.of(spark, (1, 2), (4, 5))
    due = sorted(
        (u, i, float(micros(at) % 10_000_000 if i == 2 else micros(at) // 3_600_000_000))
        for u, i, at in rows
        if i != 9
    )
    moved = mapped(asked, lambda batches: batches, "user int, item int, rated_at timestamp")
    frames = [
        clock.predict(pairs).frame.where("item != 9")
        for pairs in (asked, packed_pairs(asked), packed_pairs(asked, users=40), moved)
    ]
    found = reduce(DataFrame.unionByName, frames).collect()
    assert sorted(map(tuple, found)) == sorted(due * len(frames))


def test_a_blend_tells_its_parts_the_instant(house: House) -> None:
    """At the instant of the lists the clock alone finds what is held out; at another it fails."""
    spark, hours = house.spark, tuple(range(24))
    train = [(u, i, 5.0, LATER) for u in range(12) for i in (5, 6, (5 + u) % 24)]
    hidden = [(u, 17, 5.0, LATER) for u in range(12)]
    as_of = datetime(2021, 7, 1, 17, tzinfo=UTC)
    ratings = sorted(set(train))
    popular = house.fit("popularity", ratings, place="hours")
    data = house.data(
        ratings,
        validation=spark.createDataFrame(hidden, RATINGS),
        fitted={"popularity": popular, "clock": Clock.of(spark, hours)},
        as_of=as_of,
    )
    scratch = Folder(spark, house.folder) / "blend-hours"
    model = registry.build("blend", {}).fit(data, scratch=scratch, seed=7)
    assert model.info()["weights"] == {"clock": 1.0}
    users = spark.createDataFrame([(3,), (99,)], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    midnight, evening = (
        model.recommend(users, n=1, seen=nothing, instant=as_of.replace(hour=hour)).frame
        for hour in (0, 17)
    )
    found = sorted((row.user, row.item) for row in midnight.unionByName(evening).collect())
    assert found == [(3, 0), (3, 17), (99, 0), (99, 17)]
