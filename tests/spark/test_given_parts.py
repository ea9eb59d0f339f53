"""Ratings that come in parts: published protocols, from their files to the lists of their test."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from recpipe import ingest as package
from recpipe.contracts import GIVEN_PARTS, RATINGS
from recpipe.errors import InputError, UsageError
from recpipe.feedback import Scale
from recpipe.ingest.settings import Ingest
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages import ingest as ingest_stage
from recpipe.stages.context import Context, folds_of
from recpipe.stages.evaluate import evaluate
from recpipe.stages.pipeline import run_pipeline
from recpipe.stages.split import split
from recpipe.stages.start import start
from recpipe.stages.train import train
from recpipe.storage import Folder, Tables
from tests.roots import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.ingest import IngestReport
    from recpipe.storage import Run

T = 880_000_000
RUN_DATE = date(2020, 6, 30)

Rated = tuple[int, int, int, int]
Pair = tuple[int, int]

# 12 users who rate 12 of 20 films, a day after the other; the tenth and the eleventh are held out.
BASE: list[Rated] = [
    (user, (3 * user + i) % 20 + 100, 1 + (user + i) % 5, T + 86_400 * i + user)
    for user in range(1, 13)
    for i in (*range(10), 12)
]
TEST: list[Rated] = [
    (user, (3 * user + i) % 20 + 100, 4 + i % 2, T + 86_400 * i + user)
    for user in range(1, 13)
    for i in (10, 11)
]


def written(place: Path, rows: Iterable[tuple[object, ...]], *, between: str = "\t") -> str:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{between.join(map(str, row))}\n" for row in rows))
    return str(place)


def ingest(parts: dict[str, str] | str, root: Folder, **settings: Any) -> IngestReport:
    return package.ingest(
        parts, tables=Tables(root), settings=Ingest(**settings), run_date=RUN_DATE
    )


def context_of(root: Folder, **sections: Any) -> Context:
    settings = Settings.model_validate({"train": {"models": ["popularity"]}, **sections})
    return Context(root, settings, RUN_DATE, Progress(interactive=False))


def pairs(frame: Any) -> set[Pair]:
    return {(row.user_id, row.item_id) for row in frame.select("user_id", "item_id").collect()}


def parts_of(context: Context, run: Run) -> tuple[set[Pair], set[Pair], set[Pair]]:
    [parts] = folds_of(context, run)
    return pairs(parts.train), pairs(parts.validation), pairs(parts.test)


def lists_of(context: Context, run: Run) -> set[Pair]:
    """The lists of the test users that metrics are computed from, by the ids of the source."""
    lists = (run.folder / "evaluation").read_table("popularity")
    users, items = context.tables.read("users"), context.tables.read("items")
    return pairs(lists.join(users, "user").join(items, "item"))


def test_a_split_of_100k_is_run_as_its_files_have_it(spark: SparkSession, tmp_path: Path) -> None:
    parts = {
        "train": written(tmp_path / "ml-100k" / "u1.base", BASE),
        "test": written(tmp_path / "ml-100k" / "u1.test", TEST),
    }
    context = context_of(Folder(spark, tmp_path / "root"))
    run = run_pipeline(context, "one", source=parts)
    train, validation, test = parts_of(context, run)
    assert test == {row[:2] for row in TEST}
    assert train | validation == {row[:2] for row in BASE}
    # The latest tenth of a user's 11 ratings is those from place 9 on, counted from 0.
    assert validation == {row[:2] for row in BASE if row[3] >= T + 86_400 * 9}
    told = run.manifest
    assert (told["split"]["strategy"], told["split"]["reason"]) == (
        "given", "the ratings came in parts",
    )  # fmt: skip
    assert told["split"]["parts"][0]["rows_in"] == len(BASE) + len(TEST)
    assert told["input"]["format"] == "MovieLens 100k (u.data)"
    assert {name: part["ratings"]["kept"] for name, part in told["input"]["parts"].items()} == {
        "train": len(BASE), "test": len(TEST),
    }  # fmt: skip
    assert told["status"] == "finished"
    # What is published is fitted on all of them, and shows nobody what he has rated in any part.
    assert pairs(context.tables.read("ratings")) == train | validation | test
    published = (context.root / told["output"]["path"]).read_parquet()
    assert not pairs(published) & (train | validation | test)


def evaluated(context: Context, run_id: str) -> Run:
    """A run that has come as far as its metrics."""
    run = start(context, run_id)
    for stage in (split, train, evaluate):
        stage(context, run)
    return run


# 12 users know five items, some of them others; item 9 is chosen by and item 20 is asked for.
KNOWN: list[Pair] = [
    *((user, item) for user in range(12) for item in range(5)),
    *((user, 9) for user in range(6, 12)),
    *((user, 20) for user in range(8, 12)),
    (6, 30), (7, 31), (8, 32),
]  # fmt: skip
CHOSEN_BY: list[Pair] = [(0, 9), (1, 9)]
ASKED: list[Pair] = [(user, 20) for user in range(6)]


def test_lists_of_pairs_are_run_as_a_paper_has_them_and_may_hold_what_validation_has(
    spark: SparkSession, tmp_path: Path
) -> None:
    parts = {
        "train": written(tmp_path / "train.txt", KNOWN, between=" "),
        "validation": written(tmp_path / "valid.txt", CHOSEN_BY, between=" "),
        "test": written(tmp_path / "test.txt", ASKED, between=" "),
    }
    root = Folder(spark, tmp_path / "root")
    places = {"columns": {"user": 1, "item": 2}}
    by_paper = context_of(root, ingest=places, evaluate={"exclude": "train"})
    ingest_stage.ingest(by_paper, parts)
    run = evaluated(by_paper, "paper")
    assert parts_of(by_paper, run) == (set(KNOWN), set(CHOSEN_BY), set(ASKED))
    told = run.manifest["input"]
    assert (told["feedback"], told["rating_scale"], told["times"]) == ("implicit", None, "none")
    assert {(0, 9), (1, 9), (2, 9), (0, 20)} <= lists_of(by_paper, run)
    # The tables are there now, and say themselves in which parts they came.
    by_default = context_of(root, ingest=places)
    again = evaluated(by_default, "default")
    assert parts_of(by_default, again) == (set(KNOWN), set(CHOSEN_BY), set(ASKED))
    assert not lists_of(by_default, again) & {(0, 9), (1, 9)}
    assert {(2, 9), (0, 20)} <= lists_of(by_default, again)
    for listed in (lists_of(by_paper, run), lists_of(by_default, again)):
        assert not listed & set(KNOWN)


def test_a_small_test_file_is_on_the_scale_of_train_and_its_faults_are_told_apart(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Alone, two fives and a seven would be likings, or a scale up to seven."""
    held_out = [(1, 113, 5, T), (2, 119, 7, T), (3, 120, 5, T), (3, 120, 5, T + 1), (3, 121, "", T)]
    parts = {
        "train": written(tmp_path / "train" / "r.tsv", BASE),
        "test": written(tmp_path / "test" / "r.tsv", held_out),
    }
    root = Folder(spark, tmp_path / "root")
    report = ingest(parts, root, max_rejected_share=0.5)
    assert report.meaning.feedback == "explicit"
    assert report.rating_scale == Scale(min=1, max=5, step=1)
    tables = Tables(root)
    assert [tuple(row) for row in tables.read("rejected").collect()] == [
        ("test/r.tsv", 2, f"2\t119\t7\t{T}", "rating off the scale")
    ]
    assert [(file.name, file.kind, file.rows) for file in report.files] == [
        ("train/r.tsv", "train", len(BASE)), ("test/r.tsv", "test", 5),
    ]  # fmt: skip
    test = report.parts["test"].ratings
    assert (test.rows, test.kept, test.rejected, test.superseded, test.unrated) == (5, 2, 1, 1, 1)
    assert all(part.ratings.add_up for part in report.parts.values())
    assert report.ratings.add_up
    assert report.ratings.rows == len(BASE) + 5
    given = GIVEN_PARTS.check(tables.read("parts"))
    assert RATINGS.check(tables.read("ratings")).join(given, ["user", "item"]).count() == (
        len(BASE) + 2
    )
    assert pairs(tables.read("unrated")) == {(3, 121)}
    swapped = ingest({"train": parts["test"], "test": parts["train"]}, root, max_rejected_share=0.5)
    assert swapped.fingerprint != report.fingerprint


