"""Movies, tags, links, genome and user files to checked rows."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, LongType, StringType

from recpipe.contracts import MOVIES
from recpipe.ingest.formats import GivenColumns
from recpipe.ingest.layout import Kind, Sample
from recpipe.ingest.metadata import (
    GENRES_100K,
    Context,
    checked_rows,
    genome_tags,
    genre_names,
    last_by_key,
    year_of,
)
from recpipe.ingest.recognition import look_at
from recpipe.ingest.times import Period

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

PERIOD = Period.until(date(2020, 6, 30))
AT = datetime(2009, 2, 13, 23, 31, 30)  # noqa: DTZ001 - as Spark hands timestamps to Python


def read(
    spark: SparkSession,
    folder: Path,
    kind: Kind,
    content: bytes,
    *,
    ids: DataType | None = None,
    tags: DataFrame | None = None,
) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    """The good rows in their order, and reason by raw line of the others."""
    path = folder / kind
    path.write_bytes(content)
    look = look_at(Sample(kind, content), GivenColumns())
    assert look.kind == kind
    ids = ids or LongType()
    context = Context(ids, ids, PERIOD, GENRES_100K, tags)
    frame = checked_rows(spark, [f"file://{path}"], kind, look.layout, context)
    rows = frame.where("reason IS NULL OR reason != ''").orderBy("place").collect()
    good = [tuple(row)[:-5] for row in rows if row["reason"] is None]
    return good, {row["raw"]: row["reason"] for row in rows if row["reason"]}


def test_the_year_is_the_last_in_brackets_at_the_end(spark: SparkSession) -> None:
    years = {
        "Toy Story (1995)": 1995,
        "Shanghai Triad (Yao a yao yao dao waipo qiao) (1995) ": 1995,
        "Death Note: Desu nôto (2006\u20132007)": 2006,
        "Fawlty Towers (1975-1979)": 1975,
        "Doctor Who (2009\u2013 )": 2009,
        "(500) Days of Summer (2009)": 2009,
        "A (1990) (1991)": 1991,
        "2001: A Space Odyssey": None,
        "Nightmare (1984) on Elm Street": None,
        "Moonlight": None,
        "Babylon (19955)": None,
    }
    titles = spark.createDataFrame([(title,) for title in years], "title string")
    found = titles.select("title", year_of(F.col("title"))).collect()
    assert {row[0]: row[1] for row in found} == years


def test_movies_csv_has_quoted_titles_genres_and_foreign_letters(
    spark: SparkSession, tmp_path: Path
) -> None:
    good, bad = read(
        spark,
        tmp_path,
        "movies",
        'movieId,title,genres\r\n'
        '11,"American President, The (1995)",Comedy|Drama|Romance\r\n'
        '12,"""Great Performances"" Cats (1998)",Musical\r\n'
        '13,Кин-дза-дза! (1986),(no genres listed)\r\n'
        '14,"千と千尋の神隠し (2001)",\r\n'
        '15,,Drama\r\n'
        'x16,A (1999),Drama\r\n'
        '17,A, B (1999),Drama\r\n'
        '18,"A (1999),Drama\r\n'.encode(),
    )  # fmt: skip
    assert good == [
        (11, "American President, The (1995)", 1995, ["Comedy", "Drama", "Romance"]),
        (12, '"Great Performances" Cats (1998)', 1998, ["Musical"]),
        (13, "Кин-дза-дза! (1986)", 1986, []),
        (14, "千と千尋の神隠し (2001)", 2001, []),
    ]
    assert bad == {
        "15,,Drama": "missing field",
        "x16,A (1999),Drama": "malformed line",
        "17,A, B (1999),Drama": "malformed line",
        '18,"A (1999),Drama': "malformed line",
    }


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_dat_titles_may_hold_the_delimiter_and_are_latin_1_or_utf_8(
    spark: SparkSession, tmp_path: Path, encoding: str
) -> None:
    text = "1::Amélie (2001)::Comedy|Romance\n2::Mission::Impossible (1996)::Action\n3::x\n"
    good, bad = read(spark, tmp_path, "movies", text.encode(encoding))
    assert good == [
        (1, "Amélie (2001)", 2001, ["Comedy", "Romance"]),
        (2, "Mission::Impossible (1996)", 1996, ["Action"]),
    ]
    assert bad == {"3::x": "malformed line"}


