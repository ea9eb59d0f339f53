"""Dense, append-only numbers for ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recpipe.errors import CheckError
from recpipe.ingest.ids import check_dense, extend
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Iterator[Folder]:
    with Folder(spark, tmp_path).scratch("ids") as folder:
        yield folder


def ids(spark: SparkSession, values: Sequence[object], kind: str) -> DataFrame:
    return spark.createDataFrame([(v,) for v in values], f"user_id {kind}")


def numbers(frame: DataFrame) -> dict[object, int]:
    return {row["user_id"]: row["user"] for row in frame.collect()}


def test_first_ids_are_numbered_from_zero_in_order_of_value(
    spark: SparkSession, scratch: Folder
) -> None:
    seen = ids(spark, [10, 9, 2**40, -1], "bigint")
    extended = extend(None, seen, id="user_id", number="user", scratch=scratch)
    assert numbers(extended.frame) == {-1: 0, 9: 1, 10: 2, 2**40: 3}
    assert (extended.new, extended.total) == (4, 4)


def test_strings_are_in_order_of_their_bytes(spark: SparkSession, scratch: Folder) -> None:
    values = ["b", "B", "a10", "a9", "é", "z", "日本", ""]
    frame = extend(
        None, ids(spark, values, "string"), id="user_id", number="user", scratch=scratch
    ).frame
    by_number = sorted(numbers(frame), key=numbers(frame).__getitem__)
    assert by_number == sorted(values, key=lambda v: str(v).encode())


def test_known_ids_keep_their_numbers_and_new_ones_follow(
    spark: SparkSession, scratch: Folder
) -> None:
    known = spark.createDataFrame([(50, 0), (7, 1)], "user_id bigint, user int")
    extended = extend(
        known, ids(spark, [60, 7, 1], "bigint"), id="user_id", number="user", scratch=scratch
    )
    assert numbers(extended.frame) == {50: 0, 7: 1, 1: 2, 60: 3}
    assert (extended.new, extended.total) == (2, 4)


def test_without_new_ids_nothing_changes(spark: SparkSession, scratch: Folder) -> None:
    known = spark.createDataFrame([(50, 0), (7, 1)], "user_id bigint, user int")
    extended = extend(
        known, ids(spark, [7], "bigint"), id="user_id", number="user", scratch=scratch
    )
    assert numbers(extended.frame) == {50: 0, 7: 1}
    assert (extended.new, extended.total) == (0, 2)


def test_many_partitions_still_make_one_dense_row_of_numbers(
    spark: SparkSession, scratch: Folder
) -> None:
    settings = {"spark.sql.shuffle.partitions": "7", "spark.sql.adaptive.enabled": "false"}
    before = {key: spark.conf.get(key) for key in settings}
    try:
        for key, value in settings.items():
            spark.conf.set(key, value)
        seen = spark.range(0, 30_000, 3, 5).selectExpr("id * 7919 % 30011 AS user_id")
        known = spark.createDataFrame([(5, 0), (40_000, 1)], "user_id bigint, user int")
        extended = extend(known, seen, id="user_id", number="user", scratch=scratch)
        found = numbers(extended.frame)
    finally:
        for key, old in before.items():
            spark.conf.set(key, str(old))
    fresh = sorted({i * 7919 % 30011 for i in range(0, 30_000, 3)} - {5})
    assert found == {5: 0, 40_000: 1} | {value: n for n, value in enumerate(fresh, start=2)}
    check_dense(extended.frame, id="user_id", number="user", total=extended.total)


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 0), (2, 2)],
        [(1, 0), (2, 0)],
        [(1, 0), (1, 1)],
        [(1, 1), (2, 2)],
        [(1, 0)],
        [(1, 0), (2, 1), (3, 2)],
    ],
)
def test_numbers_with_a_gap_or_a_repetition_are_refused(
    spark: SparkSession, rows: list[tuple[int, int]]
) -> None:
    table = spark.createDataFrame(rows, "user_id bigint, user int")
    with pytest.raises(CheckError, match="numbers of user_id"):
        check_dense(table, id="user_id", number="user", total=2)
