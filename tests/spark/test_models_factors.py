from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from recpipe.errors import ContractError, FitError, InputError, UsageError
from recpipe.evaluation import ranking_metrics, rating_metrics
from recpipe.models import registry
from recpipe.models.baselines.popularity import Popularity
from recpipe.models.factors import FactorModel
from recpipe.ranking.engine import LISTS
from recpipe.ranking.item_blocks import MIN_ITEMS
from recpipe.ranking.pairs import packed_pairs
from recpipe.spark.columns import arrow_schema, factor_schema
from recpipe.spark.interactions import Interactions, Mapped, frame_of, mapped
from recpipe.storage import Folder, Stored

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.evaluation import MetricRow

SCRATCH: list[Folder] = []
fits = itertools.count()
USERS = [(0, [1.0, 0.0], 0.5), (1, [0.0, 2.0], -0.5)]
ITEMS = [(10, [1.0, 1.0], 0.25), (20, [3.0, -1.0], 0.0), (30, [0.5, 0.5], -0.25)]


@pytest.fixture(autouse=True, scope="module")
def _scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    SCRATCH.append(Folder(spark, tmp_path_factory.mktemp("scratch")))


def model(
    spark: SparkSession,
    users: list[tuple[int, list[float], float]] = USERS,
    items: list[tuple[int, list[float], float]] = ITEMS,
    **rest: Any,
) -> FactorModel:
    # Frames are read from what a fit wrote, so each fit has a folder of its own.
    scratch = SCRATCH[0] / str(next(fits))
    return FactorModel.fitted(
        scratch,
        **{
            "name": "popularity",
            "user_factors": spark.createDataFrame(
                users, "user int, factors array<float>, bias float"
            ),
            "item_factors": spark.createDataFrame(
                items, "item int, factors array<float>, bias float"
            ),
            "rank": 2,
            "mean": 3.0,
            "refit_config": Popularity(),
            **rest,
        },
    )


def pairs(spark: SparkSession, *rows: tuple[int, int]) -> DataFrame:
    return spark.createDataFrame(rows, "user int, item int")


def predictions(found: Mapped) -> dict[tuple[int, int], float]:
    return {(row.user, row.item): row.prediction for row in found.frame.collect()}


def test_a_prediction_is_mean_and_biases_and_dot_of_known_pairs(spark: SparkSession) -> None:
    asked = pairs(spark, (0, 10), (0, 20), (1, 20), (1, 99), (9, 10))
    assert predictions(model(spark).predict(asked)) == {
        (0, 10): 3 + 0.5 + 0.25 + 1,
        (0, 20): 3 + 0.5 + 3,
        (1, 20): 3 - 0.5 - 2,
    }


def test_unknown_ids_count_as_zero_where_the_model_says_so(spark: SparkSession) -> None:
    asked = pairs(spark, (1, 99), (9, 10), (9, 99))
    found = predictions(model(spark, unknown="zero").predict(asked))
    assert found == {(1, 99): 2.5, (9, 10): 3.25, (9, 99): 3.0}


def test_predictions_are_clipped_to_the_scale_and_scores_are_not(spark: SparkSession) -> None:
    clipped = model(spark, scale=(1.0, 5.0))
    asked = pairs(spark, (0, 10), (0, 20), (1, 20))
    found = predictions(clipped.predict(asked))
    assert found == {(0, 10): 4.75, (0, 20): 5.0, (1, 20): 1.0}
    best = clipped.recommend(pairs(spark, (0, 0)).select("user"), n=1, seen=pairs(spark, (0, 10)))
    assert [(row.item, row.score) for row in best.frame.collect()] == [(20, 6.5)]


def test_a_sigmoid_link_gives_ratings_in_predictions_and_lists(spark: SparkSession) -> None:
    bounded = model(spark, mean=0.0, scale=(1.0, 5.0), link="sigmoid")
    expected = 1 + 4 / (1 + math.exp(-3.5))
    found = predictions(bounded.predict(pairs(spark, (0, 20))))
    assert found == {(0, 20): pytest.approx(expected)}
    best = bounded.recommend(pairs(spark, (0, 0)).select("user"), n=1, seen=pairs(spark, (0, 10)))
    assert [(row.item, row.score) for row in best.frame.collect()] == [
        (20, pytest.approx(expected))
    ]


