"""Every folder of tests/inputs, in the shapes that people bring, is read or refused as it should.

What is right for each stands in tests/inputs/README.md; `expected.csv` has the rows.
"""

from __future__ import annotations

import csv
import shutil
from contextlib import contextmanager
from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from recpipe import ingest as package
from recpipe.contracts import RATINGS, UNRATED
from recpipe.errors import InputError
from recpipe.feedback import Scale
from recpipe.ingest.archive import Limits
from recpipe.ingest.fast import passes
from recpipe.ingest.reading import given_columns, read_ratings
from recpipe.ingest.settings import Ingest
from recpipe.ingest.source import open_source
from recpipe.ingest.times import Period
from recpipe.storage import Folder, Tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ingest import IngestReport
    from recpipe.ingest.reading import Reading

INPUTS = Path(__file__).parents[1] / "inputs"
RUN_DATE = date(2026, 11, 28)
LIMITS = Limits(members=100, bytes=10_000_000, ratio=200)
HALVES, WHOLE = Scale(min=0.5, max=5, step=0.5), Scale(min=1, max=5, step=1)

Row = tuple[float, int | None]


class Case(NamedTuple):
    """A source that is read, its rows and what is concluded about their values."""

    path: str
    expected: str
    scale: Scale | None = HALVES
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed
    times: bool = True


READ = [
    Case("no-time/ratings-header.csv", "no-time/expected.csv"),
    Case("no-time/ratings.tsv", "no-time/expected.csv"),
    Case(
        "semicolons-no-time/BX-Book-Ratings.csv", "semicolons-no-time/expected.csv",
        Scale(min=0, max=10, step=1), times=False,
    ),
    Case("anime/rating.csv", "anime/expected.csv", Scale(min=-1, max=10, step=1), times=False),
    Case("one-instant/sample_movielens_ratings.txt", "one-instant/expected.csv"),
    Case("counts/user_artists.dat", "counts/expected.csv", None, times=False),
    Case("counts/headerless.csv", "counts/expected.csv", None),
    Case("counts/with-time.tsv", "counts/expected.csv", None),
    Case("all-ones/purchases.csv", "all-ones/expected.csv", None),
    Case("thumbs/thumbs.csv", "thumbs/expected.csv", Scale(min=-1, max=1, step=2)),
    Case("thumbs/clicks.csv", "thumbs/expected-clicks.csv", Scale(min=0, max=1, step=1)),
    Case("scales/ten.csv", "scales/expected-ten.csv", Scale(min=1, max=10, step=1)),
    Case("scales/hundred.csv", "scales/expected-hundred.csv", Scale(min=10, max=100, step=10)),
    Case("scales/jester.csv", "scales/expected-jester.csv", Scale(min=-10, max=10, step=0.01)),
    Case("float-time/ratings.csv", "float-time/expected.csv"),
    Case("float-time/ml.inter", "float-time/expected.csv"),
    Case("float-time/ml-int.inter", "float-time/expected.csv"),
    Case("time-formats/micros.csv", "time-formats/expected.csv"),
    Case(
        "time-formats/dmy.csv", "time-formats/expected.csv",
        settings={"time_format": "dd/MM/yyyy HH:mm"}, times=False,
    ),
    Case(
        "time-formats/sequence.csv", "time-formats/expected.csv",
        settings={"time_format": "order"}, times=False,
    ),
    *[
        Case(f"parquet-types/{name}.parquet", "parquet-types/expected.csv")
        for name in ("datetime-ns", "float-ids", "float-time", "unsigned")
    ],
    Case("decimal-comma/ratings.csv", "decimal-comma/expected.csv"),
    Case("blanks/ratings.txt", "blanks/expected.csv", times=False),
    Case("blanks/ratings4.txt", "blanks/expected.csv"),
    Case("own-names/RAW_interactions.csv", "own-names/expected.csv", WHOLE),
    Case("inch-marks/amazon_reviews_us_Toys.tsv", "inch-marks/expected.csv", WHOLE),
    Case("inch-marks/renamed.tsv", "inch-marks/expected.csv", WHOLE),
    *[
        Case(f"quoted-text/{name}.csv", "quoted-text/expected.csv", WHOLE)
        for name in ("Reviews", "backslash", "few-newlines", "newlines")
    ],
    Case("column-order/in", "column-order/expected.csv"),
    Case("bad-part/gz", "bad-part/expected.csv"),
    Case("gzip/ratings.csv.gz", "gzip/expected.csv"),
    Case("nested-zip/gzinside.zip", "nested-zip/expected.csv"),
    Case("nested-zip/ml.zip", "nested-zip/expected.csv"),
    Case("json-lines/reviews_small_5.json", "json-lines/expected.csv", WHOLE),
    Case("partitions/by-rating", "partitions/expected.csv"),
    Case("partitions/by-user", "partitions/expected.csv"),
    Case("cr-only/ratings.csv", "cr-only/expected.csv"),
]  # fmt: skip

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("play-hours/steam-200k.csv", {}, ["3 (purchase)", "ingest.columns"]),
    (
        "unknown-header/m2.csv", {},
        ["track, listener, stars, played_at", "ingest.columns", "userid"],
    ),
    ("time-formats/dmy.csv", {}, ["column timestamp", "ingest.time_format"]),
    ("time-formats/sequence.csv", {}, ["column timestamp", "ingest.time_format=order"]),
    ("bad-part/empty", {}, ["part-00001.parquet has 0 bytes"]),
    ("bad-part/tsv", {}, ["feb.csv has item, rating, user", "rated"]),
    ("nested-zip/archive.zip", {}, ["ml.zip is a zip in a zip"]),
    ("nested-zip", {}, ["archive.zip is a zip: unpack it first"]),
]  # fmt: skip

