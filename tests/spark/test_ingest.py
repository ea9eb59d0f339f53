"""From a source to the tables under a root: whole ingests."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import date, datetime
from functools import cache
from shutil import copytree
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recpipe import ingest as package
from recpipe.contracts import INGESTED
from recpipe.errors import InputError, UsageError
from recpipe.feedback import Scale
from recpipe.ingest.formats.delta import newest_commit
from recpipe.ingest.settings import Ingest
from recpipe.storage import Folder, Tables
from recpipe.storage.local import LocalFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.ingest import IngestReport

    Ingested = Callable[[str], tuple[Path, IngestReport]]

RUN_DATE = date(2020, 6, 30)
T = 1_234_567_890
U_FLAGS = "|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0"

RELEASES: dict[str, dict[str, bytes]] = {
    "100k": {
        "ml-100k/u.data": f"196\t242\t3\t{T}\n186\t302\t3\t{T}\n196\t302\t1\t{T}\n".encode(),
        "ml-100k/u1.base": f"196\t242\t3\t{T}\n".encode(),
        "ml-100k/u1.test": f"186\t302\t3\t{T}\n".encode(),
        "ml-100k/u.item": (
            f"242|Kolya (1996)|24-Jan-1997||http://x{U_FLAGS}\n"
            f"302|Misérables, Les (1995)|01-Jan-1995||http://y{U_FLAGS}\n"
        ).encode("latin-1"),
        "ml-100k/u.user": b"196|49|M|writer|55105\n186|39|F|executive|00000\n",
        "ml-100k/u.genre": b"unknown|0\nAction|1\n\n",
        "ml-100k/README": b"SUMMARY & USAGE LICENSE\n",
    },
    "1m": {
        "ratings.dat": f"1::1193::5::{T}\n1::661::3::{T}\n2::661::4::{T}\n".encode(),
        "movies.dat": "1193::Cité (1975)::Drama\n661::James (1996)::Animation\n".encode("latin-1"),
        "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072\n",
    },
    "10m": {
        "x/ratings.dat": f"1::122::5::{T}\n1::185::3.5::{T}\n2::185::1::{T}\n".encode(),
        "x/movies.dat": "122::Boomerang (1992)::Comedy\n185::Ôtel (1995)::Action\n".encode(),
        "x/tags.dat": f"2::185::not::seen::{T}\n".encode(),
    },
    "25m": {
        "ml-25m/ratings.csv": (
            f"userId,movieId,rating,timestamp\r\n1,296,5.0,{T}\r\n1,306,3.5,{T}\r\n"
            f"2,306,0.5,{T}\r\n"
        ).encode(),
        "ml-25m/movies.csv": 'movieId,title,genres\r\n296,"Pulp, (1994)",Crime|Drama\r\n'
        "306,Красный (1994),(no genres listed)\r\n".encode(),
        "ml-25m/tags.csv": f"userId,movieId,tag,timestamp\r\n3,296,classic,{T}\r\n".encode(),
        "ml-25m/links.csv": b"movieId,imdbId,tmdbId\r\n296,0110912,680\r\n306,0111495,\r\n",
        "ml-25m/genome-scores.csv": b"movieId,tagId,relevance\r\n296,1,0.5\r\n",
        "ml-25m/genome-tags.csv": b"tagId,tag\r\n1,007\r\n",
    },
}
NAMES = {
    "100k": "MovieLens 100k (u.data)",
    "1m": "MovieLens 1m (.dat)",
    "10m": "MovieLens 10m (.dat)",
    "25m": "MovieLens 20m, 25m, 32m or latest (.csv)",
}
ALWAYS = {"ratings", "users", "items", "rejected"}
BESIDE = {
    "100k": {"movies", "user_features"},
    "1m": {"movies", "user_features"},
    "10m": {"movies", "tags"},
    "25m": {"movies", "tags", "links", "genome_scores"},
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def ingest(source: Path, root: Folder, **settings: Any) -> IngestReport:
    return package.ingest(
        str(source), tables=Tables(root), settings=Ingest(**settings), run_date=RUN_DATE
    )


def rows(root: Folder, name: str) -> list[tuple[Any, ...]]:
    """A table's rows, sorted, lists as tuples."""
    found = [
        tuple(tuple(v) if isinstance(v, list) else v for v in row)
        for row in Tables(root).read(name).collect()
    ]
    return sorted(found, key=repr)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def ingested(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, IngestReport]]:
    """A root that a family was ingested into once for all tests that only look, and the report."""

    @cache
    def once(family: str) -> tuple[Path, IngestReport]:
        source = write(tmp_path_factory.mktemp("my source ü"), RELEASES[family])
        root = tmp_path_factory.mktemp("my root")
        return root, ingest(source, Folder(spark, root))

    return once


