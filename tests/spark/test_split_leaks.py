"""Parts that leak on purpose: every rule is broken once, and each has a clean neighbour."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql.types import LongType

from recpipe.contracts import SPLIT
from recpipe.errors import ContractError, LeakError
from recpipe.split import SplitParts, check_no_leak, count_parts
from recpipe.split.settings import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

START = datetime(2020, 1, 1, tzinfo=UTC)

# user, item, second
Rows = list[tuple[int, int, int]]


def frame(spark: SparkSession, rows: Sequence[tuple[int, int, int]]) -> DataFrame:
    schema = SPLIT.schema(ids=LongType())
    columns = [
        pa.array([user for user, _, _ in rows], pa.int64()),
        pa.array([item for _, item, _ in rows], pa.int64()),
        pa.array([user for user, _, _ in rows], pa.int32()),
        pa.array([item for _, item, _ in rows], pa.int32()),
        pa.array([4.0 for _ in rows], pa.float32()),
        pa.array([START + timedelta(seconds=s) for _, _, s in rows], pa.timestamp("us", "UTC")),
    ]
    return spark.createDataFrame(pa.table(columns, SPLIT.columns), schema)


def parts(spark: SparkSession, train: Rows, validation: Rows, test: Rows) -> SplitParts:
    return SplitParts(frame(spark, train), frame(spark, validation), frame(spark, test))


# Users 1 and 2; clean under every strategy that has no users of its own for validation and test.
TRAIN: Rows = [(1, 1, 0), (1, 2, 1), (2, 1, 2)]
VALIDATION: Rows = [(1, 3, 5), (2, 2, 6)]
TEST: Rows = [(1, 4, 8), (2, 3, 9)]

GLOBAL = Split(strategy="global_time", validation="global_time")
LATEST, FRACTION = Split(strategy="global_time"), Split(strategy="user_fraction")
LAST, ONE = Split(strategy="last_n", last_n=1), Split(strategy="leave_one_out")
RANDOM, FOLDS = Split(strategy="random"), Split(strategy="k_fold")
BY_USER, GIVEN = Split(strategy="k_fold_users"), Split(strategy="given")


@pytest.mark.parametrize(
    "chosen",
    [GLOBAL, LATEST, FRACTION, LAST, ONE, RANDOM, FOLDS, GIVEN],
    ids=lambda s: f"{s.strategy}, {s.validation}",
)
def test_parts_that_keep_the_rule_pass(spark: SparkSession, chosen: Split) -> None:
    check_no_leak(parts(spark, TRAIN, VALIDATION, TEST), chosen)


def test_the_latest_of_each_user_may_be_earlier_than_what_others_did_before(
    spark: SparkSession,
) -> None:
    """User 3 is in train after user 1's validation: no leak within a user, and before test."""
    check_no_leak(parts(spark, [*TRAIN, (3, 1, 7)], VALIDATION, TEST), LATEST)


@pytest.mark.parametrize(
    ("chosen", "train", "validation", "test", "says"),
    [
        # One instant on both sides of a cutoff.
        (GLOBAL, [*TRAIN, (3, 1, 5)], VALIDATION, TEST, "train goes on to 2020-01-01T00:00:05"),
        (GLOBAL, TRAIN, [*VALIDATION, (3, 1, 8)], TEST, "validation goes on to"),
        (GLOBAL, [*TRAIN, (3, 1, 8)], [], TEST, "train goes on to"),
        # Test begins at one instant for all, also where validation is by user.
        (LATEST, [*TRAIN, (3, 1, 8)], VALIDATION, TEST, "train goes on to 2020-01-01T00:00:08"),
        (LATEST, TRAIN, [*VALIDATION, (3, 1, 8)], TEST, "validation goes on to"),
        (LATEST, [*TRAIN, (1, 9, 5)], VALIDATION, TEST, "1 users .* train .* user 1"),
        # Fine over all rows of other users, wrong within one user.
        (FRACTION, [*TRAIN, (1, 9, 5)], VALIDATION, TEST, "1 users .* train .* user 1"),
        (FRACTION, TRAIN, [*VALIDATION, (2, 9, 9)], TEST, "1 users .* validation .* user 2"),
        (FRACTION, [*TRAIN, (2, 9, 9)], [VALIDATION[0]], TEST, "1 users .* train .* user 2"),
        # At one second the item decides, so 3 may stand before 4 and not after it.
        (ONE, [(1, 5, 8)], [], [(1, 4, 8)], "train that are not before"),
        (ONE, TRAIN, VALIDATION, [*TEST, (1, 7, 9)], "more than 1 rows"),
        (LAST, TRAIN, [*VALIDATION, (2, 7, 7)], TEST, "more than 1 rows"),
        (
            Split(strategy="last_n", last_n=2),
            TRAIN,
            [],
            [(1, 4, 8), (2, 3, 9), (2, 4, 9)],
            "fewer than 2 rows",
        ),
        # One pair in two parts.
        (RANDOM, TRAIN, VALIDATION, [*TEST, (1, 2, 1)], "pairs are there twice.*user 1"),
        (RANDOM, TRAIN, [*VALIDATION, TEST[1]], TEST, "pairs are there twice.*user 2"),
        (FOLDS, [*TRAIN, VALIDATION[1]], VALIDATION, TEST, "pairs are there twice.*user 2"),
        (GIVEN, [*TRAIN, TEST[0]], VALIDATION, TEST, "pairs are there twice.*user 1"),
        (GIVEN, TRAIN, [*VALIDATION, TEST[1]], TEST, "pairs are there twice.*user 2"),
        # Held-out users: 1 in validation, 2 in test.
        (BY_USER, [*TRAIN, (2, 3, 9)], [(1, 3, 5)], [(2, 3, 9)], "pairs are there twice"),
        (BY_USER, [*TRAIN, (2, 9, 9)], [(1, 3, 5)], [(2, 3, 9)], "train that are not before"),
        (BY_USER, TRAIN, [(1, 3, 5), (2, 2, 6)], [(2, 3, 9)], "in validation and in test"),
    ],
)
def test_a_leak_fails_the_run_and_names_where(
    spark: SparkSession,
    *,
    chosen: Split,
    train: Rows,
    validation: Rows,
    test: Rows,
    says: str,
) -> None:
    with pytest.raises(LeakError, match=says) as refused:
        check_no_leak(parts(spark, train, validation, test), chosen)
    assert refused.value.exit_code == 4
    assert chosen.strategy in str(refused.value)