IN_WHOLE = {"events", "play-hours", "float-ids", "backfill", "load-dates", "tiny", "delta"}
IN_WHOLE |= {"header-only-part", "netflix"}
"""Folders that the tests of whole ingests read."""


@contextmanager
def reading(
    spark: SparkSession, path: Path, root: Path, **settings: Any
) -> Iterator[tuple[Reading, dict[str, str]]]:
    """The ratings of a source, and the files that were not read."""
    given = Ingest.model_validate(settings)
    with (
        Folder(spark, root).scratch("test") as scratch,
        open_source(
            path, spark=spark, limits=LIMITS, scratch=scratch, given=given_columns(given)
        ) as source,
    ):
        period = Period.until(RUN_DATE)
        found = read_ratings(source, given, period=period, scratch=scratch)
        try:
            yield found, dict(source.recognised.ignored)
        finally:
            found.rated.close()


def rows(frame: DataFrame) -> dict[tuple[str, str], Row]:
    found = {}
    for row in frame.select("user_id", "item_id", "rating", "rated_at").collect():
        at = row["rated_at"]
        second = None if at is None else int(at.replace(tzinfo=UTC).timestamp())
        found[str(row["user_id"]), str(row["item_id"])] = round(row["rating"], 4), second
    return found


def rows_of(found: Reading) -> dict[tuple[str, str], Row]:
    rated = found.rated
    kept = {} if rated.chunks is None else rows(passes.unpack(rated.chunks))
    return kept if rated.good is None else kept | rows(rated.good)


def expected(path: str) -> dict[tuple[str, str], Row]:
    with (INPUTS / path).open(newline="") as stream:
        return {
            (row["user"], row["item"]): (
                float(row["rating"]), int(row["time"]) if row["time"] else None,
            )
            for row in csv.DictReader(stream)
        }  # fmt: skip


def ingest(
    spark: SparkSession, path: Path, root: Path, *, run_date: date = RUN_DATE, **settings: Any
) -> tuple[Tables, IngestReport]:
    tables = Tables(Folder(spark, root))
    given = Ingest.model_validate(settings)
    return tables, package.ingest(path, tables=tables, settings=given, run_date=run_date)


def test_every_folder_of_inputs_is_tried() -> None:
    paths = [*(case.path for case in READ), *(path for path, *_ in REFUSED)]
    tried = {path.partition("/")[0] for path in paths}
    assert {path.name for path in INPUTS.iterdir() if path.is_dir()} == tried | IN_WHOLE


