"""What is similar against its definition, and the table of it that a run publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from recpipe.contracts import SIMILAR_ITEMS
from recpipe.errors import UsageError
from recpipe.models.baselines.popularity import Popularity
from recpipe.models.factors import FactorModel
from recpipe.publish import current
from recpipe.ranking.rules import ListRules
from recpipe.ranking.similar import Wanted
from recpipe.spark.columns import factor_schema
from recpipe.stages.similar import similar
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ranking.similar import Measure
    from recpipe.stages.context import Context
    from recpipe.storage import Run

    Doubles = NDArray[np.float64]

ITEMS = 60
MEASURES: tuple[Measure, ...] = ("cosine", "euclidean", "dot")


def defined(vectors: Doubles, measure: Measure) -> Doubles:
    """The similarity of each two vectors."""
    products: Doubles = vectors @ vectors.T
    norms = np.sqrt(np.diag(products))
    if measure == "dot":
        return products
    if measure == "cosine":
        lengths = norms[:, None] * norms
        cosines: Doubles = np.divide(
            products, lengths, out=np.zeros_like(products), where=lengths > 0
        )
        return cosines
    distances: Doubles = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).sum(axis=2))
    nearness: Doubles = 1 / (1 + distances)
    return nearness


@pytest.fixture(scope="module")
def vectors() -> Doubles:
    found = np.random.default_rng(1).normal(size=(ITEMS, 6)).astype(np.float32)
    # One without a direction, and two that are the same.
    found[7], found[9] = 0, found[8]
    return found.astype(np.float64)


@pytest.fixture(scope="module")
def model(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, vectors: Doubles
) -> FactorModel:
    def table(side: str, rows: Doubles) -> DataFrame:
        found = [(2 * n, row.tolist(), float(n)) for n, row in enumerate(rows)]
        return spark.createDataFrame(found, factor_schema(side))

    return FactorModel.fitted(
        Folder(spark, tmp_path_factory.mktemp("model")),
        name="sgd",
        user_factors=table("user", vectors[:20]),
        item_factors=table("item", vectors),
        rank=6,
        refit_config=Popularity(),
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_similar_items_are_the_nearest_by_definition(
    spark: SparkSession, tmp_path: Path, model: FactorModel, vectors: Doubles, measure: Measure
) -> None:
    found = model.similar_items(Wanted(5, measure), scratch=Folder(spark, tmp_path))
    assert found is not None
    rows = found.frame.toPandas()
    due = defined(vectors, measure)
    np.fill_diagonal(due, -np.inf)
    assert len(rows) == 5 * ITEMS
    assert (rows["user"] != rows["item"]).all()
    of, other = rows["user"].to_numpy() // 2, rows["item"].to_numpy() // 2
    # A distance of nearly 0 keeps half of the digits of float32.
    digits = 2e-3 if measure == "euclidean" else 1e-5
    np.testing.assert_allclose(rows["score"], due[of, other], atol=digits)
    best = np.sort(due, axis=1)[:, ::-1][:, :5]
    placed = best[of, rows["rank"].to_numpy() - 1]
    np.testing.assert_allclose(rows["score"], placed, atol=digits)


def test_only_those_asked_for_and_nothing_that_rules_leave_out(
    spark: SparkSession, tmp_path: Path, model: FactorModel
) -> None:
    asked = spark.createDataFrame([(16,)], "user int")
    rules = ListRules(np.array([18, 20], np.int32))
    wanted = Wanted(ITEMS, "cosine", asked, rules)
    found = model.similar_items(wanted, scratch=Folder(spark, tmp_path / "items"))
    assert found is not None
    rows = found.frame.collect()
    assert {row["user"] for row in rows} == {16}
    assert {row["item"] for row in rows} == {2 * n for n in range(ITEMS)} - {16, 18, 20}
    people = model.similar_users(Wanted(3, "dot", asked), scratch=Folder(spark, tmp_path / "users"))
    assert people is not None
    assert {row["item"] for row in people.frame.collect()} <= {2 * n for n in range(20)}


def test_a_run_publishes_similar_items_under_the_pointer(
    whole_run: tuple[Context, Run],
) -> None:
    context, run = whole_run
    now = current(context.root)
    table = now.read_beside(context.root, "similar_items")
    assert table is not None
    SIMILAR_ITEMS.check(table)
    rows = table.collect()
    assert len(rows) == run.manifest["similar_items"]["rows"] == 4 * 60
    years = {row["item_id"]: row["year"] for row in context.tables.read("movies").collect()}
    assert max(years[row["similar_item_id"]] for row in rows) <= 2000
    told = run.manifest["output"]["tables"]["similar_items"]
    assert told["path"] == now.tables["similar_items"]
    # Any reader of Parquet has them sorted.
    place = (context.root / told["path"]).uri.removeprefix("file://")
    keys = pq.read_table(place).select(["item_id", "rank"]).to_pylist()
    assert keys == sorted(keys, key=lambda row: (row["item_id"], row["rank"]))


def test_one_item_is_asked_for_by_its_id(whole_run: tuple[Context, Run]) -> None:
    context, run = whole_run
    name, places = similar(context, run, "100", kind="item", k=3, measure="cosine")
    assert name == "block_als"
    assert [place.rank for place in places] == [1, 2, 3]
    assert all(place.title and place.title.startswith("Film") for place in places)
    _, people = similar(context, run, "4", kind="user", k=2, measure="cosine", model="block_als")
    assert {(int(place.id) - 1) % 3 for place in people} == {0}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"id": "5"}, "knows no item '5'"),
        ({"id": "10", "model": "ease"}, "no model 'ease'"),
        ({"id": "10", "model": "popularity"}, "popularity says nothing of how alike items are"),
        ({"id": "4", "kind": "user", "model": "popularity"}, "how alike users are"),
    ],
)
def test_what_cannot_be_said_is_an_error_of_usage(
    whole_run: tuple[Context, Run], given: dict[str, str], says: str
) -> None:
    context, run = whole_run
    with pytest.raises(UsageError, match=says):
        similar(context, run, **{"kind": "item", **given}, k=3, measure="cosine")  # type: ignore[arg-type]
