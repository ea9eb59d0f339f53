"""Whoever carries the factors, and however the input lies about: the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from recpipe.errors import FitError
from recpipe.models.sgd.algorithm import Plan, train_in_process
from recpipe.models.sgd.grid import Grid, ItemTable, UserRule
from recpipe.models.sgd.one_task import OneTask
from recpipe.models.sgd.packing import Packed, cells_of, pack
from recpipe.models.sgd.strata import SparkExchange
from recpipe.spark.chunks import in_chunks
from recpipe.storage import Folder
from tests.caching import cached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.sgd.exchange import Exchange


def rated(spark: SparkSession, *, users: int = 60, items: int = 25) -> DataFrame:
    """(user, item, rating): half of all pairs, with ratings that follow from the pair."""
    mixed = F.pmod(F.xxhash64("user", "item"), F.lit(1000))
    return (
        spark.range(users)
        .select(F.col("id").cast("int").alias("user"))
        .crossJoin(spark.range(items).select(F.col("id").cast("int").alias("item")))
        .where(mixed < 500)
        .select("user", "item", (1 + F.pmod(mixed, F.lit(9)) / 2).cast("float").alias("rating"))
    )


def parts(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    ratings = rated(spark)
    held_out = F.pmod(F.xxhash64(F.lit(1), "user", "item"), F.lit(10)) == 0
    return ratings.where(~held_out), ratings.where(held_out)


def packed(train: DataFrame, validation: DataFrame | None, *, blocks: int) -> Packed:
    grid = Grid(blocks)
    counted = train.groupBy("item").count().toArrow()
    items = ItemTable.of(
        counted.column("item").to_numpy(),
        counted.column("count").to_numpy(),
        blocks=grid.item_blocks,
    )
    return pack(in_chunks(train), validation, grid=grid, items=items, users=UserRule.hashed(blocks))


def plan_of(cells: Packed, **changes: Any) -> Plan:
    plan = Plan(
        grid=cells.grid,
        users=cells.users,
        items=cells.items.sizes(cells.grid.item_blocks),
        train_rows=cells.train_rows,
        validation_rows=cells.validation_rows,
        rank=5,
        epochs=3,
        learning_rate=0.05,
        learning_rate_decay=0.9,
        regularization=0.02,
        bias_regularization=0.02,
        initial_scale=0.3,
        patience=0,
        min_improvement=0.0,
        checkpoint_interval=100,
        seed=7,
        offset=cells.mean,
    )
    return replace(plan, **changes)


def carried(
    cells: Packed, plan: Plan, scratch: Folder, exchange: Exchange | None = None
) -> tuple[dict[tuple[int, int], bytes], list[dict[str, Any]]]:
    """(side, number) -> the block's bytes, and the learning curve, by an exchange."""
    exchange = exchange or (OneTask() if plan.grid.blocks == 1 else SparkExchange())
    trained = exchange.train(cells.cells, plan, scratch=scratch)
    rows = trained.factors.where("side in (0, 1)").collect()
    trained.release()
    assert len(rows) == plan.grid.blocks + plan.grid.item_blocks
    return {(r.side, r.number): bytes(r.data) for r in rows}, trained.progress.report()


def in_process(
    cells: Packed, plan: Plan
) -> tuple[dict[tuple[int, int], bytes], list[dict[str, Any]]]:
    """The same by the whole algorithm in this process."""
    users, items, progress = train_in_process(plan, cells_of(cells.cells.toArrow()))
    blocks = [
        {(side, n): a.tobytes() for n, a in s.items()} for side, s in enumerate((users, items))
    ]
    return blocks[0] | blocks[1], progress.report()


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Iterator[Folder]:
    with Folder(spark, tmp_path).scratch("sgd") as folder:
        yield folder


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_exchange_ends_in_the_bits_of_the_same_algorithm_in_one_process(
    spark: SparkSession, scratch: Folder, blocks: int
) -> None:
    cells = packed(*parts(spark), blocks=blocks)
    plan = plan_of(cells)

    assert carried(cells, plan, scratch) == in_process(cells, plan)
    cells.release()


