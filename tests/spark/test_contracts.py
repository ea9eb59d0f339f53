from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from recpipe.contracts import EVALUATION, RATINGS, Check, Table
from recpipe.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS = "user int, rank int, item int, score float"


def _lists(spark: SparkSession, *rows: tuple[object, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), ROWS)


def test_a_table_that_keeps_its_contract_passes_as_it_is(spark: SparkSession) -> None:
    frame = _lists(spark, (1, 1, 7, 0.5), (1, 2, 8, 0.25))
    assert EVALUATION.check(frame) is frame


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(1, 1, 7, None)], "1 rows break 'score is not null'"),
        ([(1, 1, 7, float("nan")), (1, 2, 7, float("nan"))], "2 rows break 'score is a number'"),
        ([(1, 1, 7, 0.5), (1, 1, 8, 0.5)], "key {'user': 1, 'rank': 1} has more than one row"),
    ],
)
def test_rows_that_break_a_rule_are_counted_and_named(
    spark: SparkSession, rows: list[tuple[object, ...]], said: str
) -> None:
    with pytest.raises(ContractError, match=said):
        EVALUATION.check(_lists(spark, *rows))


def test_columns_of_other_names_order_or_type_are_refused(spark: SparkSession) -> None:
    frame = _lists(spark, (1, 1, 7, 0.5))
    with pytest.raises(ContractError, match="columns are"):
        EVALUATION.check(frame.select("rank", "user", "item", "score"))
    with pytest.raises(ContractError, match="score is double, not float"):
        EVALUATION.check(frame.withColumn("score", F.col("score").cast("double")))


@pytest.mark.parametrize("kind", ["string", "bigint"])
def test_ids_may_be_strings_or_longs_and_nothing_else(spark: SparkSession, kind: str) -> None:
    frame = spark.createDataFrame(
        [("1", "2", 0, 0, 3.0)], "user_id string, item_id string, user int, item int, rating float"
    ).withColumn("rated_at", F.lit("2020-01-01").cast("timestamp"))
    ids = {c: F.col(c).cast(kind) for c in ("user_id", "item_id")}
    RATINGS.check(frame.withColumns(ids))
    with pytest.raises(ContractError, match="user_id is int, not string or bigint"):
        RATINGS.check(frame.withColumn("user_id", F.col("user_id").cast("int")))


def test_a_rule_that_comes_out_null_counts_as_broken(spark: SparkSession) -> None:
    table = Table(
        "t",
        (("user", RATINGS.fields[2][1]),),
        nullable=("user",),
        checks=(Check("> 0", "user > 0"),),
    )
    with pytest.raises(ContractError, match="1 rows break '> 0'"):
        table.check(spark.createDataFrame([(1,), (None,)], "user int"))