@pytest.mark.parametrize("family", list(RELEASES))
def test_every_family_becomes_tables_that_keep_their_contracts(
    spark: SparkSession, ingested: Ingested, family: str
) -> None:
    path, report = ingested(family)
    root = Folder(spark, path)
    assert report.format == NAMES[family]
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.rejected, counts.superseded) == (3, 3, 0, 0)
    tables = Tables(root)
    assert tables.versions().keys() == ALWAYS | BESIDE[family]
    assert tables.versions() == dict(report.versions)
    for contract in INGESTED:
        if tables.has(contract.name):
            contract.check(tables.read(contract.name))
    assert len(rows(root, "movies")) == report.others["movies"].kept == 2
    assert (report.users.type, report.items.type) == ("long", "long")
    # The numbers of ids are those of their order, and join back.
    assert [row[1] for row in sorted(rows(root, "items"))] == [0, 1]
    ratings = tables.read("ratings").join(tables.read("users"), ["user_id", "user"])
    assert ratings.join(tables.read("items"), ["item_id", "item"]).count() == 3
    read = {f.name: (f.size, f.sha256) for f in report.files}
    contents = {n: c for n, c in RELEASES[family].items() if n in read}
    assert read == {n: (len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items()}
    assert not list(path.rglob("*.scratch*"))


def test_what_current_json_says_is_the_report(spark: SparkSession, ingested: Ingested) -> None:
    path, report = ingested("100k")
    root = Folder(spark, path)
    said = Tables(root).current()["source"]
    assert said == json.loads(json.dumps(report.as_dict()))
    assert report.rating_scale == Scale(min=1, max=5, step=1)
    assert "3 ratings of 2 users (2 new) and 2 items (2 new)" in report.summary()
    assert rows(root, "movies")[1] == (302, "Misérables, Les (1995)", 1995, ("Comedy",))
    assert (196, 49, "M", "writer", "55105") in rows(root, "user_features")


def test_a_zip_gives_the_tables_that_its_folder_gives(
    spark: SparkSession, tmp_path: Path, ingested: Ingested
) -> None:
    packed = tmp_path / "whatever.bin"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in RELEASES["25m"].items():
            archive.writestr(name, content)
    path, first = ingested("25m")
    plain, unzipped = Folder(spark, path), Folder(spark, tmp_path / "b")
    second = ingest(packed, unzipped)
    assert first.fingerprint == second.fingerprint
    assert first.files == second.files
    for name in first.versions:
        assert rows(plain, name) == rows(unzipped, name)
    assert not (tmp_path / "b" / "tables" / ".scratch").exists()


def test_string_ids_duplicates_and_faults_add_up(spark: SparkSession, tmp_path: Path) -> None:
    lines = [f"A{i},0{i:09d},5.0,{T}" for i in range(300)]
    lines[100] = f"A99,0{99:09d},1.0,{T}"  # at the same instant, later in the source: it stays
    lines[101] = f"A98,0{98:09d},1.0,{T - 1}"  # earlier: it does not
    lines[102] = "broken"
    lines[103] = f"A1,x,7.0,{T}"
    source = tmp_path / "Books.csv"
    source.write_text("\n".join(lines))
    root = Folder(spark, tmp_path / "root")
    report = ingest(source, root)
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.rejected, counts.superseded) == (300, 296, 2, 2)
    assert counts.reasons == {"malformed line": 1, "rating off the scale": 1}
    assert (report.users.type, report.items.type) == ("string", "string")
    assert rows(root, "rejected") == [
        ("Books.csv", 103, "broken", "malformed line"),
        ("Books.csv", 104, f"A1,x,7.0,{T}", "rating off the scale"),
    ]
    kept = {row[0]: row[4] for row in rows(root, "ratings")}
    assert (kept["A99"], kept["A98"]) == (1.0, 5.0)
    assert {row[0] for row in rows(root, "items")} == {row[1] for row in rows(root, "ratings")}