def test_rows_at_one_second_are_in_order_of_item_under_leave_one_out(spark: SparkSession) -> None:
    check_no_leak(parts(spark, [(1, 2, 8)], [(1, 3, 8)], [(1, 4, 8)]), ONE)


def test_held_out_users_may_have_a_history_in_train(spark: SparkSession) -> None:
    check_no_leak(parts(spark, TRAIN, [(1, 3, 5)], [(2, 3, 9)]), BY_USER)


@pytest.mark.parametrize(
    ("name", "second"), [("validation_from", 2), ("validation_from", 6), ("test_from", 9)]
)
def test_a_recorded_cutoff_that_does_not_lie_between_the_parts_is_a_leak(
    spark: SparkSession, name: str, second: int
) -> None:
    clean = parts(spark, TRAIN, VALIDATION, TEST)
    right = {"validation_from": START + timedelta(seconds=5), "test_from": START + timedelta(0, 8)}
    check_no_leak(replace(clean, cutoffs=right), GLOBAL)
    moved = {**right, name: START + timedelta(seconds=second)}
    with pytest.raises(LeakError, match=f"crosses {name}"):
        check_no_leak(replace(clean, cutoffs=moved), GLOBAL)


@pytest.mark.parametrize(
    ("train", "validation", "test", "says"),
    [
        (TRAIN[1:], VALIDATION, TEST, "1 rows too few and 0 too many.*user 1"),
        (TRAIN, VALIDATION, TEST[:1], "1 rows too few and 0 too many.*user 2"),
        (TRAIN, [*VALIDATION, VALIDATION[0]], TEST, "0 rows too few and 1 too many.*user 1"),
        # One lost and another doubled: the totals add up, the users do not.
        (TRAIN[1:], VALIDATION, [*TEST, TEST[1]], "2 users have 1 rows too few and 1 too many"),
        # A cold user's row that was not dropped, though the settings say so.
        ([TRAIN[0], TRAIN[1]], VALIDATION, TEST, "too many.*user 2"),
    ],
)
def test_a_lost_or_doubled_row_is_refused(
    spark: SparkSession, train: Rows, validation: Rows, test: Rows, says: str
) -> None:
    whole = frame(spark, [*TRAIN, *VALIDATION, *TEST])
    with pytest.raises(ContractError, match=says):
        count_parts(whole, parts(spark, train, validation, test), GLOBAL)


def test_rows_of_cold_items_may_be_missing_only_where_they_are_dropped(
    spark: SparkSession,
) -> None:
    # Item 3 has no row in train.
    whole = frame(spark, [*TRAIN, *VALIDATION, (1, 1, 8), (2, 2, 9)])
    without = parts(spark, TRAIN, [VALIDATION[1]], [(1, 1, 8), (2, 2, 9)])
    counts = count_parts(whole, without, Split(cold_items="drop"))
    assert (counts.rows_in, counts.dropped_rows_of_cold_items, counts.cold_items) == (7, 1, 1)
    with pytest.raises(ContractError, match="1 rows too few"):
        count_parts(whole, without, GLOBAL)


def test_the_manifest_entry_counts_each_part(spark: SparkSession) -> None:
    whole = frame(spark, [*TRAIN, *VALIDATION, *TEST, (3, 1, 9)])
    fold = replace(parts(spark, TRAIN, VALIDATION, TEST), fold=2)
    assert count_parts(whole, fold, GLOBAL).as_json() == {
        "fold": 2,
        "rows_in": 8,
        "parts": {
            "train": {"rows": 3, "users": 2, "items": 2},
            "validation": {"rows": 2, "users": 2, "items": 2},
            "test": {"rows": 2, "users": 2, "items": 2},
        },
        "cold_users": 1,
        "cold_items": 2,
        "train_only_users": 0,
        "dropped_rows": {"cold_users": 1, "cold_items": 0},
        "cutoffs": {},
    }
