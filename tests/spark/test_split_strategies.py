"""Every strategy against the same rule written in plain Python over lists."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pyspark.sql import functions as F
from pyspark.sql.types import LongType

from recpipe.contracts import RATINGS
from recpipe.errors import ContractError, InputError, UsageError
from recpipe.split import PARTS, check_no_leak, count_parts, split
from recpipe.split.places import SortedColumn
from recpipe.split.settings import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.split import SplitParts

START = datetime(2020, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    user: int
    item: int
    second: int


def frame(spark: SparkSession, rows: Iterable[Row], *, partitions: int = 0) -> DataFrame:
    rows = list(rows)
    columns = {
        "user_id": pa.array([100 + r.user for r in rows], pa.int64()),
        "item_id": pa.array([900 + r.item for r in rows], pa.int64()),
        "user": pa.array([r.user for r in rows], pa.int32()),
        "item": pa.array([r.item for r in rows], pa.int32()),
        "rating": pa.array([4.0 for _ in rows], pa.float32()),
        "rated_at": pa.array(
            [START + timedelta(seconds=r.second) for r in rows], pa.timestamp("us", "UTC")
        ),
    }
    whole = spark.createDataFrame(pa.table(columns), RATINGS.schema(ids=LongType()))
    return whole.repartition(partitions) if partitions else whole


Parts = tuple[set[Row], set[Row], set[Row]]


def parts_of(parts: SplitParts) -> Parts:
    second = F.unix_seconds("rated_at") - int(START.timestamp())
    found = parts.tagged("user", "item", "rated_at").select("part", "user", "item", second)
    rows = [(part, Row(user, item, at)) for part, user, item, at in found.collect()]
    assert len(set(rows)) == len(rows), "a row is there twice"
    train, validation, test = ({row for part, row in rows if part == name} for name in PARTS)
    return train, validation, test


def keep_all(**changes: object) -> Split:
    """Settings that drop nothing, so that the strategy alone is seen."""
    return Split.model_validate({"cold_users": "keep", "cold_items": "keep", **changes})


@contextmanager
def folds_of(
    ratings: DataFrame, settings: Split, *, seed: int, **rest: Any
) -> Iterator[list[SplitParts]]:
    with split(ratings, settings, seed=seed, **rest) as outcome:
        yield outcome.folds


# -- the reference ----------------------------------------------------------------------------


def by_user(rows: Iterable[Row]) -> dict[int, list[Row]]:
    users: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r.second, r.item)):
        users[row.user].append(row)
    return users


def reference_global_time(rows: list[Row], shares: tuple[str, str]) -> Parts:
    times = sorted(r.second for r in rows)
    first, second = (times[int(len(rows) * Fraction(share))] for share in shares)
    return (
        {r for r in rows if r.second < first},
        {r for r in rows if first <= r.second < second},
        {r for r in rows if second <= r.second},
    )


def reference_latest(rows: list[Row], shares: tuple[str, str]) -> Parts:
    """Test from one instant on; before it the latest share of each user is validation."""
    times = sorted(r.second for r in rows)
    test_from = times[int(len(rows) * Fraction(shares[1]))]
    test = {r for r in rows if r.second >= test_from}
    validation: set[Row] = set()
    for mine in by_user(set(rows) - test).values():
        cut = mine[int(len(mine) * (1 - Fraction(shares[0])))].second
        if cut == mine[0].second:
            cut = next((r.second for r in mine if r.second > cut), cut + 1)
        validation |= {r for r in mine if r.second >= cut}
    return set(rows) - test - validation, validation, test


def reference_user_fraction(rows: list[Row], shares: tuple[str, str]) -> Parts:
    train: set[Row] = set()
    validation: set[Row] = set()
    test: set[Row] = set()
    for mine in by_user(rows).values():
        cuts = [mine[int(len(mine) * Fraction(share))].second for share in shares]
        for row in mine:
            if cuts[1] > mine[0].second and row.second >= cuts[1]:
                test.add(row)
            elif cuts[0] > mine[0].second and row.second >= cuts[0]:
                validation.add(row)
            else:
                train.add(row)
    return train, validation, test


def reference_last(rows: list[Row], n: int) -> Parts:
    train: set[Row] = set()
    validation: set[Row] = set()
    test: set[Row] = set()
    for mine in by_user(rows).values():
        rest = list(mine)
        if len(rest) > n:
            test |= set(rest[-n:])
            rest = rest[:-n]
        if len(rest) > n:
            validation |= set(rest[-n:])
            rest = rest[:-n]
        train |= set(rest)
    return train, validation, test


# Few distinct seconds, so that most rows tie with another; one user has a row alone in time.
many_rows = st.lists(
    st.builds(Row, st.integers(0, 12), st.integers(0, 25), st.integers(0, 6)),
    min_size=25,
    max_size=120,
    unique_by=lambda r: (r.user, r.item),
).map(lambda rows: [*rows, *(Row(99, i, 100 + i) for i in range(25))])

few_jobs = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    # Each example is a few Spark jobs: shrinking one that fails would take minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize(
    ("chosen", "reference"),
    [
        (
            keep_all(strategy="global_time", validation="global_time"),
            lambda rows: reference_global_time(rows, ("8/10", "9/10")),
        ),
        (
            keep_all(strategy="global_time", fractions=(0.5, 0.3, 0.2)),
            lambda rows: reference_latest(rows, ("3/10", "8/10")),
        ),
        (
            keep_all(strategy="user_fraction", fractions=(0.5, 0.3, 0.2)),
            lambda rows: reference_user_fraction(rows, ("5/10", "8/10")),
        ),
        (keep_all(strategy="last_n", last_n=2), lambda rows: reference_last(rows, 2)),
        (keep_all(strategy="leave_one_out"), lambda rows: reference_last(rows, 1)),
    ],
    ids=["global_time", "latest before test", "user_fraction", "last_n", "leave_one_out"],
)
@few_jobs
@given(rows=many_rows)
def test_parts_by_time_are_those_of_the_plain_python_rule(
    spark: SparkSession,
    chosen: Split,
    reference: Callable[[list[Row]], Parts],
    rows: list[Row],
) -> None:
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        assert parts_of(parts) == reference(rows)
        check_no_leak(parts, chosen)


@pytest.mark.parametrize(
    "chosen",
    [
        Split(strategy="global_time", validation="global_time"),
        Split(strategy="global_time", cold_items="drop"),
        Split(strategy="user_fraction"),
        Split(strategy="last_n", last_n=2, cold_items="drop"),
        Split(strategy="random", cold_users="keep"),
        Split(strategy="k_fold", folds=2),
        Split(strategy="k_fold_users", folds=2),
    ],
    ids=lambda chosen: f"{chosen.strategy}, {chosen.validation}",
)
def test_the_same_rows_in_any_order_and_partitions_give_the_same_parts_and_lose_none(
    spark: SparkSession, chosen: Split
) -> None:
    rows = [
        Row(u, (u * 7 + i * i) % 90, (i * (1 + u % 3)) // 2)
        for u in range(30)
        for i in (range(9 + u % 5))
    ]
    rows = list({(r.user, r.item): r for r in rows}.values())
    one, other = frame(spark, rows, partitions=1), frame(spark, rows[::-1], partitions=7)
    with folds_of(one, chosen, seed=3) as first, folds_of(other, chosen, seed=3) as second:
        assert [parts_of(p) for p in first] == [parts_of(p) for p in second]
        for parts in first:
            check_no_leak(parts, chosen)
            counts = count_parts(one, parts, chosen)
            kept = sum(part.rows for part in counts.parts.values())
            dropped = counts.dropped_rows_of_cold_users + counts.dropped_rows_of_cold_items
            assert counts.rows_in == len(rows) == kept + dropped


# -- places -----------------------------------------------------------------------------------


@few_jobs
@given(
    values=st.lists(
        st.integers(0, 2**63 - 1) | st.integers(0, 50) | st.just(2**62), min_size=1, max_size=300
    )
)
def test_the_value_at_a_place_is_that_of_the_sorted_column(
    spark: SparkSession, values: list[int]
) -> None:
    column = SortedColumn.of(spark.createDataFrame([(v,) for v in values], "v long"), "v")
    places = {0, len(values) // 3, len(values) // 2, len(values) - 1}
    assert column.at(places) == {place: sorted(values)[place] for place in places}


def test_a_place_behind_the_last_row_is_refused(spark: SparkSession) -> None:
    with pytest.raises(IndexError):
        SortedColumn.of(spark.range(3), "id").at([3])


# -- rules that the reference might share a mistake with ---------------------------------------


def test_every_row_at_the_cutoff_goes_to_the_later_part(spark: SparkSession) -> None:
    # Places 8 and 9 of 10 hold the seconds 5 and 9; three rows are at second 5.
    seconds = [0, 1, 2, 3, 4, 4, 5, 5, 5, 9]
    rows = [Row(1, i, second) for i, second in enumerate(seconds)]
    chosen = keep_all(validation="global_time")
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        train, validation, test = parts_of(parts)
        assert {r.second for r in train} == {0, 1, 2, 3, 4}
        assert [r.second for r in validation] == [5, 5, 5]
        assert [r.second for r in test] == [9]
        assert parts.cutoffs == {
            "validation_from": START + timedelta(seconds=5),
            "test_from": START + timedelta(seconds=9),
        }


def test_validation_is_the_latest_of_each_user_before_test_and_a_user_may_have_none(
    spark: SparkSession,
) -> None:
    rows = [
        *(Row(1, i, i) for i in range(10)),  # the last of ten
        *(Row(2, i, 5 if i < 3 else 6) for i in range(5)),  # whole instants move: both at second 6
        *(Row(3, i, 7) for i in range(3)),  # all at one instant: stay in train
        *(Row(6, i, 7 if i < 19 else 8) for i in range(20)),  # the first instant stays in train
        Row(4, 1, 8),  # one rating: stays in train
        *(Row(1, 20 + i, 50 + i) for i in range(2)),  # test, and no history of validation
        Row(5, 1, 51),  # test alone: a cold user
    ]
    with folds_of(frame(spark, rows), Split(test_from=START + timedelta(seconds=50)), seed=1) as [
        parts
    ]:
        _, validation, test = parts_of(parts)
        assert validation == {Row(1, 9, 9), Row(2, 3, 6), Row(2, 4, 6), Row(6, 19, 8)}
        assert test == {Row(1, 20, 50), Row(1, 21, 51)}
        assert parts.cutoffs == {"test_from": START + timedelta(seconds=50)}
        assert parts.asked_at("validation") == parts.asked_at("test") == parts.cutoffs["test_from"]


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_boundaries_are_exact_where_binary_floating_point_is_not(
    spark: SparkSession, n: int
) -> None:
    # 0.7 + 0.1 is 0.7999999999999999 in floating point: floor(n * that) would be one row short.
    rows = [Row(1, i, i) for i in range(n)]
    chosen = keep_all(fractions=(0.7, 0.1, 0.2), validation="global_time")
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        assert [part.count() for _, part in parts.named()] == [7 * n // 10, n // 10, n // 5]
    random = keep_all(strategy="random", fractions=(0.7, 0.1, 0.2))
    with folds_of(frame(spark, rows), random, seed=1) as [parts]:
        assert [part.count() for _, part in parts.named()] == [7 * n // 10, n // 10, n // 5]


def test_explicit_instants_are_half_open_and_in_utc(spark: SparkSession) -> None:
    rows = [Row(1, i, second) for i, second in enumerate([59, 60, 119, 120])]
    chosen = keep_all(
        # One without a zone, which means UTC, and one in another zone.
        validation_from=datetime(2020, 1, 1, 0, 1),  # noqa: DTZ001 - what a user may write
        test_from="2020-01-01T01:02:00+01:00",
    )
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        assert [{r.second for r in part} for part in parts_of(parts)] == [{59}, {60, 119}, {120}]


def test_instants_are_for_the_global_cut_alone() -> None:
    with pytest.raises(ValidationError, match="for the strategy global_time"):
        keep_all(strategy="random", validation_from=START, test_from=START + timedelta(1))
    with pytest.raises(ValidationError, match="validation_from needs test_from"):
        keep_all(validation_from=START)
    with pytest.raises(ValidationError, match="test_from needs validation_from"):
        keep_all(test_from=START, validation="global_time")


def test_instants_in_the_wrong_order_are_wrong_usage(spark: SparkSession) -> None:
    later, earlier = START + timedelta(1), START
    with (
        pytest.raises(UsageError, match="after test_from"),
        folds_of(
            frame(spark, [Row(1, 1, 1)]),
            keep_all(validation_from=later, test_from=earlier),
            seed=1,
        ),
    ):
        pass


@pytest.mark.parametrize("strategy", ["user_fraction", "last_n"])
def test_users_too_many_to_be_sent_are_cut_the_same(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    chosen = keep_all(strategy=strategy, **({"last_n": 2} if strategy == "last_n" else {}))
    rows = [Row(user, item, (user * item) % 11) for user in range(40) for item in range(user % 9)]
    ratings = frame(spark, rows, partitions=3)
    with folds_of(ratings, chosen, seed=1) as [parts]:
        sent = parts_of(parts)
    monkeypatch.setattr("recpipe.split.strategies._SENT_USERS", 0)
    with folds_of(ratings, chosen, seed=1) as [parts]:
        assert parts_of(parts) == sent


def test_a_user_whose_rows_share_one_instant_stays_in_train(spark: SparkSession) -> None:
    run_all = [Row(1, i, 5) for i in range(10)]
    # The cut at 8/10 falls on the first instant and is void, that at 9/10 holds.
    nearly = [*(Row(2, i, 5) for i in range(9)), Row(2, 9, 6)]
    one_row = [Row(3, 1, 1)]
    two_rows = [Row(4, 1, 1), Row(4, 2, 2)]
    spread = [Row(5, i, i) for i in range(10)]
    rows = [*run_all, *nearly, *one_row, *two_rows, *spread]
    chosen = keep_all(strategy="user_fraction")
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        train, validation, test = parts_of(parts)
        assert train == {*run_all, *nearly[:9], *one_row, two_rows[0], *spread[:8]}
        assert validation == {spread[8]}
        assert test == {nearly[9], two_rows[1], spread[9]}
        assert count_parts(frame(spark, rows), parts, chosen).train_only_users == 2


def test_leave_one_out_takes_one_row_of_a_tie_and_the_one_before_for_validation(
    spark: SparkSession,
) -> None:
    tied = [Row(1, i, 5) for i in (3, 1, 2, 4)]
    two = [Row(2, 9, 1), Row(2, 1, 2)]
    one = [Row(3, 7, 1)]
    with folds_of(
        frame(spark, [*tied, *two, *one]), keep_all(strategy="leave_one_out"), seed=1
    ) as [parts]:
        assert parts_of(parts) == (
            {Row(1, 1, 5), Row(1, 2, 5), Row(2, 9, 1), Row(3, 7, 1)},
            {Row(1, 3, 5)},
            {Row(1, 4, 5), Row(2, 1, 2)},
        )


# With 12 folds the eighth for validation is longer than a fold, so that it wraps round the ring.
@pytest.mark.parametrize("folds", [4, 12])
def test_folds_by_row_hold_every_row_in_test_once_and_are_level(
    spark: SparkSession, folds: int
) -> None:
    rows = [Row(u, i, u + i) for u in range(10) for i in range(11)]
    chosen = keep_all(strategy="k_fold", folds=folds)
    with folds_of(frame(spark, rows), chosen, seed=7) as found:
        sets = [parts_of(parts) for parts in found]
        for train, validation, test in sets:
            assert len(train) + len(validation) + len(test) == len(train | validation | test) == 110
            assert len(validation) == (110 - len(test)) // 8
        tests = [test for _, _, test in sets]
        assert {len(test) for test in tests} == {110 // folds, 110 // folds + 1}
        assert sum(map(len, tests)) == len(rows)
        assert set.union(*tests) == set(rows)
        assert [parts.fold for parts in found] == list(range(folds))


def test_folds_by_user_hold_out_the_latest_of_every_user_once(spark: SparkSession) -> None:
    rows = [Row(u, i, 10 * i + u) for u in range(20) for i in range(10)]
    chosen = keep_all(strategy="k_fold_users", folds=4, held_out_fraction=0.3)
    with folds_of(frame(spark, rows), chosen, seed=7) as folds:
        seen: list[int] = []
        for train, validation, test in map(parts_of, folds):
            tested = {r.user for r in test}
            validated = {r.user for r in validation}
            seen += tested
            assert len(tested) == 5
            assert len(validated) == 15 // 8
            assert not tested & validated
            assert {r.item for r in test | validation} == {7, 8, 9}
            assert len(test) == 3 * len(tested)
            assert {r for r in train if r.user in tested} == {
                r for r in rows if r.user in tested and r.item < 7
            }
        assert sorted(seen) == list(range(20))


def test_the_seed_changes_a_random_split_and_nothing_else(spark: SparkSession) -> None:
    ratings = frame(spark, [Row(u, i, u + 3 * i) for u in range(5) for i in range(20)])
    for strategy, same in (("random", False), ("global_time", True)):
        chosen = keep_all(strategy=strategy)
        with folds_of(ratings, chosen, seed=1) as [one], folds_of(ratings, chosen, seed=2) as [two]:
            assert (parts_of(one) == parts_of(two)) is same


def test_a_random_split_does_not_depend_on_the_dense_numbers(spark: SparkSession) -> None:
    ratings = frame(spark, [Row(u, i, 0) for u in range(5) for i in range(20)])
    renumbered = ratings.withColumns({"user": F.col("user") + 7, "item": 30 - F.col("item")})
    ids = ["user_id", "item_id"]
    chosen = keep_all(strategy="random")
    with folds_of(ratings, chosen, seed=1) as [one], folds_of(renumbered, chosen, seed=1) as [two]:
        assert one.test.select(ids).exceptAll(two.test.select(ids)).isEmpty()


# -- cold users and items ---------------------------------------------------------------------

# Train ends before second 8: user 2 and item 9 are unknown to it.
COLD = [
    *(Row(1, i, i) for i in range(8)),
    Row(1, 9, 8), Row(2, 0, 8), Row(3, 1, 3),
    Row(1, 8, 9), Row(2, 9, 9), Row(3, 0, 9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cold_users", "cold_items", "validation", "test"),
    [
        ("drop", "keep", {(1, 9)}, {(1, 8), (3, 0)}),
        ("keep", "keep", {(1, 9), (2, 0)}, {(1, 8), (2, 9), (3, 0)}),
        ("keep", "drop", {(2, 0)}, {(3, 0)}),
    ],
)
def test_cold_rows_are_dropped_or_kept_as_the_settings_say_and_counted(
    spark: SparkSession,
    cold_users: str,
    cold_items: str,
    validation: set[tuple[int, int]],
    test: set[tuple[int, int]],
) -> None:
    chosen = keep_all(
        cold_users=cold_users,
        cold_items=cold_items,
        validation_from=START + timedelta(seconds=8),
        test_from=START + timedelta(seconds=9),
    )
    ratings = frame(spark, COLD)
    with folds_of(ratings, chosen, seed=1) as [parts]:
        found = parts_of(parts)
        assert {(r.user, r.item) for r in found[1]} == validation
        assert {(r.user, r.item) for r in found[2]} == test
        counts = count_parts(ratings, parts, chosen)
        assert (counts.cold_users, counts.cold_items) == (1, 2)
        assert counts.dropped_rows_of_cold_users == (2 if cold_users == "drop" else 0)
        assert counts.dropped_rows_of_cold_items == (3 if cold_items == "drop" else 0)
        assert counts.parts["test"].rows == len(test)
        assert counts.as_json()["cutoffs"] == {
            "validation_from": "2020-01-01T00:00:08+00:00",
            "test_from": "2020-01-01T00:00:09+00:00",
        }


@pytest.mark.parametrize("validation", ["user_time", "global_time"])
@pytest.mark.parametrize("sizes", [(4, 3, 13), (13, 3, 4), (18, 1, 1), (1, 1, 18)])
def test_three_instants_are_cut_so_that_every_part_has_rows(
    spark: SparkSession, sizes: tuple[int, int, int], validation: str
) -> None:
    days = [day for day, size in enumerate(sizes) for _ in range(size)]
    rows = [Row(1, i, 86_400 * day) for i, day in enumerate(days)]
    chosen = keep_all(strategy="global_time", validation=validation)
    with folds_of(frame(spark, rows), chosen, seed=1) as [parts]:
        found = parts_of(parts)
    assert tuple(len(part) for part in found) == sizes


def test_auto_follows_the_instants_and_says_what_it_did(spark: SparkSession) -> None:
    rows = [Row(i % 5, i, i) for i in range(50)]
    with split(frame(spark, rows), keep_all(), seed=1) as by_time:
        assert by_time.settings.strategy == "global_time"
        assert by_time.folds[0].cutoffs
    two_days = [row._replace(second=row.second % 2) for row in rows]
    for times, ratings, reason in (
        ("some", two_days, "allow no cut.*no rows in validation"),
        ("none", rows, "no instants"),
        ("one_instant", rows, "one instant"),
    ):
        with split(frame(spark, ratings), keep_all(), seed=1, times=times) as outcome:  # type: ignore[arg-type]
            assert outcome.settings.strategy == "random"
            assert re.search(reason, outcome.reason)
            assert [len(part) for part in parts_of(outcome.folds[0])] == [40, 5, 5]


def test_auto_splits_a_handful_and_a_strategy_by_time_refuses_what_has_no_times(
    spark: SparkSession,
) -> None:
    with split(frame(spark, [Row(1, 1, 1), Row(1, 2, 1)]), keep_all(), seed=1) as outcome:
        train, validation, test = parts_of(outcome.folds[0])
    assert (len(train), len(validation), len(test)) == (1, 0, 1)
    for strategy in ("global_time", "user_fraction", "last_n", "leave_one_out", "k_fold_users"):
        with (
            pytest.raises(UsageError, match=f"{strategy} needs instants, .* no instants"),
            split(frame(spark, [Row(1, 1, 1)]), keep_all(strategy=strategy), seed=1, times="none"),
        ):
            pass


# -- parts as they were given -----------------------------------------------------------------


def parts_table(spark: SparkSession, **parts: Iterable[Row]) -> DataFrame:
    rows = [(row.user, row.item, name) for name, of_part in parts.items() for row in of_part]
    return spark.createDataFrame(rows, "user int, item int, part string")


GIVEN_TRAIN = [Row(user, item, 10 * item + user) for user in range(1, 9) for item in range(20)]
GIVEN_TEST = [
    # Before and after what is in train: a protocol may hold out what it likes.
    *(Row(user, 20 + i, 100 * i) for user in range(1, 9) for i in range(3)),
    Row(99, 1, 5),  # train does not know this user
    Row(1, 77, 5),  # nor this item
]


def test_given_parts_stay_as_they_are(spark: SparkSession) -> None:
    validation = [row for row in GIVEN_TRAIN if (row.user + row.item) % 5 == 0]
    train = [row for row in GIVEN_TRAIN if row not in validation]
    ratings = frame(spark, [*GIVEN_TRAIN, *GIVEN_TEST])
    given_parts = parts_table(spark, train=train, validation=validation, test=GIVEN_TEST)
    for chosen, test in (
        (keep_all(strategy="given"), set(GIVEN_TEST)),
        (Split(strategy="given"), {row for row in GIVEN_TEST if row.user != 99}),
        (Split(strategy="given", cold_users="keep", cold_items="drop"), {Row(99, 1, 5)}),
    ):
        with split(ratings, chosen, seed=1, given=given_parts) as outcome:
            [parts] = outcome.folds
            assert parts_of(parts) == (set(train), set(validation), test)
            check_no_leak(parts, chosen)
            assert count_parts(ratings, parts, chosen).rows_in == len(GIVEN_TRAIN + GIVEN_TEST)
            assert not outcome.reason


def test_without_validation_the_latest_tenth_of_each_user_of_train_takes_its_place(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings = frame(spark, [*GIVEN_TRAIN, *GIVEN_TEST], partitions=3)
    given_parts = parts_table(spark, train=GIVEN_TRAIN, test=GIVEN_TEST)
    latest = {row for row in GIVEN_TRAIN if row.item >= 18}
    for sent_users in (1000, 0):
        monkeypatch.setattr("recpipe.split.strategies._SENT_USERS", sent_users)
        with split(ratings, keep_all(), seed=1, given=given_parts) as outcome:
            [parts] = outcome.folds
            assert parts_of(parts) == (set(GIVEN_TRAIN) - latest, latest, set(GIVEN_TEST))
            assert outcome.settings.strategy == "given"
            assert outcome.reason == "the ratings came in parts"
            assert not parts.cutoffs


def test_without_validation_and_instants_a_tenth_of_train_is_drawn_by_row(
    spark: SparkSession,
) -> None:
    """Whether train has no instants or one: the same rows are drawn."""
    # The instants of test do not help: those of train are what could be cut.
    train = [row._replace(second=7) for row in GIVEN_TRAIN]
    chosen = Split(strategy="given", fractions=(0.6, 0.25, 0.15))
    found = []
    for times, seed, partitions in (("none", 1, 1), ("one instant", 1, 5), ("one instant", 2, 1)):
        ratings = frame(spark, [*train, *GIVEN_TEST], partitions=partitions)
        if times == "none":
            ratings = ratings.withColumn("rated_at", F.lit(None).cast("timestamp"))
        given_parts = parts_table(spark, train=train, test=GIVEN_TEST)
        with split(ratings, chosen, seed=seed, times="none", given=given_parts) as outcome:
            [parts] = outcome.folds
            counts = count_parts(ratings, parts, chosen)
            sizes = {name: part.rows for name, part in counts.parts.items()}
            assert sizes == {"train": 120, "validation": 40, "test": len(GIVEN_TEST) - 1}
            rows = parts.validation.select("user", "item").collect()
            found.append({(row.user, row.item) for row in rows})
    assert found[0] == found[1] != found[2]


def test_given_needs_parts_and_what_is_not_in_them_is_a_lost_row(spark: SparkSession) -> None:
    ratings = frame(spark, [*GIVEN_TRAIN, *GIVEN_TEST])
    chosen = keep_all(strategy="given")
    with (
        pytest.raises(UsageError, match="ratings that came in parts"),
        split(ratings, chosen, seed=1),
    ):
        pass
    less = parts_table(spark, train=GIVEN_TRAIN[1:], test=GIVEN_TEST)
    with split(ratings, chosen, seed=1, given=less) as outcome:
        [parts] = outcome.folds
        with pytest.raises(ContractError, match=r"1 rows too few.*user 1"):
            count_parts(ratings, parts, chosen)


def test_a_train_that_cannot_be_cut_asks_for_validation(spark: SparkSession) -> None:
    # One rating a user: nobody has a latest one besides the first.
    train = [Row(user, user, user) for user in range(5)]
    test = [Row(user, 9, 9) for user in range(5)]
    given_parts = parts_table(spark, train=train, test=test)
    with (
        pytest.raises(InputError, match="no rows in validation") as refused,
        split(frame(spark, [*train, *test]), Split(), seed=1, given=given_parts),
    ):
        pass
    assert "--validation" in refused.value.hint


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([], "no ratings"),
        ([Row(1, i, 0) for i in range(50)], "no rows in train"),
        ([Row(1, i, i // 5) for i in range(10)], "no rows in validation"),
        # All of test is a user that train does not know.
        ([*(Row(1, i, i) for i in range(9)), Row(2, 1, 20)], "no rows in test"),
    ],
)
def test_an_empty_part_is_unusable_input(spark: SparkSession, rows: list[Row], part: str) -> None:
    with (
        pytest.raises(InputError, match=part),
        folds_of(frame(spark, rows), Split(strategy="global_time"), seed=1),
    ):
        pass


@pytest.mark.movielens
def test_the_real_release_splits_at_the_rows_that_a_full_sort_finds(
    spark: SparkSession, movielens: Path
) -> None:
    text = (movielens / "ratings.csv").read_text().splitlines()[1:]
    fields = [line.split(",") for line in text]
    times = sorted(int(f[3]) for f in fields)
    seconds = [int(t) - int(START.timestamp()) for _, _, _, t in fields]
    ratings = frame(
        spark,
        [Row(int(u), int(i), at) for (u, i, _, _), at in zip(fields, seconds, strict=True)],
    ).cache()
    n = len(times)
    cutoffs = [times[n * 8 // 10], times[n * 9 // 10]]
    latest = Split(strategy="global_time")
    with folds_of(ratings, latest, seed=42) as [parts]:
        assert [int(at.timestamp()) for at in parts.cutoffs.values()] == cutoffs[1:]
        check_no_leak(parts, latest)
        counts = count_parts(ratings, parts, latest)
        before = sum(t < cutoffs[1] for t in times)
        assert counts.parts["train"].rows + counts.parts["validation"].rows == before
        assert counts.parts["validation"].users > 400
    chosen = Split(strategy="global_time", validation="global_time")
    with folds_of(ratings, chosen, seed=42) as [parts]:
        assert [int(at.timestamp()) for at in parts.cutoffs.values()] == cutoffs
        check_no_leak(parts, chosen)
        counts = count_parts(ratings, parts, chosen)
        assert counts.rows_in == n == 100_836
        assert counts.parts["train"].rows == sum(t < cutoffs[0] for t in times)
        kept = sum(part.rows for part in counts.parts.values())
        assert kept + counts.dropped_rows_of_cold_users == n
    leave_one_out = Split(strategy="leave_one_out")
    with folds_of(ratings, leave_one_out, seed=42) as [parts]:
        check_no_leak(parts, leave_one_out)
        counts = count_parts(ratings, parts, leave_one_out)
        assert (counts.parts["test"].rows, counts.parts["test"].users) == (610, 610)
    ratings.unpersist()