def test_the_flags_of_u_item_become_named_genres(spark: SparkSession, tmp_path: Path) -> None:
    flags = "0|1|1" + "|0" * 16
    rows = f"1|Brève rencontre (1945)|01-Jan-1945||http://x|{flags}\n2|?||||1{'|0' * 18}\n"
    good, _ = read(spark, tmp_path, "movies", rows.encode("latin-1"), ids=StringType())
    assert good == [
        ("1", "Brève rencontre (1945)", 1945, ["Action", "Adventure"]),
        ("2", "?", None, ["unknown"]),
    ]


def test_genre_names_are_those_of_the_file_or_else_of_the_readme(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = tmp_path / "u.genre"
    names = [f"g{i}" for i in range(19)]
    path.write_text("\n".join(f"{n}|{i}" for i, n in reversed(list(enumerate(names)))) + "\n\n")
    assert list(genre_names(spark, [f"file://{path}"])) == names
    path.write_text("unknown|0\nAction|1\n")
    assert genre_names(spark, [f"file://{path}"]) == GENRES_100K


def test_tags_keep_their_delimiters_and_have_a_time(spark: SparkSession, tmp_path: Path) -> None:
    good, bad = read(
        spark,
        tmp_path,
        "tags",
        b"15::4973::so::good::1234567890\n15::4973::excellent!::1234567890\n"
        b"15::4973:: ::1234567890\n15::4973::old::12\n15::4973::1234567890\n",
    )
    assert good == [(15, 4973, "so::good", AT), (15, 4973, "excellent!", AT)]
    assert bad == {
        "15::4973:: ::1234567890": "missing field",
        "15::4973::old::12": "timestamp out of range",
        "15::4973::1234567890": "malformed line",
    }
    csv = b'userId,movieId,tag,timestamp\n3,260,"a, ""b""",1234567890\n'
    assert read(spark, tmp_path, "tags", csv)[0] == [(3, 260, 'a, "b"', AT)]


def test_links_keep_the_zeros_of_their_ids_and_may_lack_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    good, bad = read(
        spark, tmp_path, "links", b"movieId,imdbId,tmdbId\n1,0114709,862\n2,0113497,\n,1,2\n"
    )
    assert good == [(1, "0114709", "862"), (2, "0113497", None)]
    assert bad == {",1,2": "missing field"}


def test_genome_scores_have_their_tags_by_name(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "genome-tags.csv"
    path.write_bytes(b'tagId,tag\n1,007\n2,"18th, century"\n')
    layout = look_at(Sample(path.name, path.read_bytes()), GivenColumns()).layout
    tags = genome_tags(spark, [f"file://{path}"], layout)
    content = b"movieId,tagId,relevance\n1,1,0.25\n1,2,0.5\n1,9,0.5\n1,1,NaN\n1,1,high\n"
    good, bad = read(spark, tmp_path, "genome_scores", content, tags=tags)
    assert good == [(1, "007", 0.25), (1, "18th, century", 0.5)]
    assert bad == {
        "1,9,0.5": "missing field",
        "1,1,NaN": "malformed line",
        "1,1,high": "malformed line",
    }


def test_user_files_of_100k_and_1m_have_one_shape(spark: SparkSession, tmp_path: Path) -> None:
    good, bad = read(
        spark, tmp_path, "users", b"1|24|M|technician|85711\n2|old|F|other|94043\n3||F|writer|\n"
    )
    assert good == [(1, 24, "M", "technician", "85711"), (3, None, "F", "writer", None)]
    assert bad == {"2|old|F|other|94043": "malformed line"}
    assert read(spark, tmp_path, "users", b"1::F::1::10::48067\n2::M::56::99::70072-1\n")[0] == [
        (1, 1, "F", "K-12 student", "48067"),
        (2, 56, "M", "99", "70072-1"),
    ]


def test_of_several_rows_of_one_key_the_last_in_the_source_stays(spark: SparkSession) -> None:
    rows = [
        (1, "new", None, [], 0, 9, 1, None),
        (1, "old", None, [], 0, 0, 2, None),
        (2, "only", 1990, ["Drama"], 0, 0, 3, None),
    ]
    schema = "item_id long, title string, year int, genres array<string>"
    schema += ", file int, block long, place long, reason string"
    frame, seen = last_by_key(spark.createDataFrame(rows, schema), MOVIES)
    assert {(r["item_id"], r["title"]) for r in frame.collect()} == {(1, "new"), (2, "only")}
    assert seen.get == {"rows": 3, "refused": 0, "superseded": 1}