def test_faults_beside_the_ratings_are_kept_apart_and_spoil_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    files = {
        "ratings.csv": RELEASES["25m"]["ml-25m/ratings.csv"],
        "movies.csv": b"movieId,title,genres\n296,A (1994),Crime\nx,y\n296,B (1995),Crime\n",
    }
    root = Folder(spark, tmp_path / "root")
    report = ingest(write(tmp_path / "source", files), root)
    assert report.ratings.rejected == 0
    movies = report.others["movies"]
    assert (movies.rows, movies.kept, movies.rejected, movies.superseded) == (3, 1, 1, 1)
    assert rows(root, "movies") == [(296, "B (1995)", 1995, ("Crime",))]
    assert rows(root, "rejected") == [("movies.csv", 3, "x,y", "malformed line")]


def test_a_second_ingest_replaces_ratings_and_only_adds_ids(
    spark: SparkSession, tmp_path: Path, ingested: Ingested
) -> None:
    copytree(ingested("25m")[0], tmp_path / "root")
    root = Folder(spark, tmp_path / "root")
    before = dict(rows(root, "users")), dict(rows(root, "items"))
    source = tmp_path / "second.csv"
    source.write_text(f"userId,movieId,rating,timestamp\n0,306,4.0,{T}\n2,100,4.0,{T}\n")
    report = ingest(source, root)
    assert (report.users.new, report.users.total) == (1, 3)
    assert (report.items.new, report.items.total) == (1, 3)
    after = dict(rows(root, "users")), dict(rows(root, "items"))
    assert after == ({**before[0], 0: 2}, {**before[1], 100: 2})
    assert {row[:5] for row in rows(root, "ratings")} == {(0, 306, 2, 1, 4.0), (2, 100, 1, 2, 4.0)}
    # This source says nothing of titles: those of the last one are not its own.
    assert Tables(root).versions().keys() == ALWAYS
    again = ingest(source, root)
    assert (again.users.new, again.items.new) == (0, 0)
    assert again.versions["users"] == report.versions["users"]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a,b,5.0,1234567890\n" * 98 + "x\ny\n", {}, "2 of 100 rows refused"),
        ("a,b,5.0,1234567890\nx\n", {"max_rejected_share": 0.49}, "1 of 2 rows refused"),
        ("a,b,9.0,123\n", {"max_rejected_share": 1.0}, "no instants since 1990"),
        ("userId,movieId,rating,timestamp\n", {}, "no ratings"),
        ("nothing of the kind\n", {}, "no ratings in"),
        ("", {}, "is empty"),
    ],
)
def test_an_unusable_source_changes_nothing(
    spark: SparkSession, tmp_path: Path, text: str, settings: dict[str, Any], message: str
) -> None:
    source = tmp_path / "source.csv"
    source.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        ingest(source, Folder(spark, tmp_path / "root"), **settings)
    assert raised.value.hint
    assert not everything(tmp_path / "root")
    assert not (tmp_path / "root" / "tables").exists()