def test_input_in_another_order_and_other_partitions_ends_in_the_same_bits(
    spark: SparkSession, scratch: Folder
) -> None:
    train, validation = parts(spark)
    one = packed(train, validation, blocks=2)
    other = packed(
        train.orderBy(F.rand(3)).repartition(5), validation.repartition(3, "item"), blocks=2
    )

    assert one.mean == other.mean
    assert carried(one, plan_of(one), scratch) == carried(other, plan_of(other), scratch)
    one.release()
    other.release()


def test_checkpoints_change_no_bit_and_only_those_still_needed_are_kept(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, validation_rows=0, epochs=4)

    expected = carried(cells, plan, scratch)
    assert scratch.list() == []
    assert carried(cells, replace(plan, checkpoint_interval=1), scratch) == expected
    assert scratch.list() == ["sgd-epoch-00003"]
    cells.release()


def test_factors_that_an_executor_lost_are_computed_again_to_the_same_bits(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells)
    expected, _ = carried(cells, plan, scratch)

    trained = SparkExchange().train(cells.cells, plan, scratch=scratch)
    trained.factors.unpersist(blocking=True)
    cells.cells.unpersist(blocking=True)

    rows = trained.factors.collect()
    assert {(r.side, r.number): bytes(r.data) for r in rows} == expected


def test_the_best_epoch_is_handed_back_and_not_the_last(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, learning_rate=0.2, learning_rate_decay=1.0, regularization=0.0, epochs=6)

    blocks, curve = carried(cells, plan, scratch)

    rmse = [point["validation_rmse"] for point in curve]
    best = 1 + int(np.argmin(rmse))
    assert best < 6  # noise cannot be learned
    assert blocks == in_process(cells, replace(plan, epochs=best, validation_rows=0))[0]
    cells.release()


def test_more_blocks_than_users_and_items_leave_some_empty_and_nothing_breaks(
    spark: SparkSession, scratch: Folder
) -> None:
    train = spark.createDataFrame([(0, 4, 3.0), (9, 4, 5.0)], "user int, item int, rating float")
    cells = packed(train, None, blocks=4)
    plan = plan_of(cells)

    assert sorted(cells.users, reverse=True)[2:] == [0, 0]
    assert carried(cells, plan, scratch) == in_process(cells, plan)
    cells.release()


@pytest.mark.parametrize("exchange", [OneTask(), SparkExchange()])
def test_a_fit_that_diverges_says_so_and_leaves_nothing_cached(
    spark: SparkSession, scratch: Folder, exchange: OneTask | SparkExchange
) -> None:
    before = cached(spark)
    cells = packed(*parts(spark), blocks=1 if isinstance(exchange, OneTask) else 2)
    plan = plan_of(cells, learning_rate=1e4)

    with pytest.raises(FitError, match="diverged in epoch 1"):
        exchange.train(cells.cells, plan, scratch=scratch)

    cells.release()
    assert cached(spark) <= before


def test_packing_counts_users_rows_and_mean_and_leaves_out_what_train_does_not_know(
    spark: SparkSession,
) -> None:
    schema = "user int, item int, rating float"
    train = spark.createDataFrame([(1, 1, 2.0), (1, 2, 3.0), (5, 1, 4.0)], schema)
    validation = spark.createDataFrame(
        [(1, 9, 5.0), (8, 1, 5.0), (5, 2, 5.0)],  # unknown item, unknown user, known pair
        schema,
    )

    cells = packed(train, validation, blocks=2)

    assert (sum(cells.users), cells.train_rows, cells.validation_rows) == (2, 3, 1)
    assert cells.mean == 3.0
    ids = {r.number: np.frombuffer(r.ids, np.int32).tolist() for r in cells.user_ids().collect()}
    assert sorted(ids) == [0, 1]
    assert sorted(ids[0] + ids[1]) == [1, 5]
    cells.release()


def test_a_pair_rated_twice_is_refused_by_name(spark: SparkSession) -> None:
    train = spark.createDataFrame(
        [(1, 3, 2.0), (1, 3, 4.0), (2, 3, 4.0)], "user int, item int, rating float"
    )

    before = cached(spark)
    with pytest.raises(FitError, match="user 1 has more than one rating of item 3"):
        packed(train, None, blocks=1)
    assert cached(spark) <= before
