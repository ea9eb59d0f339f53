"""Windows over time, each evaluated as it would have been then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from recpipe.backtest import Windows, list_stability, pooled_rows, windows_of
from recpipe.errors import InputError, UsageError
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.backtest import _stabilities, backtest, check_settings
from recpipe.stages.context import Context
from recpipe.stages.ingest import ingest
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.storage import Run

START = datetime(2020, 1, 1, tzinfo=UTC)


def days(spark: SparkSession, numbers: list[int]) -> DataFrame:
    rows = [(START + timedelta(days=n),) for n in numbers]
    return spark.createDataFrame(rows, "rated_at timestamp")


def test_windows_have_as_many_ratings_each_over_the_later_half(spark: SparkSession) -> None:
    found = windows_of(days(spark, list(range(20))), Windows(count=5))
    assert [(w.start - START).days for w in found] == [10, 12, 14, 16, 18]
    assert [w.end for w in found[:-1]] == [w.start for w in found[1:]]
    assert found[-1].end == START + timedelta(days=19, microseconds=1)


def test_windows_of_a_period_are_counted_back_from_the_last_rating(spark: SparkSession) -> None:
    found = windows_of(days(spark, list(range(20))), Windows(count=2, every=timedelta(days=3)))
    assert [w.start for w in found] == [START + timedelta(days=n, microseconds=1) for n in (13, 16)]


def test_windows_at_instants_are_put_in_order(spark: SparkSession) -> None:
    later, earlier = START + timedelta(days=9), START + timedelta(days=4)
    found = windows_of(days(spark, list(range(20))), Windows(at=(later, earlier)))
    assert (found[0].start, found[0].end) == (earlier, later)


@pytest.mark.parametrize(
    ("numbers", "wanted", "error", "says"),
    [
        ([1, 2, 3], Windows(at=(START,)), UsageError, "outside of the ratings, which are from"),
        ([1, 2, 3], Windows(count=3, every=timedelta(days=2)), UsageError, "outside of the"),
        ([1, 2, 3], Windows(every=timedelta(weeks=99999)), UsageError, "outside of the"),
        ([1, 1, 1, 2], Windows(count=3), InputError, "begin at only 2 instants"),
        ([], Windows(), InputError, "no ratings have an instant"),
        ([1, 3], Windows(at=(START + timedelta(2),) * 2), UsageError, "given twice"),
    ],
)
def test_windows_that_there_cannot_be_are_refused(
    spark: SparkSession, numbers: list[int], wanted: Windows, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        windows_of(days(spark, numbers), wanted)


def test_pooled_rows_weigh_every_user_of_every_window_alike(spark: SparkSession) -> None:
    columns = "model string, user int, relevant int, `ndcg@10` double, `novelty@10` double"
    one = spark.createDataFrame([("a", 1, 2, 1.0, 3.0), ("a", 2, 1, 0.0, None)], columns)
    two = spark.createDataFrame([("a", 1, 1, 0.5, 5.0)], columns)

    ndcg, novelty = pooled_rows([one, two], users=3)

    # Three lists, two of them of user 1.
    assert (ndcg.name, ndcg.value, ndcg.users, ndcg.rows) == ("ndcg@10", 0.5, 2, 3)
    assert (novelty.name, novelty.value) == ("novelty@10", 4.0)
    assert (novelty.users, novelty.rows) == (1, 2)
    assert ndcg.sample is not None
    # User 1 is drawn with both windows.
    assert ndcg.sample.groups.tolist() == [1, 2]
    assert ndcg.sample.sums.tolist() == [[1.5, 0.0], [2.0, 1.0]]


def test_a_window_without_a_metric_counts_for_nothing_in_it(spark: SparkSession) -> None:
    columns = "model string, user int, relevant int, `ndcg@10` double"
    one = spark.createDataFrame([("a", 1, 2, 1.0), ("a", 2, 1, 0.0)], columns)
    two = spark.createDataFrame(
        [("a", 1, 1, 0.2, 3.0), ("b", 3, 1, 0.4, 4.0)], columns + ", `novelty@10` double"
    )
    for windows in ([one, two], [two, one]):
        found = {(row.model, row.metric): row for row in pooled_rows(windows, users=5000)}
        of_ndcg, of_novelty = found["a", "ndcg"], found["a", "novelty"]
        assert (of_ndcg.value, of_ndcg.users, of_ndcg.rows) == (0.4, 2, 3)
        assert (of_novelty.value, of_novelty.users, of_novelty.rows) == (3.0, 1, 1)
        assert found["b", "novelty"].value == 4.0


def test_stability_is_over_the_users_of_both_cutoffs(spark: SparkSession) -> None:
    columns = "user int, item int, rank int"
    before = spark.createDataFrame([(1, 7, 1), (1, 8, 2), (2, 7, 1), (2, 9, 2)], columns)
    after = spark.createDataFrame([(1, 8, 2), (1, 7, 1), (3, 7, 1)], columns)

    same = list_stability(before, after, k=2)

    assert same is not None
    assert (same.users, same.churn) == (1, 0.0)
    assert same.rbo == pytest.approx(1)
    # Lists that are shorter than k are as equal.
    assert list_stability(before, after, k=10) == same
    assert list_stability(before, after.where("user = 3"), k=2) is None


# -- a whole backtest -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tastes of 20 films each, which people come to in an order of their own."""
    folder = tmp_path_factory.mktemp("backtest")
    random = np.random.default_rng(5)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(24):
        for place, film in enumerate(random.permutation(range(user % 2, 40, 2))[:16]):
            at = START + timedelta(days=2 * place, seconds=user)
            lines.append(f"{user},{film},{4 + (user + film) % 2},{int(at.timestamp())}")
    path = folder / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def context(spark: SparkSession, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    settings = Settings.model_validate(
        {"train": {"models": ["popularity", "ease"]}, "evaluate": {"ks": [5], "metric": "ndcg@5"}}
    )
    root = Folder(spark, tmp_path_factory.mktemp("root"))
    context = Context(root, settings, date(2021, 1, 1), Progress(interactive=False))
    ingest(context, str(source))
    return context


WINDOWS = Windows(at=tuple(START + timedelta(days=d) for d in (1 / 24, 17, 24)))
"""All who rate before the first of these are new then, so that nobody of its test is known."""


@pytest.fixture(scope="module")
def result(context: Context) -> dict[str, Any]:
    return backtest(context, "one", WINDOWS)


def evaluated(context: Context, result: dict[str, Any]) -> list[Run]:
    """The runs of the windows that have a result, in their order."""
    own = replace(context, runs_below=context.root / "backtests" / "one")
    return [own.runs.get(w["window"]) for w in result["results"] if w["error"] is None]


def test_a_window_has_learned_from_what_came_before_it_and_is_tested_on_itself(
    context: Context, result: dict[str, Any]
) -> None:
    gap, *windows = result["results"]
    rows = context.tables.read("ratings")
    runs = evaluated(context, result)
    assert len(runs) == len(windows) == 2
    for window, run in zip(windows, runs, strict=True):
        split = run.folder / "split"
        start, end = (datetime.fromisoformat(window[n]) for n in ("test_from", "test_until"))
        train, validation, test = (
            [
                datetime.fromtimestamp(second, UTC)
                for second in split.read_table(name)
                .agg(*(F.unix_seconds(end("rated_at")) for end in (F.min, F.max)))
                .collect()[0]
            ]
            for name in ("train", "validation", "test")
        )
        assert train[1] < start
        assert validation[1] < start
        assert start <= test[0]
        assert test[1] < end
        later = rows.where(F.col("rated_at") >= F.lit(end)).count()
        assert run.manifest["split"]["later"] == later
    assert windows[0]["train_rows"] < windows[-1]["train_rows"]
    assert all(sorted(window["ranks"].values()) == [1, 2] for window in windows)
    assert gap["train_rows"] is None


def test_a_window_without_a_result_is_a_gap_with_its_reason(result: dict[str, Any]) -> None:
    gap, *rest = result["results"]
    assert "no rows in" in gap["error"] or "train" in gap["error"]
    assert (gap["rows"], gap["ranks"]) == ([], {})
    assert all(window["rows"] for window in rest)


def test_windows_are_pooled_with_intervals_and_compared(result: dict[str, Any]) -> None:
    pooled = {(row["model"], row["metric"]): row for row in result["pooled"]}
    ndcg = pooled["popularity", "ndcg"]
    per_window = [
        (row["users"], row["value"])
        for window in result["results"]
        for row in window["rows"]
        if (row["model"], row["metric"], row["split"]) == ("popularity", "ndcg", "test")
    ]
    total = sum(users for users, _ in per_window)
    assert ndcg["rows"] == total
    assert ndcg["users"] <= 24
    assert ndcg["value"] == pytest.approx(sum(u * v for u, v in per_window) / total)
    assert ndcg["ci_low"] < ndcg["value"] < ndcg["ci_high"]
    (pair,) = result["differences"]
    assert {pair["model"], pair["other"]} == {"popularity", "ease"}
    assert {entry["model"] for entry in result["stability"]} == {"popularity", "ease"}
    assert all(0 <= entry["churn"] <= 1 for entry in result["stability"])


def test_a_backtest_that_was_stopped_goes_on_and_gives_the_same(
    context: Context, result: dict[str, Any]
) -> None:
    before = evaluated(context, result)
    before[-1].folder.delete()

    again = backtest(context, "one", WINDOWS)

    assert again == result
    kept, made_again = (
        now.manifest["started_at"] > then.manifest["started_at"]
        for now, then in zip(evaluated(context, result), before, strict=True)
    )
    assert (kept, made_again) == (False, True)


def test_a_backtest_of_other_settings_does_not_go_on_under_the_same_id(
    context: Context, result: dict[str, Any]
) -> None:
    assert result
    with pytest.raises(UsageError, match="other windows"):
        backtest(context, "one", Windows(count=2))
    other = replace(context, settings=context.settings.model_copy(update={"seed": 7}))
    with pytest.raises(UsageError, match=r"other settings.*--run-id"):
        backtest(other, "one", WINDOWS)


def test_a_backtest_that_goes_on_does_not_ingest_its_source_anew(
    context: Context, result: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    versions = context.tables.versions()
    before = [run.manifest for run in evaluated(context, result)]

    assert backtest(context, "one", WINDOWS, source=str(source)) == result

    assert context.tables.versions() == versions
    assert [run.manifest for run in evaluated(context, result)] == before
    longer = tmp_path / "longer.csv"
    longer.write_text(source.read_text() + f"0,1,4,{int(START.timestamp())}\n")
    with pytest.raises(UsageError, match="other tables"):
        backtest(context, "one", WINDOWS, source=str(longer))
    assert context.tables.versions() == versions
    assert (context.root / "backtests" / "one").exists("plan.json")


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Windows(at=(START - timedelta(days=1),)), UsageError),
        # Nobody who rates then is known to train.
        (Windows(at=(START + timedelta(seconds=1),)), InputError),
    ],
)
def test_a_backtest_that_is_refused_leaves_a_new_root_empty(
    context: Context, source: Path, tmp_path: Path, wanted: Windows, error: type[Exception]
) -> None:
    fresh = replace(context, root=Folder(context.root.spark, tmp_path / "fresh"))
    with pytest.raises(error):
        backtest(fresh, "refused", wanted, source=str(source))
    assert not fresh.tables.exist()
    assert not fresh.root.exists("backtests")