def test_titles_are_those_beside_train(spark: SparkSession, tmp_path: Path) -> None:
    for name, rows in (("train", BASE), ("test", TEST)):
        header = ("userId", "movieId", "rating", "timestamp")
        written(tmp_path / name / "ratings.csv", [header, *rows], between=",")
        titles = [("movieId", "title", "genres"), (100, f"Film of {name} (1990)", "Drama")]
        written(tmp_path / name / "movies.csv", titles, between=",")
    root = Folder(spark, tmp_path / "root")
    report = ingest({name: str(tmp_path / name) for name in ("train", "test")}, root)
    assert [row.title for row in Tables(root).read("movies").collect()] == ["Film of train (1990)"]
    assert [(file.name, file.kind) for file in report.files] == [
        ("train/movies.csv", "movies"), ("train/ratings.csv", "train"),
        ("test/ratings.csv", "test"),
    ]  # fmt: skip
    assert report.ignored == {"test/movies.csv": "movies, which are read beside train alone"}


@pytest.mark.parametrize(
    ("held_out", "says"),
    [
        ([*TEST, BASE[3], BASE[4]], r"2 pairs .* such as user 1 and item 106, in test and tr"),
        ([row[:3] for row in TEST], r"u1\.test has no instants, and train has some"),
        ([row[:2] for row in TEST], "no header, and no columns of user, item"),
        ([(1, item, 9, T) for item in range(3)], r"3 of 3 rows refused .*: 3 rating off the"),
    ],
    ids=["overlap", "no times", "two columns", "off the scale of train"],
)
def test_parts_that_cannot_be_used_change_nothing(
    spark: SparkSession,
    tmp_path: Path,
    held_out: list[tuple[object, ...]],
    says: str,
) -> None:
    root = Folder(spark, tmp_path / "root")
    ingest(written(tmp_path / "u.data", BASE), root)
    before = snapshot(tmp_path / "root")
    parts = {
        "train": written(tmp_path / "u1.base", BASE),
        "test": written(tmp_path / "u1.test", held_out),
    }
    with pytest.raises(InputError, match=says) as refused:
        ingest(parts, root)
    assert refused.value.hint
    assert snapshot(tmp_path / "root") == before


