"""The ring: the bits of the algorithm in one process, whoever is killed on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from recpipe.models.sgd.ring import RingExchange
from recpipe.storage import Folder
from tests.spark.test_sgd_exchange import carried, in_process, packed, parts, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Iterator[Folder]:
    with Folder(spark, tmp_path).scratch("sgd") as folder:
        yield folder


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_ring_ends_in_the_bits_of_the_algorithm_in_one_process(
    spark: SparkSession, scratch: Folder, blocks: int
) -> None:
    cells = packed(*parts(spark), blocks=blocks)
    plan = plan_of(cells)

    assert carried(cells, plan, scratch, RingExchange()) == in_process(cells, plan)
    assert scratch.list() == []
    cells.release()


def test_a_fit_in_several_legs_is_the_one_in_a_single_leg(
    spark: SparkSession, scratch: Folder
) -> None:
    cells = packed(*parts(spark), blocks=2)
    # The best epoch is an early one: its factors must outlive the legs after it.
    plan = plan_of(cells, learning_rate=0.2, learning_rate_decay=1.0, regularization=0.0, epochs=6)
    plan = replace(plan, checkpoint_interval=2)

    assert carried(cells, plan, scratch, RingExchange(least_seconds=0.0)) == in_process(cells, plan)
    assert scratch.list() == ["sgd-epoch-00004"]
    cells.release()
