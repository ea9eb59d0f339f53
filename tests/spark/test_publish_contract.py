from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import ContractError, LeakError
from recpipe.publish import GateVerdict, OutputCounts, check_output, gates

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

DAY = date(2026, 11, 21)

# Five items; u3 has rated all but e, so two places cannot be filled.
RATED = {"u1": "ab", "u2": "c", "u3": "abcd", "u4": "de"}
GOOD = [
    ("u1", 1, "c", 2.0, "sgd"),
    ("u1", 2, "d", 2.0, "sgd"),
    ("u2", 1, "a", 0.5, "sgd"),
    ("u2", 2, "b", 9.0, "popularity"),  # another source may score higher
    ("u3", 1, "e", 3.0, "sgd"),
    ("u4", 1, "b", -1.0, "sgd"),
    ("u4", 2, "a", -2.0, "sgd"),
]
Place = tuple[str, int, str, float, str]


def ratings(spark: SparkSession) -> DataFrame:
    rows = [(user, item) for user, items in RATED.items() for item in items]
    return spark.createDataFrame(rows, "user_id string, item_id string")


def lists(spark: SparkSession, rows: list[Place]) -> DataFrame:
    return spark.createDataFrame([(*row, DAY) for row in rows], RECOMMENDATIONS.schema())


def swapped(old: Place, *new: Place) -> list[Place]:
    assert old in GOOD
    return [row for row in GOOD if row != old] + list(new)


def test_lists_that_keep_the_contract_pass_and_are_counted(spark: SparkSession) -> None:
    counts = check_output(lists(spark, GOOD), ratings=ratings(spark), n=2)

    assert counts == OutputCounts(rows=7, users=4, items=5)


def test_a_user_who_has_rated_everything_needs_no_list(spark: SparkSession) -> None:
    everything = ratings(spark).union(
        spark.createDataFrame([("u3", "e")], "user_id string, item_id string")
    )
    without = [row for row in GOOD if row[0] != "u3"]

    assert check_output(lists(spark, without), ratings=everything, n=2).users == 3


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            swapped(("u1", 2, "d", 2.0, "sgd"), ("u1", 2, "b", 1.0, "sgd")),
            "1 users are recommended something that they have rated or seen, such as user 'u1'",
        ),
        (
            swapped(("u1", 2, "d", 2.0, "sgd"), ("u1", 2, "c", 1.0, "sgd")),
            "1 users are recommended an item more than once, such as user 'u1'",
        ),
        (
            [row for row in GOOD if row[0] not in {"u2", "u4"}],
            "2 users have no list, such as user 'u2'",
        ),
        (
            [*GOOD, ("u9", 1, "a", 1.0, "sgd"), ("u9", 2, "b", 1.0, "sgd")],
            "1 users are in the lists but have no rating, such as user 'u9'",
        ),
        (
            [row for row in GOOD if row[:2] != ("u4", 2)],
            "1 users have fewer than 2 items though the catalogue has more, such as user 'u4'",
        ),
        ([*GOOD, ("u1", 3, "e", 1.0, "sgd")], "1 users have more than 2 items"),
        (
            swapped(("u1", 2, "d", 2.0, "sgd"), ("u1", 2, "z", 1.0, "sgd")),
            "1 items that nobody has rated, such as 'z'",
        ),
        (
            swapped(("u1", 2, "d", 2.0, "sgd"), ("u1", 3, "d", 1.0, "sgd")),
            "1 users have ranks other than 1, 2, ..., such as user 'u1'",
        ),
        (
            swapped(("u1", 2, "d", 2.0, "sgd"), ("u1", 1, "d", 1.0, "sgd")),
            "1 users have ranks other than 1, 2, ...",
        ),
        (
            swapped(("u4", 2, "a", -2.0, "sgd"), ("u4", 2, "a", -0.5, "sgd")),
            "1 users have scores that climb within one source, such as user 'u4'",
        ),
        (
            swapped(("u4", 2, "a", -2.0, "sgd"), ("u4", 2, "a", float("nan"), "sgd")),
            "score is a number",
        ),
    ],
)
def test_lists_that_break_a_rule_are_refused_with_the_rule_the_count_and_an_example(
    spark: SparkSession, rows: list[Place], says: str
) -> None:
    with pytest.raises(ContractError) as refusal:
        check_output(lists(spark, rows), ratings=ratings(spark), n=2)

    assert says in refusal.value.message
    assert refusal.value.exit_code == 4


@pytest.mark.parametrize("column", RECOMMENDATIONS.columns)
def test_a_null_in_any_column_is_refused(spark: SparkSession, column: str) -> None:
    holed = lists(spark, GOOD).withColumn(
        column, F.when((F.col("user_id") != "u1") | (F.col("rank") != 1), F.col(column))
    )

    with pytest.raises(ContractError, match=f"1 rows break '{column} is not null'"):
        check_output(holed, ratings=ratings(spark), n=2)


def test_ids_of_another_type_than_the_source_has_are_refused(spark: SparkSession) -> None:
    numbered = ratings(spark).withColumn("user_id", F.lit(7).cast("bigint"))

    with pytest.raises(ContractError, match="user_id is string, but bigint in the ratings"):
        check_output(lists(spark, GOOD), ratings=numbered, n=2)


def test_scores_of_one_source_are_compared_even_where_another_stands_between(
    spark: SparkSession,
) -> None:
    interleaved: list[Place] = [
        ("u2", 1, "a", 5.0, "sgd"),
        ("u2", 2, "b", 9.0, "popularity"),
        ("u2", 3, "d", 6.0, "sgd"),
    ]
    only = (
        ratings(spark)
        .where("user_id = 'u2'")
        .union(
            spark.createDataFrame(
                [("u2", item) for item in "fgh"], "user_id string, item_id string"
            )
        )
    )
    others = spark.createDataFrame(
        [("u1", item) for item in "abdefgh"], "user_id string, item_id string"
    )
    rows = [*interleaved, ("u1", 1, "c", 1.0, "sgd")]

    with pytest.raises(ContractError, match=r"scores that climb within one source.*'u2'"):
        check_output(lists(spark, rows), ratings=only.union(others), n=3)


def test_gates_say_their_verdict_and_a_refused_one_holds(spark: SparkSession) -> None:
    def verdicts(rows: list[Place], no_leak: Callable[[], str]) -> list[GateVerdict]:
        return list(
            gates(lists(spark, rows), ratings=ratings(spark), n=2, unrated=None, no_leak=no_leak)
        )

    def leaks() -> str:
        raise LeakError("test knows train")

    passed = verdicts(GOOD, lambda: "one split")
    assert [gate.as_dict() for gate in passed] == [
        {"gate": "no leak", "verdict": "passed", "detail": "one split"},
        {
            "gate": "output contract",
            "verdict": "passed",
            "detail": "7 rows of 4 users, 5 items to choose from",
        },
    ]
    for gate in passed:
        gate.raise_if_refused()

    short = verdicts(GOOD[1:], lambda: "one split")
    assert [gate.verdict for gate in short] == ["passed", "refused"]
    assert "u1" in short[1].detail
    with pytest.raises(ContractError):
        short[1].raise_if_refused()

    leaking = verdicts(GOOD, leaks)
    assert [(gate.gate, gate.verdict) for gate in leaking] == [("no leak", "refused")]
    with pytest.raises(LeakError, match="test knows train"):
        leaking[0].raise_if_refused()