def test_a_backtest_that_is_refused_leaves_the_tables_as_they_were(
    context: Context, source: Path
) -> None:
    before = context.tables.current()
    with pytest.raises(InputError, match="begin at only"):
        backtest(context, "refused", Windows(count=900), source=str(source))
    assert context.tables.current() == before
    assert not (context.root / "backtests" / "refused").exists()


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"strategy": "random"}, "not by split.strategy random"),
        ({"test_from": START}, "split.test_from"),
        ({"test_until": START}, "split.test_until"),
        ({"test_from": START, "validation_from": START}, "split.test_from"),
        ({"validation": "global_time"}, "split.validation global_time"),
    ],
)
def test_settings_that_a_backtest_would_overrule_are_refused(
    split: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_settings(Settings.model_validate({"split": split}))


def test_lists_are_not_compared_across_a_window_without_a_result(
    context: Context, result: dict[str, Any]
) -> None:
    second, third = evaluated(context, result)
    # The first window is the gap.
    found = [(entry["from"], entry["to"]) for entry in result["stability"]]
    assert found == [(second.id, third.id)] * 2
    assert list(_stabilities(context, [second, None, third])) == []
    by_errors = context.settings.evaluate.model_copy(update={"metric": "rmse"})
    other = context.settings.model_copy(update={"evaluate": by_errors})
    of_errors = _stabilities(replace(context, settings=other), [second, third])
    assert {entry["k"] for entry in of_errors} == {5}


def test_the_runs_of_a_backtest_are_no_runs_of_the_root(
    context: Context, result: dict[str, Any]
) -> None:
    assert result
    assert context.runs.all() == []


def test_the_page_of_a_backtest_says_what_is_best_over_all_windows(
    context: Context, result: dict[str, Any]
) -> None:
    page = (context.root / "backtests" / "one").read_text("backtest.html")
    assert "2 of 3 windows were evaluated." in page
    pooled = {row["model"]: row for row in result["pooled"] if row["metric"] == "ndcg"}
    best = max(pooled, key=lambda model: pooled[model]["value"])
    assert f"Highest pooled NDCG@5: {best} with {pooled[best]['value']:.4f}" in page
    for window in result["results"]:
        assert window["test_from"][:10] in page
    assert "How lists change" in page
    assert "<svg" in page
