"""Filters of ratings against the same rules in pandas, and what a run makes of what they leave."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from pyspark.sql.types import LongType

from recpipe.backtest import Windows
from recpipe.contracts import RATINGS
from recpipe.errors import InputError, UsageError
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.split import filtered, filters
from recpipe.split.settings import Filter
from recpipe.stages.backtest import backtest
from recpipe.stages.context import Context, folds_of
from recpipe.stages.evaluate import evaluate
from recpipe.stages.ingest import ingest
from recpipe.stages.pipeline import run_pipeline
from recpipe.stages.split import split
from recpipe.stages.start import resumed, start
from recpipe.stages.train import train
from recpipe.storage import Folder
from tests import release

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.split import Filtered
    from recpipe.storage import Run

START = datetime(2020, 1, 1, tzinfo=UTC)


def ratings_of_a_tail(seed: int = 3, *, users: int = 60, items: int = 50) -> pd.DataFrame:
    """Pairs whose users and items are the rarer the higher their number: peeled in many rounds."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.arange(users)[:, None] / 20) / (1 + np.arange(items)[None, :] / 20)
    user, item = np.nonzero(random.random((users, items)) < chance)
    return pd.DataFrame(
        {
            "user_id": 1000 + user,
            "item_id": 2000 + item,
            "user": user,
            "item": item,
            "rating": random.integers(10, 50, len(user)) / 10,
            "day": random.integers(0, 100, len(user)),
        }
    )


def stored(spark: SparkSession, rows: pd.DataFrame, partitions: int = 2) -> DataFrame:
    columns = {
        "user_id": pa.array(rows["user_id"], pa.int64()),
        "item_id": pa.array(rows["item_id"], pa.int64()),
        "user": pa.array(rows["user"], pa.int32()),
        "item": pa.array(rows["item"], pa.int32()),
        "rating": pa.array(rows["rating"], pa.float32()),
        "rated_at": pa.array(
            [START + timedelta(days=int(day)) for day in rows["day"]], pa.timestamp("us", "UTC")
        ),
    }
    whole = spark.createDataFrame(pa.table(columns), RATINGS.schema(ids=LongType()))
    return whole.repartition(partitions)


@pytest.fixture(scope="module")
def tail() -> pd.DataFrame:
    return ratings_of_a_tail()


@pytest.fixture(scope="module")
def table(spark: SparkSession, tail: pd.DataFrame) -> DataFrame:
    return stored(spark, tail).cache()


@pytest.fixture
def scratch(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path / "scratch")


def left(found: Filtered) -> set[tuple[int, int]]:
    return {(row.user, row.item) for row in found.ratings.select("user", "item").collect()}


def pairs(rows: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(rows["user"], rows["item"], strict=True))


def having(rows: pd.DataFrame, key: str, least: int) -> pd.DataFrame:
    return rows[rows.groupby(key)[key].transform("size") >= least]


def core_of(rows: pd.DataFrame, k: int) -> tuple[pd.DataFrame, int]:
    """The core, one user or item after the other, and after how many of them."""
    gone = 0
    while True:
        for key in ("item", "user"):
            counts = rows.groupby(key)[key].size()
            if len(poor := counts[counts < k]):
                rows, gone = rows[rows[key] != poor.index[-1]], gone + 1
                break
        else:
            return rows, gone


@pytest.mark.parametrize("k", [7, 9])
def test_a_core_is_the_fixpoint_of_leaving_out_who_has_too_few(
    k: int, table: DataFrame, tail: pd.DataFrame, scratch: Folder
) -> None:
    expected, gone = core_of(tail, k)
    once = having(having(tail, "user", k), "item", k)
    assert gone >= 10
    assert 0 < len(expected) < len(once)

    found = filtered(table, Filter(core=k), seed=1, scratch=scratch)

    assert left(found) == pairs(expected)
    assert found.left_out == {"core": len(tail) - len(expected)}
    assert found.ratings.columns == table.columns
    # Of the pairs between the rounds only the last are left.
    assert len(scratch.list()) == 1