def test_a_refusal_shows_the_first_five_rows_and_keeps_the_tables(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = Folder(spark, tmp_path / "root")
    good = tmp_path / "good.csv"
    good.write_text(f"1,2,5.0,{T}\n")
    ingest(good, root)
    before = everything(tmp_path / "root")
    bad = tmp_path / "bad.csv"
    bad.write_text(f"1,2,5.0,{T}\n\n" * 10 + "".join(f"broken {i}\n" for i in range(9)))
    with pytest.raises(InputError) as raised:
        ingest(bad, root)
    assert raised.value.details == tuple(
        f"bad.csv:{21 + i}: malformed line: 'broken {i}'" for i in range(5)
    )
    strings = tmp_path / "strings.csv"
    strings.write_text(f"x,2,5.0,{T}\n")
    with pytest.raises(InputError, match="user_id is not an integer throughout"):
        ingest(strings, root)
    with pytest.raises(UsageError, match="holds parquet tables"):
        ingest(good, Folder(spark, tmp_path / "root", format="delta"))
    assert everything(tmp_path / "root") == before


def test_a_root_of_string_ids_takes_integers_as_strings(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = Folder(spark, tmp_path / "root")
    for name, item in (("first", "0007"), ("second", "8")):
        source = tmp_path / f"{name}.csv"
        source.write_text(f"1,{item},5.0,{T}\n")
        report = ingest(source, root)
    assert (report.users.type, report.items.type) == ("long", "string")
    assert dict(rows(root, "items")) == {"0007": 0, "8": 1}


def test_a_setting_overrides_the_scale_of_the_release(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "percent.csv"
    source.write_text(f"1,2,87,{T}\n1,3,100,{T}\n")
    report = ingest(
        source, Folder(spark, tmp_path / "root"), rating_scale=Scale(min=0, max=100, step=1)
    )
    assert (report.ratings.kept, report.rating_scale) == (2, Scale(min=0, max=100, step=1))


def test_parquet_gives_the_tables_that_csv_gives(spark: SparkSession, tmp_path: Path) -> None:
    text = tmp_path / "r.csv"
    text.write_text(f"user_id,item_id,rating,timestamp\n7,x,4.5,{T}\n8,y,2.0,{T + 1}\n")
    frame = spark.read.option("header", True).csv(str(text))
    typed = frame.selectExpr(
        "CAST(rating AS float) AS rating", "timestamp_seconds(CAST(timestamp AS long)) AS rated_at",
        "CAST(user_id AS int) AS user_id", "item_id",
    )  # fmt: skip
    typed.repartition(2).write.parquet(str(tmp_path / "p"))
    a, b = Folder(spark, tmp_path / "a"), Folder(spark, tmp_path / "b")
    ingest(text, a)
    report = ingest(tmp_path / "p", b)
    assert report.format.startswith("Parquet")
    for name in ("ratings", "users", "items", "rejected"):
        assert rows(a, name) == rows(b, name)


def test_delta_holds_the_same_tables_and_is_read_without_spark(
    spark: SparkSession, tmp_path: Path, ingested: Ingested
) -> None:
    source = write(tmp_path / "source", RELEASES["25m"])
    path, first = ingested("25m")
    parquet = Folder(spark, path)
    delta = Folder(spark, tmp_path / "delta", format="delta")
    ingest(source, delta)
    again = ingest(source, delta)
    assert again.users.new == 0
    assert (again.versions["users"], again.versions["ratings"]) == (0, 1)
    for name, version in again.versions.items():
        assert rows(delta, name) == rows(parquet, name)
        table = DeltaTable(tmp_path / "delta" / "tables" / name, version=version)
        assert table.to_pyarrow_table().num_rows == len(rows(parquet, name))
    assert again.versions.keys() == first.versions.keys()


def test_a_missing_source_and_an_evil_zip_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    root = Folder(spark, tmp_path / "root")
    with pytest.raises(InputError, match="no such file or folder"):
        ingest(tmp_path / "nothing", root)
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../ratings.csv", f"1,2,5.0,{T}\n")
    with pytest.raises(InputError, match="outside the folder"):
        ingest(evil, root)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ratings.csv", f"1,2,5.0,{T}\n" + "\n" * 5_000_000)
    with pytest.raises(InputError, match="more than 200 times"):
        ingest(tmp_path / "bomb.zip", root)
    assert not (tmp_path / "ratings.csv").exists()
    assert not everything(tmp_path / "root")


@pytest.mark.movielens
def test_ml_latest_small_is_read_to_the_last_row(
    spark: SparkSession, tmp_path: Path, movielens: Path
) -> None:
    root = Folder(spark, tmp_path / "root")
    report = package.ingest(
        movielens, tables=Tables(root), settings=Ingest(), run_date=date(2026, 11, 21)
    )
    counts = report.ratings
    assert (counts.rows, counts.kept, counts.rejected, counts.superseded) == (
        100_836,
        100_836,
        0,
        0,
    )
    assert (report.users.total, report.items.total) == (610, 9724)
    others = {name: c.kept for name, c in report.others.items()}
    assert others == {"movies": 9742, "tags": 3683, "links": 9742}
    tables = Tables(root)
    ratings = tables.read("ratings")
    first = ratings.where("user_id = 1 AND item_id = 1").collect()
    assert [tuple(r)[2:] for r in first] == [(0, 0, 4.0, datetime(2000, 7, 30, 18, 45, 3))]  # noqa: DTZ001
    movies = {row["item_id"]: row for row in tables.read("movies").collect()}
    assert movies[11]["title"] == "American President, The (1995)"
    assert movies[1]["genres"] == ["Adventure", "Animation", "Children", "Comedy", "Fantasy"]
    assert movies[171749]["title"].startswith("Death Note: Desu nôto")
    assert (movies[171749]["year"], movies[171749]["genres"]) == (2006, [])
    assert sum(row["year"] is None for row in movies.values()) == 12
    assert sum(not row["genres"] for row in movies.values()) == 34


def in_lines(path: Path, *fields: Callable[[int], object], count: int = 2000) -> Path:
    """A file of ratings: users 0 to 49, each item once; `fields` give the rating and the time."""
    lines = [",".join(map(str, (i % 50, i, *(field(i) for field in fields)))) for i in range(count)]
    path.write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    return path


def test_likes_and_dislikes_are_ratings_in_whatever_order_they_stand(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = in_lines(tmp_path / "r.csv", lambda i: int(i < 1500), lambda i: T + i)
    report = ingest(source, Folder(spark, tmp_path / "root"))
    assert report.meaning.feedback == "explicit"
    assert report.meaning.scale == Scale(min=0, max=1, step=1)
    assert (report.ratings.kept, report.ratings.unrated) == (2000, 0)


def test_instants_that_begin_after_many_zeros_are_not_left_out(
    spark: SparkSession, tmp_path: Path
) -> None:
    source = in_lines(tmp_path / "r.csv", lambda i: 1 + i % 5, lambda i: T + i if i > 1200 else 0)
    with pytest.raises(InputError, match="timestamp out of range") as refused:
        ingest(source, Folder(spark, tmp_path / "root"))
    assert "ingest.columns.time" in refused.value.hint
    zeros = in_lines(tmp_path / "zeros.csv", lambda i: 1 + i % 5, lambda _: 0)
    report = ingest(zeros, Folder(spark, tmp_path / "zeros"))
    assert (report.times, report.ratings.kept) == ("none", 2000)


@pytest.mark.parametrize("text_ids", [False, True])
def test_numbers_that_say_what_came_first_may_begin_with_zero(
    spark: SparkSession, tmp_path: Path, text_ids: bool
) -> None:
    source = in_lines(tmp_path / "r.csv", lambda i: 1 + i % 5, lambda i: i, count=300)
    if text_ids:
        source.write_text(source.read_text().replace("\n", "\nu"))
    root = Folder(spark, tmp_path / "root")
    report = ingest(source, root, time_format="order")
    assert report.ratings.kept == 300
    first = Tables(root).read("ratings").where("item_id = '0'").collect()
    assert [row.rated_at for row in first] == [datetime(1970, 1, 1)]  # noqa: DTZ001 - as collected


def test_a_delta_table_in_a_zip_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    packed = tmp_path / "m.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("t/_delta_log/00000000000000000000.json", "t/part-0.parquet"):
            archive.writestr(name, b"{}")
    with pytest.raises(InputError, match="a Delta table in a zip"):
        ingest(packed, Folder(spark, tmp_path / "root"))


def test_an_empty_part_of_a_job_that_ended_well_is_read_from_a_zip_too(
    spark: SparkSession, tmp_path: Path
) -> None:
    packed = tmp_path / "job.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("job/_SUCCESS", b"")
        archive.writestr("job/part-00000.csv", RELEASES["25m"]["ml-25m/ratings.csv"])
        archive.writestr("job/part-00001.csv", b"")
    report = ingest(packed, Folder(spark, tmp_path / "root"))
    assert report.ratings.kept == 3
    assert report.ignored == {"job/part-00001.csv": "has 0 bytes"}


@pytest.mark.parametrize(
    ("days", "form"), [(("20140621", "20140622"), ""), (("21-06-2014", "22-06-2014"), "dd-MM-yyyy")]
)
def test_folders_of_parquet_give_instants_in_every_form(
    spark: SparkSession, tmp_path: Path, days: tuple[str, str], form: str
) -> None:
    for day in days:
        frame = spark.range(40).selectExpr("id userId", f"{days.index(day)} movieId", "3.0 rating")
        frame.coalesce(1).write.parquet(str(tmp_path / "p" / f"date={day}"))
    root = Folder(spark, tmp_path / "root")
    assert ingest(tmp_path / "p", root, time_format=form, feedback="explicit").ratings.kept == 80
    found = {str(row.rated_at)[:10] for row in Tables(root).read("ratings").collect()}
    assert found == {"2014-06-21", "2014-06-22"}


def test_the_fingerprint_of_a_delta_table_is_that_of_its_newest_commit(tmp_path: Path) -> None:
    place = tmp_path / "table"
    write_deltalake(place, pa.table({"a": [1]}))
    DeltaTable(place).create_checkpoint()
    fs = LocalFileSystem()
    assert newest_commit(fs, f"file://{place}").endswith("/00000000000000000000.json")
    write_deltalake(place, pa.table({"a": [2]}), mode="append")
    assert newest_commit(fs, f"file://{place}").endswith("/00000000000000000001.json")