def test_a_pair_is_predicted_as_often_as_it_is_asked(spark: SparkSession) -> None:
    rows = [(3.0, 10, 0, "a"), (4.0, 10, 0, "b")]
    asked = spark.createDataFrame(rows, "bias float, item int, user int, factors string")
    found = model(spark).predict(asked).frame
    assert found.schema.simpleString() == "struct<user:int,item:int,prediction:float>"
    assert sorted(map(tuple, found.collect())) == 2 * [(0, 10, 4.75)]


def test_pairs_that_are_packed_are_predicted_the_same(spark: SparkSession) -> None:
    asked = pairs(spark, (0, 10), (0, 20), (1, 20), (1, 99), (9, 10))
    fitted = model(spark)
    assert predictions(fitted.predict(packed_pairs(asked))) == predictions(fitted.predict(asked))


def test_items_in_blocks_are_predicted_the_same(spark: SparkSession) -> None:
    random, rank, count = np.random.default_rng(3), 20, 2 * MIN_ITEMS + 900
    values = random.normal(size=(count + 2, rank + 1)).tolist()
    items = [(n, row[1:], row[0]) for n, row in enumerate(values[2:])]
    users = [(n, row[1:], row[0]) for n, row in enumerate(values[:2])]
    asked = pairs(spark, *[(user, n) for user in (0, 1, 9) for n in range(0, count + 100, 7)])
    found = []
    for limit in (1, 1024):
        fitted = model(
            spark, users, items, rank=rank, unknown="zero", max_broadcast_mb=limit, scale=(-9, 9)
        )
        found.append(predictions(fitted.predict(asked)))
    assert found[0] == found[1]
    assert len(found[0]) == asked.count()


def test_lists_and_predictions_are_evaluated_the_same_whether_or_not_they_become_rows(
    spark: SparkSession,
) -> None:
    fitted = model(spark)
    held_out = spark.createDataFrame(
        [(0, 10, 4.0), (0, 20, 2.0), (1, 30, 5.0), (1, 99, 1.0)], "user int, item int, rating float"
    )
    lists = fitted.recommend(pairs(spark, (0, 0), (1, 0)), n=2, seen=pairs(spark, (0, 20)))
    predicted = fitted.predict(held_out)

    def evaluated(lists: Interactions, predicted: Interactions) -> list[MetricRow]:
        ranking = ranking_metrics(
            {"m": lists}, held_out, ks=[1, 2], relevance_threshold=3.0, split="test"
        )
        return ranking + rating_metrics({"m": predicted}, held_out, split="test")

    rows = evaluated(lists.frame, predicted.frame)
    assert evaluated(lists, predicted) == rows
    assert {row.metric for row in rows} >= {"rmse", "ndcg"}
    # One that recommends an item twice is refused either way.
    twice = mapped(lists.frame, lambda batches: (b.take([0, 0]) for b in batches if len(b)), LISTS)
    for wrong in (twice, twice.frame):
        with pytest.raises(ContractError, match="have an item more than once"):
            evaluated(wrong, predicted)


def test_a_model_that_does_not_predict_ratings_returns_no_row(spark: SparkSession) -> None:
    found = model(spark, predicts_ratings=False).predict(pairs(spark, (0, 10))).frame
    assert (found.columns, found.collect()) == (["user", "item", "prediction"], [])


def test_scores_of_lists_are_the_predictions(spark: SparkSession) -> None:
    fitted = model(spark)
    users = spark.createDataFrame([(0,), (1,), (9,)], "user int")
    listed = fitted.recommend(users, n=3, seen=pairs(spark))
    assert {(r.user, r.item): r.score for r in listed.frame.collect()} == pytest.approx(
        predictions(fitted.predict(listed.frame.select("user", "item")))
    )
    assert listed.frame.select("user").distinct().count() == 2  # user 9 is unknown


def test_an_unknown_user_gets_the_order_of_item_biases_where_the_model_says_so(
    spark: SparkSession,
) -> None:
    users = spark.createDataFrame([(9,)], "user int")
    listed = model(spark, unknown="zero").recommend(users, n=3, seen=pairs(spark, (9, 20)))
    assert [(r.item, r.score) for r in listed.frame.orderBy("rank").collect()] == [
        (10, 3.25),
        (30, 2.75),
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"items": [(1, [1.0, math.nan], 0.0)]}, "1 of 1 rows of item factors"),
        ({"users": [(1, [1.0, math.inf], 0.0)]}, "1 of 1 rows of user factors"),
        ({"users": [(1, [1.0, 1e30], 0.0)]}, "1 of 1 rows of user factors"),
        ({"items": [*ITEMS, (1, [1.0, 1.0], math.nan)]}, "1 of 4 rows of item factors"),
        ({"items": [(1, [1.0], 0.0)]}, "1 of 1 rows of item factors"),
        ({"items": []}, "no rating to fit"),
        ({"mean": math.nan}, "mean is nan"),
    ],
)
def test_factors_that_could_give_nan_are_a_failed_fit(
    spark: SparkSession, spoil: dict[str, Any], message: str
) -> None:
    with pytest.raises(FitError, match=message):
        model(spark, **spoil)
    if users := spoil.get("users"):
        with pytest.raises(FitError, match=message):
            model(spark, user_factors=made_by_tasks(spark, users))


