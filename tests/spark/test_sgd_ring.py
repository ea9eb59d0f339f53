"""The ring: the bits of the algorithm in one process, whoever is killed on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recpipe.distributed import PeerLostError, obstacle
from recpipe.errors import FitError, MissingError
from recpipe.models.data import TrainingData
from recpipe.models.sgd.memory import check_memory
from recpipe.models.sgd.model import Sgd
from recpipe.models.sgd.ring import RingExchange
from recpipe.models.sgd.settings import SgdSettings
from recpipe.models.sgd.strata import SparkExchange
from recpipe.ranking.factor_scorer import FactorScorer
from recpipe.ranking.item_blocks import send_items
from recpipe.storage import Folder
from tests.caching import cached
from tests.rings import kill_a_worker
from tests.spark.test_sgd_exchange import carried, in_process, packed, parts, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from recpipe.models.sgd.exchange import Exchange

pytestmark = pytest.mark.timeout(180)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Iterator[Folder]:
    with Folder(spark, tmp_path).scratch("sgd") as folder:
        yield folder


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_ring_ends_in_the_bits_of_the_algorithm_in_one_process(
    spark: SparkSession, scratch: Folder, blocks: int
) -> None:
    before = cached(spark)
    cells = packed(*parts(spark), blocks=blocks)
    plan = plan_of(cells)

    assert carried(cells, plan, scratch, RingExchange()) == in_process(cells, plan)
    assert scratch.list() == []
    cells.release()
    assert cached(spark) <= before


def test_a_fit_in_several_legs_is_the_one_in_a_single_leg(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    # The best epoch is an early one: its factors must outlive the segments after it.
    plan = plan_of(cells, learning_rate=0.2, learning_rate_decay=1.0, regularization=0.0, epochs=6)
    plan = replace(plan, checkpoint_interval=2)

    expected = in_process(cells, plan)
    assert expected[1][0]["validation_rmse"] < expected[1][-1]["validation_rmse"]
    assert carried(cells, plan, scratch, RingExchange(min_seconds=0.0)) == expected
    assert scratch.list() == ["sgd-epoch-00004"]
    cells.release()


@pytest.mark.parametrize("batch_size", [1, 64])
def test_moments_travel_with_the_factors_whatever_carries_them(
    spark: SparkSession, scratch: Folder, batch_size: int
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, optimizer="adam", beta1=0.9, beta2=0.999, learning_rate=0.02)
    plan = replace(plan, checkpoint_interval=2, batch_size=batch_size)

    expected = in_process(cells, plan)
    # Factors, bias, two moments of each, and a count.
    assert len(expected[0][0, 0]) == 4 * 19 * plan.users[0]
    assert carried(cells, plan, scratch, SparkExchange()) == expected
    assert carried(cells, plan, scratch, RingExchange(min_seconds=0.0)) == expected
    cells.release()


def test_patience_ends_the_ring_where_it_ends_the_algorithm(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, learning_rate=0.2, regularization=0.0, epochs=50, patience=2)

    expected = in_process(cells, plan)
    assert len(expected[1]) < 50
    assert carried(cells, plan, scratch, RingExchange()) == expected
    cells.release()


def test_a_ring_that_diverges_says_so_and_leaves_nothing_cached(
    spark: SparkSession, scratch: Folder
) -> None:
    before = cached(spark)
    cells = packed(*parts(spark), blocks=2)

    with pytest.raises(FitError, match="diverged in epoch 1"):
        RingExchange().train(cells.cells, plan_of(cells, learning_rate=1e4), scratch=scratch)

    cells.release()
    assert cached(spark) <= before


def test_more_blocks_than_slots_are_refused_at_once_with_both_numbers(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=3)

    with pytest.raises(MissingError, match="the ring needs 3 slots at once, and 2 are there"):
        RingExchange().train(cells.cells, plan_of(cells), scratch=scratch)

    assert obstacle(spark, tasks=2) == ""
    cells.release()


@pytest.mark.parametrize(
    "setting",
    [
        "spark.network.crypto.enabled",
        "spark.authenticate.enableSaslEncryption",
        "spark.ssl.enabled",
        "spark.ssl.rpc.enabled",
    ],
)
def test_what_spark_would_encrypt_does_not_go_by_the_ring(
    spark: SparkSession, scratch: Folder, setting: str
) -> None:
    cells = packed(*parts(spark), blocks=2)
    conf: Any = spark.sparkContext._conf  # noqa: SLF001 - no session starts for each of them
    conf.set(setting, "true")
    try:
        with pytest.raises(MissingError, match=rf"{setting} is on, .* not encrypted") as refused:
            RingExchange().train(cells.cells, plan_of(cells), scratch=scratch)
    finally:
        conf.set(setting, "false")
        cells.release()
    assert refused.value.exit_code == 5
    assert obstacle(spark, tasks=2) == ""


def test_tasks_that_do_not_reach_each_other_end_in_one_line_with_both_blocks_and_the_address(
    spark: SparkSession, scratch: Folder
) -> None:
    before = cached(spark)
    cells = packed(*parts(spark), blocks=2)
    exchange = RingExchange(silence=0.0)  # not a moment

    with pytest.raises(PeerLostError) as lost:
        exchange.train(cells.cells, plan_of(cells), scratch=scratch)

    assert re.match(
        r"sgd ring: task \d (waited 0 s for|lost \(.*\)) task \d at 127\.0\.0\.1:\d+ ",
        lost.value.message,
    )
    cells.release()
    assert cached(spark) <= before


def test_blocks_that_are_too_large_for_one_value_are_refused_with_how_many_would_do(
    spark: SparkSession,
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = replace(plan_of(cells), users=(20_000_000, 1), rank=64)

    with pytest.raises(MissingError, match=r"20000000 users at rank 64 .* sgd\.blocks to 5"):
        check_memory(spark, plan)
    check_memory(spark, plan_of(cells))
    cells.release()


def test_a_worker_killed_in_the_second_leg_changes_no_bit(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    plan = plan_of(cells, epochs=3000, checkpoint_interval=1500)
    found: list[int] = []
    second_leg = partial(scratch.has_table, "sgd-epoch-01500")
    killer = threading.Thread(target=kill_a_worker, args=(found, second_leg))
    killer.start()

    trained = carried(cells, plan, scratch, RingExchange(min_seconds=0.0))

    killer.join()
    assert found
    assert trained == in_process(cells, plan)
    cells.release()


def test_on_eight_cores_the_bits_are_the_same_and_what_spark_encrypts_goes_by_spark(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    said = answers.pop("items in blocks")
    assert answers == {"ring 4": True, "ring 8": True, "spark 2": True, "encrypted": "spark"}
    # Each worker would read all blocks at once, and the guard be for nothing.
    assert said[0] == 5
    assert "leave out spark.io.encryption.enabled" in said[1]


def main(folder: str) -> None:
    """What the test above asks, in sessions of eight slots."""
    from pyspark.sql import SparkSession

    builder = (
        SparkSession.builder.master("local[8]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "7")
        .config("spark.default.parallelism", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.io.encryption.enabled", "true")
        # As the session of the tests.
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    )
    spark = builder.getOrCreate()
    answers: dict[str, Any] = {}
    ways: list[tuple[int, Exchange]] = [
        (4, RingExchange()),
        (8, RingExchange()),
        (2, SparkExchange()),
    ]
    for blocks, exchange in ways:
        cells = packed(*parts(spark), blocks=blocks)
        plan = plan_of(cells)
        ours = carried(cells, plan, Folder(spark, folder), exchange)
        answers[f"{exchange.name} {blocks}"] = ours == in_process(cells, plan)
        cells.release()
    answers["items in blocks"] = refusal(spark)
    spark.stop()
    for setting in ("spark.authenticate", "spark.network.crypto.enabled"):
        builder = builder.config(setting, "true")
    spark = builder.getOrCreate()
    train, validation = parts(spark)
    data = TrainingData(ratings=train, validation=validation)
    fit = Sgd(SgdSettings(rank=2, epochs=2, blocks=2)).fit(
        data, scratch=Folder(spark, folder), seed=1
    )
    answers["encrypted"] = fit.info()["exchange"]
    spark.stop()
    print(json.dumps(answers))  # noqa: T201 - how it answers


def refusal(spark: SparkSession) -> tuple[int, str] | None:
    """What is said of more items than one value may hold."""
    collect = partial(FactorScorer.of, rank=15, mean=0.0)
    items = spark.range(100_000).toDF("item")
    try:
        send_items(items, collect, count=100_000, item_bytes=64, limit_mb=1, what="items")
    except MissingError as error:
        return error.exit_code, error.hint
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