@pytest.mark.parametrize("case", READ, ids=[case.path for case in READ])
def test_the_rows_of_a_source_are_those_that_a_user_expects(
    spark: SparkSession, tmp_path: Path, case: Case
) -> None:
    with reading(spark, INPUTS / case.path, tmp_path, **case.settings) as (found, ignored):
        given, wanted = rows_of(found), expected(case.expected)
        assert found.meaning.scale == case.scale
        assert found.meaning.feedback == ("implicit" if case.scale is None else "explicit")
        assert found.rated.kept == found.rated.rows == len(wanted)
    if not case.times:
        given = {pair: (rating, None) for pair, (rating, _) in given.items()}
        wanted = {pair: (rating, None) for pair, (rating, _) in wanted.items()}
    assert given == wanted
    assert not ignored


@pytest.mark.parametrize(("path", "settings", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_source_that_cannot_be_read_is_refused_with_its_file_and_reason(
    spark: SparkSession, tmp_path: Path, path: str, settings: dict[str, Any], words: list[str]
) -> None:
    with (
        pytest.raises(InputError) as raised,
        reading(spark, INPUTS / path, tmp_path, **settings),
    ):
        pass
    assert [word for word in words if word not in str(raised.value)] == []


def test_repeated_events_are_summed_and_in_explicit_feedback_the_latest_stays(
    spark: SparkSession, tmp_path: Path
) -> None:
    wanted = expected("events/expected.csv")
    counted, report = ingest(spark, INPUTS / "events/plays.csv", tmp_path / "sum")
    given = rows(counted.read("ratings"))
    assert {pair: time for pair, (_, time) in given.items()} == {
        pair: time for pair, (_, time) in wanted.items()
    }
    assert sum(strength for strength, _ in given.values()) == report.ratings.rows == 5284
    assert (report.meaning.feedback, report.repeated, report.times) == ("implicit", "sum", "some")
    latest, _ = ingest(
        spark, INPUTS / "events/plays.csv", tmp_path / "latest", feedback="explicit",
    )  # fmt: skip
    assert rows(latest.read("ratings")) == wanted


def test_an_event_column_is_read_with_its_columns_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables, report = ingest(
        spark, INPUTS / "play-hours/steam-200k.csv", tmp_path,
        columns={"user": 1, "item": 2, "rating": 4}, feedback="implicit",
    )  # fmt: skip
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.superseded, counts.rejected) == (1613, 878, 735, 0)
    assert rows(tables.read("ratings"))["151603001", "Game 46, The"] == (81.0, None)
    assert report.times == "none"
    said = tables.current()["source"]
    assert isinstance(said, dict)
    assert (said["rating_scale"], said["feedback"], said["ignored"]) == (None, "implicit", [])


def test_named_columns_are_read_under_a_header_that_is_not_known(
    spark: SparkSession, tmp_path: Path
) -> None:
    columns = {"user": "listener", "item": "track", "time": "played_at"}
    with reading(spark, INPUTS / "unknown-header/m2.csv", tmp_path, columns=columns) as (found, _):
        given = rows_of(found)
    assert len(given) == 120
    assert given["0", "1000"] == (4.0, 1_400_000_000)


def test_whole_number_ids_meet_the_titles_whatever_their_point(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables, report = ingest(spark, INPUTS / "float-ids/in", tmp_path)
    assert (report.users.type, report.items.type) == ("long", "long")
    assert rows(tables.read("ratings")) == expected("float-ids/expected.csv")
    titled = tables.read("ratings").join(tables.read("movies"), "item_id")
    assert titled.count() == 878


def test_rows_after_the_run_date_are_left_out_and_counted(
    spark: SparkSession, tmp_path: Path
) -> None:
    tables, report = ingest(
        spark, INPUTS / "backfill/ratings.csv", tmp_path, run_date=date(2015, 12, 30)
    )
    assert rows(tables.read("ratings")) == expected("backfill/expected-asof.csv")
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.later, counts.rejected) == (878, 572, 306, 0)


def test_values_that_mean_unrated_become_a_table_of_their_own(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = tmp_path / "rating.csv"
    text = (INPUTS / "anime/rating.csv").read_text()
    # A pair that was seen twice, one that was rated as well, and a user who rated nothing.
    source.write_text(f"{text}1,46,\n1,33,-1\n99,1,-1\n")
    tables, report = ingest(spark, source, tmp_path / "root", unrated_values=[-1])
    wanted = expected("anime/expected.csv")
    unrated = {pair for pair, (rating, _) in wanted.items() if rating == -1}
    table = tables.read("unrated")
    UNRATED.check(table)
    RATINGS.check(tables.read("ratings"))
    found = {(str(row["user_id"]), str(row["item_id"])) for row in table.collect()}
    assert found == unrated | {("99", "1")}
    assert rows(tables.read("ratings")).keys() == wanted.keys() - unrated
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.unrated) == (881, 704, 177)
    assert report.users.total == 41
    assert report.rating_scale == Scale(min=1, max=10, step=1)


def test_a_delta_table_is_read_by_its_log(spark: SparkSession, tmp_path: Path) -> None:
    for number, source in enumerate((INPUTS / "delta/m3", INPUTS / "delta")):
        tables, report = ingest(spark, source, tmp_path / str(number))
        assert rows(tables.read("ratings")) == {("2", "10"): (3.0, 1_400_000_001)}
        assert (report.ratings.rows, report.format) == (1, "Delta of user/item/rating/time")


def test_small_and_odd_sources_are_read(spark: SparkSession, tmp_path: Path) -> None:
    kept = {}
    for path in (
        *(f"tiny/{name}.csv" for name in ("four-users", "one-item", "one-user", "two-by-two")),
        "load-dates/two.csv", "load-dates/three.csv", "header-only-part/m6",
        "netflix/combined_data_1.txt", "bad-part/gz-small", "no-time/goodbooks.csv",
    ):  # fmt: skip
        with reading(spark, INPUTS / path, tmp_path / "root") as (found, ignored):
            kept[path] = found.rated.kept
            assert found.rated.refused == 0
            assert not ignored
    assert kept == {
        "tiny/four-users.csv": 18, "tiny/one-item.csv": 30, "tiny/one-user.csv": 30,
        "tiny/two-by-two.csv": 4, "load-dates/two.csv": 878, "load-dates/three.csv": 878,
        "header-only-part/m6": 1, "netflix/combined_data_1.txt": 878, "bad-part/gz-small": 2,
        "no-time/goodbooks.csv": 878,
    }  # fmt: skip


def test_a_part_that_is_damaged_gzip_is_refused_by_its_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(INPUTS / "bad-part/gz", source)
    part = source / "ratings_2016.csv.gz"
    part.write_bytes(part.read_bytes()[:1500])
    with (
        pytest.raises(InputError, match=r"ratings_2016\.csv\.gz"),
        reading(spark, source, tmp_path / "root"),
    ):
        pass


def test_what_is_not_read_is_named(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(INPUTS / "no-time/goodbooks.csv", source / "ratings.csv")
    (source / "to_read.csv").write_text("user_id,book_id\n1,112\n1,235\n")
    (source / "books.csv").write_text("book_id,authors,average_rating\n1,A,4.1\n2,B,3.9\n")
    (source / "README.md").write_text("# About\nSix million ratings, and more.\n")
    with reading(spark, source, tmp_path / "root") as (found, ignored):
        assert found.rated.rows == 878
    assert ignored.keys() == {"to_read.csv", "books.csv", "README.md"}
    assert ignored["to_read.csv"] == "ratings.csv holds the ratings"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_a_text_is_read_in_the_encoding_that_it_is_in(
    spark: SparkSession, tmp_path: Path, encoding: str
) -> None:
    lines = [f"José,item {i},{1 + i % 5},{1_400_000_000 + i}\r\n" for i in range(50)]
    source = tmp_path / "ratings.csv"
    source.write_bytes("".join(["userId,itemId,rating,timestamp\r\n", *lines]).encode(encoding))
    with reading(spark, source, tmp_path / "root") as (found, _):
        given = rows_of(found)
    assert given == {
        ("José", f"item {i}"): (float(1 + i % 5), 1_400_000_000 + i) for i in range(50)
    }