def test_parts_of_which_one_has_no_instants_are_read_without_them_where_settings_say_so(
    spark: SparkSession, tmp_path: Path
) -> None:
    parts = {
        "train": written(tmp_path / "u1.base", BASE),
        "test": written(tmp_path / "u1.test", [row[:3] for row in TEST]),
    }
    columns = {"user": 1, "item": 2, "rating": 3}
    report = ingest(parts, Folder(spark, tmp_path / "root"), columns=columns)
    assert report.times == "none"
    assert [part.ratings.kept for part in report.parts.values()] == [len(BASE), len(TEST)]


def test_a_later_source_drops_the_parts_and_then_there_are_none_to_follow(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = Folder(spark, tmp_path / "root")
    parts = {
        "train": written(tmp_path / "u1.base", BASE),
        "test": written(tmp_path / "u1.test", TEST),
    }
    ingest(parts, root)
    known = {name: Tables(root).read(name).count() for name in ("users", "items")}
    assert Tables(root).has("parts")
    ingest(written(tmp_path / "u.data", [*BASE, *TEST]), root)
    assert not Tables(root).has("parts")
    assert {name: Tables(root).read(name).count() for name in known} == known
    context = context_of(root, split={"strategy": "given"})
    with pytest.raises(UsageError, match=r"ratings that came in parts.*--train and --test"):
        run_pipeline(context, "one", source=None)


@pytest.mark.parametrize("format_", ["parquet", "delta"])
def test_string_ids_are_shared_by_the_parts_in_either_format(
    spark: SparkSession, tmp_path: Path, format_: Any
) -> None:
    root = Folder(spark, tmp_path / "root", format=format_)
    parts = {
        "train": written(tmp_path / "a.tsv", [("u1", "7", 5, T), ("u2", "8", 1, T + 1)]),
        "test": written(tmp_path / "b.tsv", [("u1", "8", 4, T + 2), ("u3", "x9", 4, T + 3)]),
    }
    report = ingest(parts, root)
    assert (report.users.type, report.users.total) == ("string", 3)
    assert (report.items.type, report.items.total) == ("string", 3)
    tables = Tables(root)
    rows = tables.read("ratings").join(tables.read("parts"), ["user", "item"])
    assert {(row.user_id, row.item_id, row.part) for row in rows.collect()} == {
        ("u1", "7", "train"), ("u2", "8", "train"), ("u1", "8", "test"), ("u3", "x9", "test"),
    }  # fmt: skip