def test_a_core_that_takes_too_many_rounds_ends(
    spark: SparkSession, scratch: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of pairs loses an end a round."""
    monkeypatch.setattr(filters, "_MAX_ROUNDS", 3)
    chain = pd.DataFrame(
        [(u, i, u, i, 3.0, 0) for u in range(12) for i in (u, u + 1)],
        columns=["user_id", "item_id", "user", "item", "rating", "day"],
    )
    with pytest.raises(InputError, match=r"the core of 2 is not found in 3 rounds; 1\d ratings"):
        filtered(stored(spark, chain), Filter(core=2), seed=1, scratch=scratch)


def test_minimums_are_looked_at_once_users_first(
    table: DataFrame, tail: pd.DataFrame, scratch: Folder
) -> None:
    of_users = having(tail, "user", 9)
    expected = having(of_users, "item", 12)
    assert expected.groupby("user").size().min() < 9

    settings = Filter(min_ratings_of_user=9, min_ratings_of_item=12)
    found = filtered(table, settings, seed=1, scratch=scratch)

    assert left(found) == pairs(expected)
    assert found.left_out == {
        "min_ratings_of_user": len(tail) - len(of_users),
        "min_ratings_of_item": len(of_users) - len(expected),
    }


def test_rules_apply_in_their_order_and_every_rating_is_counted_once(
    table: DataFrame, tail: pd.DataFrame, scratch: Folder
) -> None:
    settings = Filter(
        rated_from=START + timedelta(days=10),
        # Without a zone an instant is in UTC.
        rated_until=datetime(2020, 1, 1) + timedelta(days=80),  # noqa: DTZ001
        rating_from=1.7,
        rating_to=4.3,
        users=25,
        core=3,
    )
    found = filtered(table, settings, seed=5, scratch=scratch)

    window = tail[(tail["day"] >= 10) & (tail["day"] < 80)]
    values = window[(window["rating"] >= 1.7) & (window["rating"] <= 4.3)]
    # Both ends of the values are there, though neither is a binary fraction.
    assert {1.7, 4.3} <= set(values["rating"])
    drawn = filtered(table, settings.model_copy(update={"core": None}), seed=5, scratch=scratch)
    sample = {user for user, _ in left(drawn)}
    assert len(sample) == 25
    assert sample <= set(values["user"])
    of_sample = values[values["user"].isin(sample)]
    expected, _ = core_of(of_sample, 3)

    assert left(found) == pairs(expected)
    assert found.rows_in == len(tail)
    assert found.rows == len(expected)
    steps = [tail, window, values, of_sample, expected]
    assert list(found.left_out) == ["window", "values", "users", "core"]
    assert list(found.left_out.values()) == [len(a) - len(b) for a, b in pairwise(steps)]


def test_a_sample_is_of_users_by_seed_whatever_the_order_and_partitions(
    spark: SparkSession, table: DataFrame, tail: pd.DataFrame, scratch: Folder
) -> None:
    def sample(rows: DataFrame, seed: int = 1, **settings: Any) -> set[int]:
        found = filtered(rows, Filter(**settings), seed=seed, scratch=scratch)
        kept = left(found)
        users = {user for user, _ in kept}
        # All of their ratings, and nobody else's.
        assert kept == pairs(tail[tail["user"].isin(users)])
        return users

    ten = sample(table, users=10)
    assert len(ten) == 10
    shuffled = tail.sample(frac=1, random_state=4)
    # Other numbers for the same ids, as another order of ingests gives.
    assert sample(stored(spark, shuffled, 5), users=10) == ten
    assert ten < sample(table, users=20)
    assert sample(table, seed=2, users=10) != ten
    everybody = set(tail["user"])
    assert len(sample(table, share_of_users=0.3)) == len(everybody) * 3 // 10
    assert sample(table, users=10_000) == everybody


def test_nothing_left_is_unusable_input_that_names_the_rules(
    table: DataFrame, tail: pd.DataFrame, scratch: Folder
) -> None:
    window = len(tail[tail["day"] < 50])
    settings = Filter(rated_from=START + timedelta(days=50), core=40)
    with pytest.raises(InputError) as refused:
        filtered(table, settings, seed=1, scratch=scratch)
    assert refused.value.message == (
        f"filter: none of {len(tail)} ratings are left:"
        f" window left out {window}, core left out {len(tail) - window}"
    )


@pytest.mark.parametrize(
    ("settings", "known", "says"),
    [
        ({"rated_from": START}, {"times": "none"}, "needs instants, and the ratings have no inst"),
        ({"rated_until": START}, {"times": "one_instant"}, "one instant for all"),
        ({"rated_from": START, "rated_until": START}, {}, "is not before rated_until"),
        ({"rating_from": 3}, {"explicit": False}, "the feedback is implicit"),
    ],
)
def test_rules_that_the_ratings_have_nothing_for_are_wrong_usage(
    settings: Any, known: Any, says: str, table: DataFrame, scratch: Folder
) -> None:
    with pytest.raises(UsageError, match=says):
        filtered(table, Filter(**settings), seed=1, scratch=scratch, **known)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rating_from": 4, "rating_to": 3}, "rating_from must not exceed"),
        ({"users": 3, "share_of_users": 0.5}, "exclude each other"),
        ({"core": 5, "min_ratings_of_item": 2}, "core takes the place of"),
        ({"share_of_users": 1.0}, "less than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Filter(**settings)


# -- runs -------------------------------------------------------------------------------------

EASE = {
    "train": {"models": ["ease"]},
    "publish": {"model": "ease", "prefer": ["ease"]},
    "recommend": {"n": 5},
}
RULES = {"rating_from": 3.0, "share_of_users": 0.8, "core": 3}


def context_of(root: Folder, **sections: Any) -> Context:
    settings = Settings.model_validate(
        {
            "train": {"models": ["popularity"]},
            "evaluate": {"ks": [5], "metric": "ndcg@5"},
            **sections,
        }
    )
    return Context(root, settings, date(2026, 1, 2), Progress(interactive=False))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(release.write(tmp_path_factory.mktemp("filters") / "source", users=40, items=40))


@pytest.fixture(scope="module")
def filtered_run(
    spark: SparkSession, source: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Context, Run]:
    root = Folder(spark, tmp_path_factory.mktemp("filters") / "root")
    context = context_of(root, filter=RULES, **EASE)
    return context, run_pipeline(context, "one", source=source)


def ids(frame: DataFrame) -> set[tuple[int, int]]:
    return {(row.user_id, row.item_id) for row in frame.select("user_id", "item_id").collect()}


def test_a_run_knows_what_the_filter_left_and_counts_the_rest(
    filtered_run: tuple[Context, Run],
) -> None:
    context, run = filtered_run
    known = ids(run.folder.read_table("ratings"))
    all_rated = ids(context.tables.read("ratings"))
    told = run.manifest["filter"]

    assert known < all_rated
    assert (told["rows_in"], told["rows"]) == (len(all_rated), len(known))
    assert told["users"] == len({user for user, _ in known})
    assert told["items"] == len({item for _, item in known})
    assert list(told["left_out"]) == ["values", "users", "core"]
    assert told["rows_in"] - sum(told["left_out"].values()) == told["rows"]
    assert run.manifest["split"]["parts"][0]["rows_in"] == len(known)
    assert run.manifest["split"]["later"] == 0
    [parts] = folds_of(context, run)
    for _, part in parts.named():
        assert ids(part) <= known
    assert run.manifest["final"]["ease"]["info"]["users"] == told["users"]
    page = run.folder.read_text("report.html")
    assert f"The filter left {len(known)} of {len(all_rated)} ratings" in page
    assert run.folder.read_json("data.json")["ratings"] == len(known)


def test_users_who_are_left_get_lists_without_what_they_have_ever_rated(
    filtered_run: tuple[Context, Run],
) -> None:
    context, run = filtered_run
    known = ids(run.folder.read_table("ratings"))
    all_rated = ids(context.tables.read("ratings"))
    listed = ids((run.folder / "recommendations").read_table("ease"))

    assert run.manifest["status"] == "finished"
    assert {user for user, _ in listed} == {user for user, _ in known}
    assert {item for _, item in listed} <= {item for _, item in known}
    assert not listed & all_rated
    # The filter has left out what would else have been offered.
    model_knows = {item for _, item in known}
    users = {user for user, _ in known}
    assert any(user in users and item in model_knows for user, item in all_rated - known)


def test_metrics_are_those_of_a_source_without_what_was_left_out(
    spark: SparkSession, tmp_path: Path, filtered_run: tuple[Context, Run]
) -> None:
    context, run = filtered_run
    kept = run.folder.read_table("ratings").orderBy("rated_at").collect()
    lines = [f"{r.user_id},{r.item_id},{r.rating},{int(r.rated_at.timestamp())}" for r in kept]
    place = tmp_path / "kept.csv"
    place.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    plain = context_of(Folder(spark, tmp_path / "root"), **EASE)
    ingest(plain, str(place))
    other = start(plain, "one")
    for each in (split, train, evaluate):
        each(plain, other)

    assert "filter" not in other.manifest
    assert "ratings" not in other.folder.list()

    def parts(of: Context, run: Run) -> list[set[tuple[int, int]]]:
        [found] = folds_of(of, run)
        return [ids(part) for _, part in found.named()]

    def values(run: Run) -> dict[Any, float]:
        rows = run.folder.read_json("metrics.json")["rows"]
        return {
            (r["model"], r["metric"], r["k"], r["split"]): r["value"]
            for r in rows
            if r["metric"] in {"ndcg", "recall", "coverage"} and r["model"] == "ease"
        }

    assert parts(plain, other) == parts(context, run)
    assert values(run)
    assert values(other) == pytest.approx(values(run), abs=1e-6)


def test_a_later_stage_refuses_another_filter(filtered_run: tuple[Context, Run]) -> None:
    context, run = filtered_run
    other = context_of(context.root, filter={"core": 4})
    with (
        pytest.raises(UsageError, match="was started with other settings of `filter`"),
        resumed(other, run, "train"),
    ):
        raise AssertionError("it goes on")


def test_a_filter_that_leaves_nothing_leaves_no_run_behind(
    filtered_run: tuple[Context, Run],
) -> None:
    context = context_of(filtered_run[0].root, filter={"core": 39})
    run = start(context, "none")
    with pytest.raises(InputError, match=r"filter: none of \d+ ratings are left: core left out"):
        split(context, run)
    assert not run.folder.exists()
    assert ".scratch" not in context.root.list()


def test_parts_that_were_given_are_not_filtered(spark: SparkSession, tmp_path: Path) -> None:
    head = "userId,movieId,rating,timestamp\n"
    rows = [f"{u},{i},{1 + (u + i) % 5},{10**9 + 9 * u + i}\n" for u in range(6) for i in range(9)]
    for name, held in (("train", False), ("test", True)):
        chosen = [row for place, row in enumerate(rows) if (place % 4 == 0) == held]
        (tmp_path / f"{name}.csv").write_text(head + "".join(chosen))
    context = context_of(Folder(spark, tmp_path / "root"), filter={"rating_from": 2})
    ingest(context, {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")})
    with pytest.raises(UsageError, match="the ratings came in parts"):
        split(context, start(context, "one"))
    # Split anew, they are ratings as any.
    anew = context_of(context.root, filter={"rating_from": 2}, split={"strategy": "random"})
    run = start(anew, "two")
    split(anew, run)
    assert run.manifest["filter"]["left_out"] == {
        "values": sum(r.split(",")[2] == "1" for r in rows)
    }


def test_windows_of_a_backtest_are_filtered_by_what_was_known_at_their_end(
    spark: SparkSession, source: str, tmp_path: Path
) -> None:
    context = context_of(Folder(spark, tmp_path / "root"), filter={"core": 4})
    result = backtest(context, "bt", Windows(count=2), source=source)

    rows = context.tables.read("ratings").toPandas()
    for window in result["results"]:
        assert window["error"] is None
        until = datetime.fromisoformat(window["test_until"]).replace(tzinfo=None)
        expected, _ = core_of(rows[rows["rated_at"] < until], 4)
        folder = context.root / "backtests" / "bt" / "runs" / window["window"]
        found = folder.read_table("ratings").toPandas()
        assert pairs(found) == pairs(expected)
        told = folder.read_json("manifest.json")["filter"]
        assert list(told["left_out"]) == ["window", "core"]
        assert told["rows"] == len(expected)
