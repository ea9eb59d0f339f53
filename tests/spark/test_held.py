"""Settings that blocks of several threads change for a while, and caches of equal frames."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recpipe.spark.held import cached, narrow_rows, plain_plans
from tests import caching

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Block = Callable[[SparkSession], AbstractContextManager[None]]

BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
ADAPTIVE = "spark.sql.adaptive.enabled"
CASES = [
    (narrow_rows, BYTES),
    (plain_plans, ADAPTIVE),
    (plain_plans, "spark.sql.codegen.wholeStage"),
]


@pytest.mark.parametrize(("block", "setting"), CASES)
@pytest.mark.parametrize("first_ends_first", [True, False])
def test_a_setting_is_changed_until_the_last_of_overlapping_blocks_ends(
    spark: SparkSession, block: Block, setting: str, first_ends_first: bool
) -> None:
    before = spark.conf.get(setting)
    one, other = ExitStack(), ExitStack()
    one.enter_context(block(spark))
    inside = spark.conf.get(setting)
    other.enter_context(block(spark))
    first, last = (one, other) if first_ends_first else (other, one)
    first.close()
    assert spark.conf.get(setting) == inside != before
    last.close()
    assert spark.conf.get(setting) == before


def test_blocks_that_change_different_settings_do_not_meet(spark: SparkSession) -> None:
    before = {name: spark.conf.get(name) for _, name in CASES}
    with narrow_rows(spark):
        with plain_plans(spark):
            assert spark.conf.get(ADAPTIVE) == "false"
        assert spark.conf.get(ADAPTIVE) == before[ADAPTIVE]
        assert spark.conf.get(BYTES) != before[BYTES]
    assert {name: spark.conf.get(name) for _, name in CASES} == before


def test_a_value_that_was_set_comes_back_and_a_default_is_not_set(spark: SparkSession) -> None:
    with plain_plans(spark):
        pass
    assert spark.conf.get(ADAPTIVE, None) is None
    spark.conf.set(ADAPTIVE, "true")
    try:
        with pytest.raises(KeyError), plain_plans(spark):
            raise KeyError
        assert spark.conf.get(ADAPTIVE, None) == "true"
    finally:
        spark.conf.unset(ADAPTIVE)


def test_one_session_of_the_jvm_is_one_whatever_stands_for_it(spark: SparkSession) -> None:
    same = SparkSession.active()
    before = spark.conf.get(BYTES)
    one, other = ExitStack(), ExitStack()
    one.enter_context(narrow_rows(spark))
    other.enter_context(narrow_rows(same))
    one.close()
    other.close()
    assert spark.conf.get(BYTES) == before


def test_sessions_have_settings_of_their_own(spark: SparkSession) -> None:
    other = spark.newSession()
    before = other.conf.get(BYTES)
    with narrow_rows(spark):
        assert other.conf.get(BYTES) == before


def test_of_equal_frames_each_has_a_cache_of_its_own(spark: SparkSession) -> None:
    before = caching.cached(spark)
    one, other = (cached(spark.range(10).where(F.col("id") > 3)) for _ in range(2))
    assert one.count() == other.count() == 6
    assert len(caching.cached(spark) - before) == 2
    one.unpersist(blocking=True)
    assert len(caching.cached(spark) - before) == 1
    assert "InMemoryTableScan" in other._jdf.queryExecution().toString()  # noqa: SLF001
    other.unpersist(blocking=True)
    assert caching.cached(spark) == before
