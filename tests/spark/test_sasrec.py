"""SASRec on walks along a chain: what comes next is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.neural.sasrec import SasRec, SequenceModel
from recpipe.models.neural.settings import SasRecSettings
from recpipe.models.neural.transformer import last_state
from recpipe.ranking.factor_scorer import ItemArrays
from recpipe.spark.interactions import frame_of
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

pytest.importorskip("torch")

RATINGS = "user int, item int, rating float, rated_at timestamp"
ITEMS, BEGIN = 30, datetime(2020, 1, 1, tzinfo=UTC)
ONE_ORDER, OTHER_ORDER = 500, 501
"""Users of the same items, in another order."""
WALKS = {ONE_ORDER: [20, 21, 22, 5, 6, 7], OTHER_ORDER: [5, 6, 7, 20, 21, 22]}


def walks() -> dict[int, list[int]]:
    """Of each user two walks along 0, 1, .. 29, 0, .., each of 4 items."""
    rng = np.random.default_rng(1)
    found = dict(WALKS)
    for user in range(60):
        first, second = rng.permutation(ITEMS)[:2]
        steps = [*((first + step) % ITEMS for step in range(4))]
        steps += [(second + step) % ITEMS for step in range(4)]
        # A pair occurs once.
        found[user] = list(dict.fromkeys(int(step) for step in steps))
    return found


def rated(histories: dict[int, list[int]]) -> list[tuple[int, int, float, datetime]]:
    return [
        (user, 3 * item, 5.0, BEGIN + timedelta(hours=place))
        for user, items in histories.items()
        for place, item in enumerate(items)
    ]


OWN: dict[str, Any] = {
    "rank": 16, "layers": 1, "max_length": 6, "epochs": 40, "learning_rate": 0.01,
    "dropout": 0.1, "batch_size": 16,
}  # fmt: skip


def fit(spark: SparkSession, place: Path, validation: Any = None, **own: Any) -> SequenceModel:
    data = TrainingData(
        ratings=spark.createDataFrame(rated(walks()), RATINGS),
        validation=None if validation is None else spark.createDataFrame(validation, RATINGS),
    )
    model = SasRec(SasRecSettings(**{**OWN, **own}))
    return model.fit(data, scratch=Folder(spark, place), seed=3)


@pytest.fixture(scope="module")
def fitted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SequenceModel:
    return fit(spark, tmp_path_factory.mktemp("sasrec"), negatives="all")


def lists(model: Any, users: list[int], histories: dict[int, list[int]]) -> dict[int, list[int]]:
    spark = model.spark
    asked = spark.createDataFrame([(user,) for user in users], "user int")
    seen = [(user, 3 * item) for user in users for item in histories[user]]
    left_out = spark.createDataFrame(seen, "user int, item int")
    rows = model.recommend(asked, n=5, seen=left_out).frame.collect()
    found: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda row: (row.user, row["rank"])):
        found.setdefault(row.user, []).append(row.item // 3)
    return found


def share_of_next(model: SequenceModel) -> float:
    """Of the users whose next item on the chain is new to them, for how many it comes first."""
    known = walks()
    fresh = {u: (w[-1] + 1) % ITEMS for u, w in known.items() if (w[-1] + 1) % ITEMS not in w}
    found = lists(model, list(fresh), known)
    return float(np.mean([found[user][0] == item for user, item in fresh.items()]))


def test_the_next_item_of_the_chain_comes_first(fitted: SequenceModel) -> None:
    assert share_of_next(fitted) > 0.9


def test_negatives_drawn_at_random_teach_the_chain_too(spark: SparkSession, tmp_path: Path) -> None:
    assert share_of_next(fit(spark, tmp_path, negatives=10)) > 0.9


def test_two_processes_teach_it_to_one_network(spark: SparkSession, tmp_path: Path) -> None:
    assert spark.sparkContext.defaultParallelism > 1
    model = fit(spark, tmp_path, negatives="all", processes=2)
    assert model.info()["processes"] == 2
    assert model.users == len(walks())
    assert share_of_next(model) > 0.9


def test_the_same_items_in_another_order_make_another_list(fitted: SequenceModel) -> None:
    found = lists(fitted, [*WALKS], WALKS)
    assert found[ONE_ORDER][0] == 8
    assert found[OTHER_ORDER][0] == 23


def test_new_people_are_asked_by_their_own_order_and_the_newest_items_count(
    fitted: SequenceModel, spark: SparkSession
) -> None:
    """After 6 items of `max_length` older ones do not count, whatever they are."""
    people = {1: [14, 15], 2: [15, 14], 3: [1, 2, 9, 10, 11, 12, 13, 14], 4: [3, *range(9, 15)]}
    data = TrainingData(ratings=spark.createDataFrame(rated(people), RATINGS))
    found = lists(fitted.for_people(data), [*people], people)
    assert found[1][0] == 16
    assert found[2][0] != 16
    assert found[3][0] == 15
    vectors = {
        user: last_state(*_network(fitted), np.array(items, np.int32))
        for user, items in people.items()
    }
    assert vectors[3].tobytes() == vectors[4].tobytes()


def _network(model: SequenceModel) -> tuple[Any, Any]:
    items = ItemArrays.of(frame_of(model.item_factors), rank=model.rank)
    config = model.refit_config
    assert isinstance(config, SasRec)
    encoder = config.row_solver(model, items)
    return encoder.weights, encoder.shape  # type: ignore[attr-defined]


def test_places_in_time_are_counted_from_the_newest_ties_by_item(spark: SparkSession) -> None:
    at = [BEGIN, BEGIN + timedelta(seconds=1)]
    rows = [
        (1, 7, 5.0, at[0]), (1, 3, 5.0, at[1]), (1, 9, 5.0, at[0]), (1, 4, 2.0, at[1]),
        (1, 5, 4.0, None), (1, 6, 4.5, None), (2, 5, 4.0, at[1]),
    ]  # fmt: skip
    data = TrainingData(ratings=spark.createDataFrame(rows, RATINGS))
    found = SasRec(SasRecSettings()).fed(data).collect()
    # A rating of 2 is no liking; without an instant a liking is the oldest.
    assert sorted((row.user, row["rating"], row.item) for row in found) == [
        (1, 1, 3), (1, 2, 9), (1, 3, 7), (1, 4, 6), (1, 5, 5), (2, 1, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("instant", [None, BEGIN])
def test_ratings_without_an_order_in_time_are_warned_about(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture, instant: datetime | None
) -> None:
    rows = [(user, item, 5.0, instant) for user in range(6) for item in range(user, user + 3)]
    data = TrainingData(ratings=spark.createDataFrame(rows, RATINGS))
    model = SasRec(SasRecSettings(**{**OWN, "epochs": 1}))
    model.fit(data, scratch=Folder(spark, tmp_path), seed=1)
    assert "sasrec: the ratings have no instants, or one for all" in caplog.text


def test_the_best_epoch_on_validation_is_kept_and_refitted(
    spark: SparkSession, tmp_path: Path
) -> None:
    following = [
        (user, 3 * ((walk[-1] + 1) % ITEMS), 5.0, BEGIN + timedelta(days=9))
        for user, walk in walks().items()
    ]
    model = fit(spark, tmp_path, following, epochs=12, patience=4, negatives="all")
    curve = {
        point["epoch"]: point["validation_ndcg@10"] for point in model.info()["learning_curve"]
    }
    best = model.info()["best_epoch"]
    assert curve[best] == max(curve.values())
    assert len(curve) == min(12, best + 4)
    assert model.refit_config == SasRec(
        SasRecSettings(**{**OWN, "negatives": "all", "epochs": best, "patience": 0})
    )


def test_a_model_is_loaded_with_its_network(fitted: SequenceModel, tmp_path: Path) -> None:
    place = Folder(fitted.spark, tmp_path)
    fitted.save(place)
    loaded = registry.load(place)
    assert isinstance(loaded, SequenceModel)
    once, again = _network(fitted)[0], _network(loaded)[0]
    assert once.keys() == again.keys()
    assert all(once[name].tobytes() == again[name].tobytes() for name in once)


def test_rank_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match="rank = 6 must be a multiple of heads = 4"):
        SasRecSettings(rank=6, heads=4)