def made_by_tasks(spark: SparkSession, users: list[tuple[int, list[float], float]]) -> Mapped:
    """Rows of factors that a function of Python has made, with a partition of none."""
    schema = factor_schema("user")
    frame = spark.createDataFrame(users, schema).repartition(3)
    return mapped(frame, lambda rows: (row.cast(arrow_schema(schema)) for row in rows), schema)


def test_factors_that_tasks_have_made_are_those_that_come_as_rows(spark: SparkSession) -> None:
    asked = pairs(spark, (0, 10), (0, 20), (1, 20), (1, 99), (9, 10))
    by_rows, by_tasks = model(spark), model(spark, user_factors=made_by_tasks(spark, USERS))
    assert by_tasks.users == 2
    assert by_tasks.user_factors is not None
    assert by_rows.user_factors is not None
    assert frame_of(by_tasks.user_factors).schema == frame_of(by_rows.user_factors).schema
    assert predictions(by_tasks.predict(asked)) == predictions(by_rows.predict(asked))
    assert writers_of(by_tasks) == {"parquet-cpp-arrow"}
    assert writers_of(by_rows) == {"parquet-mr"}


def test_factors_that_tasks_have_made_are_written_by_spark_where_parquet_encrypts(
    spark: SparkSession,
) -> None:
    name = "parquet.crypto.factory.class"
    # Without a key it leaves files as they are, so that it is seen who has written them.
    spark.conf.set(name, "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory")
    try:
        by_spark = model(spark, user_factors=made_by_tasks(spark, USERS))
    finally:
        spark.conf.unset(name)
    assert by_spark.users == 2
    assert writers_of(by_spark) == {"parquet-mr"}


def writers_of(fitted: FactorModel) -> set[str]:
    """The libraries that have written the files of the users' factors."""
    assert isinstance(fitted.user_factors, Stored)
    folder = Path(str(fitted.user_factors.path).removeprefix("file:"))
    return {pq.read_metadata(file).created_by.split()[0] for file in folder.glob("*.parquet")}


def test_a_loaded_model_is_the_saved_one(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, tmp_path) / "model"
    saved = model(spark, scale=(0.5, 5.0), unknown="zero", details={"blocks": 2})
    saved.save(folder)
    loaded = registry.load(folder)
    assert isinstance(loaded, FactorModel)
    fields = ("name", "rank", "mean", "users", "items", "scale", "link", "unknown", "details")
    assert [getattr(loaded, f) for f in fields] == [getattr(saved, f) for f in fields]
    assert loaded.info() == saved.info()
    assert loaded.refit_config == Popularity()
    asked = pairs(spark, (0, 10), (1, 20), (1, 99))
    assert predictions(loaded.predict(asked)) == predictions(saved.predict(asked))
    users = spark.createDataFrame([(0,), (1,)], "user int")
    ours, theirs = (m.recommend(users, n=2, seen=asked).frame.collect() for m in (loaded, saved))
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs))


def test_a_model_whose_save_did_not_end_is_not_loaded(spark: SparkSession, tmp_path: Path) -> None:
    folder = Folder(spark, tmp_path) / "model"
    model(spark).save(folder)
    folder.delete("model.json")
    with pytest.raises(UsageError, match="no fitted model"):
        registry.load(folder)


@pytest.mark.parametrize(
    "spoil",
    [
        {"name": "ease"},
        {"name": "x"},
        {"name": "biases", "settings": {"als": 1}},
        {"scale": "wide"},
        {"users": "many"},
    ],
)
def test_a_manifest_of_another_make_is_refused(
    spark: SparkSession, tmp_path: Path, spoil: dict[str, Any]
) -> None:
    folder = Folder(spark, tmp_path) / "model"
    model(spark).save(folder)
    folder.write_json("model.json", {**folder.read_json("model.json"), **spoil})
    with pytest.raises(InputError, match=r"model\.json: not a"):
        registry.load(folder)
