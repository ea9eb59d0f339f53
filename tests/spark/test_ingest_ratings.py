"""Ratings: lines and rows to checked rows, in the order of the source."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from recpipe.errors import InputError
from recpipe.feedback import Scale
from recpipe.ingest.archive import Limits
from recpipe.ingest.layout import HEAD_BYTES, Sample
from recpipe.ingest.lines import read_rows
from recpipe.ingest.ratings import Group, Rules, checked_groups, is_plain_integer, latest
from recpipe.ingest.reading import read_ratings
from recpipe.ingest.recognition import HALF_STARS, WHOLE_STARS, recognise
from recpipe.ingest.rules import stage
from recpipe.ingest.settings import Ingest
from recpipe.ingest.source import open_source
from recpipe.ingest.times import Period
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

RUN_DATE = date(2020, 6, 30)
PERIOD = Period.until(RUN_DATE)
NOON = datetime(2020, 6, 30, 12, tzinfo=UTC)
T = int(NOON.timestamp())


def check(
    spark: SparkSession, folder: Path, *contents: str | bytes, scale: Scale = HALF_STARS
) -> DataFrame:
    """What the files hold, one file a content, in the order of the arguments."""
    paths, samples = [], []
    for number, content in enumerate(contents):
        path = folder / f"part {number} ü.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        paths.append(f"file://{path}")
        samples.append(Sample(path.name, path.read_bytes()[:HEAD_BYTES]))
    layout = recognise(samples, source="here").parts["ratings"].layout
    group = Group(layout, paths, range(len(paths)), [{}] * len(paths))
    return checked_groups(spark, [group], rules=Rules(scale, PERIOD))


def reasons(frame: DataFrame) -> dict[str | None, str | None]:
    """Reason by raw line, or by user id where the row is good; neither is kept of a later one."""
    key = F.coalesce("raw", "user_id")
    rows = frame.where("reason IS NULL OR reason != ''").select(key, "reason").collect()
    return {row[0]: row[1] for row in rows}


@contextmanager
def checked_parquet(spark: SparkSession, path: Path, root: Path) -> Iterator[DataFrame]:
    """What a Parquet source holds."""
    limits = Limits(members=10, bytes=1_000_000, ratio=200)
    with (
        Folder(spark, root).scratch("test") as scratch,
        open_source(path, spark=spark, limits=limits, scratch=scratch) as source,
    ):
        settings = Ingest(rating_scale=HALF_STARS)
        reading = read_ratings(source, settings, period=PERIOD, scratch=scratch)
        assert reading.rated.general is not None
        yield reading.rated.general.frame


def good(frame: DataFrame) -> list[tuple[Any, ...]]:
    rows = frame.where("reason IS NULL").orderBy("file", "block", "place")
    return [tuple(r) for r in rows.select("user_id", "item_id", "rating", "rated_at").collect()]


def test_every_fault_has_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    header = b"userId,movieId,rating,timestamp\n"
    faults = {
        "1,2,3.5": "malformed line",
        "1,2,3.5,4,5": "malformed line",
        "nonsense": "malformed line",
        f'"1,2,3.5,{T}': "malformed line",
        f",2,3.5,{T}": "missing field",
        f"1, ,3.5,{T}": "missing field",
        "1,2,3.5,": "missing field",
        f"1,2,good,{T}": "rating not a finite number",
        f"1,2,NaN,{T}": "rating not a finite number",
        f"1,2,Infinity,{T}": "rating not a finite number",
        f"1,2,4.0f,{T}": "rating not a finite number",
        f"1,2,0,{T}": "rating off the scale",
        f"1,2,5.5,{T}": "rating off the scale",
        f"1,2,3.7,{T}": "rating off the scale",
        f"1,2,-3,{T}": "rating off the scale",
        "1,2,3.5,yesterday": "timestamp out of range",
        "1,2,3.5,-5": "timestamp out of range",
        "1,2,3.5,99999999999999999999": "timestamp out of range",
        "1,2,3.5,631151999": "timestamp out of range",
    }
    fine = "".join(f"ok{i},2,3.5,{T}\n" for i in range(len(faults)))
    content = header + fine.encode() + "\n".join(faults).encode() + b"\nJos\xe9,2,3.5,5\n"
    expected: dict[str | None, str | None] = {f"ok{i}": None for i in range(len(faults))}
    expected.update(faults)
    expected["José,2,3.5,5"] = "unknown encoding"
    assert reasons(check(spark, tmp_path, content)) == expected


def test_the_valid_period_begins_in_1990_and_ends_with_the_run_date(
    spark: SparkSession, tmp_path: Path
) -> None:
    first = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
    end = int((datetime(2020, 6, 30, tzinfo=UTC) + timedelta(days=1)).timestamp())
    lines = [f"{name},2,3.5,{t}" for name, t in
             {"a": first, "b": end - 1, "c": first - 1, "d": end}.items()]  # fmt: skip
    assert reasons(check(spark, tmp_path, "\n".join(lines))) == {
        "a": None,
        "b": None,
        f"c,2,3.5,{first - 1}": "timestamp out of range",
        None: "later than the run date",
    }


def test_blank_lines_headers_marks_and_windows_line_ends_are_no_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    header = "\ufeffuserId,movieId,rating,timestamp\r\n"
    body = f"1,2,3.5,{T}\r\n\r\n   \r\nuserId,movieId,rating,timestamp\r\n3,4,5,{T}"
    frame = check(spark, tmp_path, header + body)
    assert good(frame) == [
        ("1", "2", 3.5, NOON.replace(tzinfo=None)),
        ("3", "4", 5.0, NOON.replace(tzinfo=None)),
    ]
    assert frame.where("reason != ''").count() == 0


def test_quotes_are_taken_off_and_may_hide_the_delimiter(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = check(
        spark,
        tmp_path,
        '"userId","movieId","rating","timestamp"\n'
        '"1","2","3.5","2020-06-30 12:00:00"\n'
        '"a, ""b""",2,3.5,"2020-06-30 12:00:00"\n'
        'say "b",2,3.5,2020-06-30 12:00:00\n'
        '"two,fields",3.5,2020-06-30 12:00:00\n',
    )
    at = NOON.replace(tzinfo=None)
    assert good(frame) == [("1", "2", 3.5, at), ('a, "b"', "2", 3.5, at), ('say "b"', "2", 3.5, at)]
    assert frame.where("reason = 'malformed line'").count() == 1


def test_a_line_of_very_many_fields_is_malformed_and_stops_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = check(spark, tmp_path, f'"u",2,3.5,{T}\n"x"{"," * 30_000}\n')
    rows = frame.select("reason", F.length("raw")).orderBy("place").collect()
    assert [tuple(row) for row in rows] == [(None, None), ("malformed line", 10_000)]


COMPILED = "spark.sql.codegen.factoryMode"
"""Of Spark: FALLBACK, its default, compiles plans; the session of the tests interprets them."""


def test_the_code_that_parses_stays_small_enough_for_the_jvm_to_compile(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interpreted = str(spark.conf.get(COMPILED))
    spark.conf.set(COMPILED, "FALLBACK")
    try:
        plan = check(spark, tmp_path, f"userId,movieId,rating,timestamp\n1,2,3.5,{T}\n")
        plan.explain("codegen")
    finally:
        spark.conf.set(COMPILED, interpreted)
    sizes = re.findall(r"maxMethodCodeSize:(\d+)", capsys.readouterr().out)
    # HotSpot's HugeMethodLimit: above it a method is interpreted for ever.
    assert sizes
    assert max(map(int, sizes)) < 8000


def test_milliseconds_and_dates_are_the_same_instants_as_seconds(
    spark: SparkSession, tmp_path: Path
) -> None:
    expected = [("u", "i", 4.0, NOON.replace(tzinfo=None))]
    for number, text in enumerate(
        (f"{T}", f"{T}000", "2020-06-30 12:00:00", "2020-06-30T12:00:00Z")
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert good(check(spark, folder, f"u,i,4.0,{text}\n")) == expected


def test_a_bare_year_or_time_of_day_is_no_timestamp(spark: SparkSession, tmp_path: Path) -> None:
    lines = (
        "a,2,3.5,2020-06-30 12:00:00\nb,2,3.5,2020\nc,2,3.5,12:00\nd,2,3.5,2020-13-45 00:00:00\n"
    )
    found = reasons(check(spark, tmp_path, lines))
    assert [bool(reason) for reason in found.values()] == [False, True, True, True]


def test_ratings_are_on_the_steps_of_their_scale(spark: SparkSession, tmp_path: Path) -> None:
    tenths = Scale(min=0.0, max=1.0, step=0.1)
    text = "".join(f"{r},2,{r},{T}\n" for r in ("0", "0.3", "0.7", "1.0", "0.35", "1.1"))
    frame = check(spark, tmp_path, text, scale=tenths)
    assert [row[0] for row in good(frame)] == ["0", "0.3", "0.7", "1.0"]
    tmp_path.joinpath("w").mkdir()
    whole = check(spark, tmp_path / "w", f"a\tb\t3\t{T}\na\tc\t0.5\t{T}\n", scale=WHOLE_STARS)
    assert [row[1] for row in good(whole)] == ["b"]


def test_refused_rows_have_their_line_whatever_the_blocks(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Three files, cut into blocks of 1000 bytes, many of them to a task."""
    contents = []
    for number, rows in enumerate((300, 7, 120)):
        lines = ["userId,movieId,rating,timestamp"]
        lines += [f"{number}0{i},{i},3.5,{T}" for i in range(rows)]
        for at in range(3, rows, 50):
            lines[at] = f"broken {number} {at + 1}"
            lines[at + 1] = ""
        contents.append("\n".join(lines) + "\n")
    small = {"spark.sql.files.maxPartitionBytes": "1000", "spark.sql.files.openCostInBytes": "1"}
    before = {key: spark.conf.get(key) for key in small}
    names = [f"f{i}" for i in range(3)]
    try:
        for key, value in small.items():
            spark.conf.set(key, value)
        checked = check(spark, tmp_path, *contents)
        assert checked.rdd.getNumPartitions() > 3
        with Folder(spark, tmp_path / "root").scratch("test") as scratch:
            staged = stage(checked, "ratings", names=names, scratch=scratch)
            rejects = staged.rejects().collect()
            assert staged.rows_by_file() == {"f0": 294, "f1": 6, "f2": 117}
            assert staged.first_rejects(2) == [
                "f0:4: malformed line: 'broken 0 4'",
                "f0:54: malformed line: 'broken 0 54'",
            ]
            # The order of the source, too, is told by the three columns of the position.
            order = [row[0] for row in good(staged.frame)]
    finally:
        for key, old in before.items():
            spark.conf.set(key, str(old))
    assert {(r["source_file"], f"broken {r['source_file'][1]} {r['line']}") for r in rejects} == {
        (r["source_file"], r["raw"]) for r in rejects
    }
    assert len(rejects) == staged.refused == 6 + 1 + 3
    assert order == [
        line.partition(",")[0]
        for content in contents
        for line in content.splitlines()[1:]
        if line and not line.startswith("broken")
    ]


def test_parquet_is_read_by_the_names_of_its_columns(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        (5, 4.0, NOON, 1, "a", 0),
        (None, 4.0, NOON, 2, "b", 0),
        (6, float("nan"), NOON, 3, "c", 0),
        (7, 4.0, None, 4, "d", 0),
        (8, 4.0, datetime(1970, 1, 1, tzinfo=UTC), 5, "e", 0),
    ]
    path = tmp_path / "r"
    # The last two are names that ingest has for things of its own, or that Spark reads as a path.
    schema = "movieId int, rating float, rated_at timestamp, userId bigint, file string, `a.b` int"
    spark.createDataFrame(rows, schema).coalesce(1).write.parquet(str(path))
    with checked_parquet(spark, path, tmp_path / "root") as frame:
        found = frame.select("user_id", "item_id", "rating", "reason").orderBy("place").collect()
        raw = frame.where("reason = 'missing field'").orderBy("place").first()
    assert [tuple(row) for row in found] == [
        ("1", "5", 4.0, None),
        (None, None, None, "missing field"),
        (None, None, None, "rating not a finite number"),
        (None, None, None, "missing field"),
        (None, None, None, "timestamp out of range"),
    ]
    assert raw is not None
    assert raw["raw"].startswith('{"movieId":null,"rating":4.0,')


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (pa.int64(), "timestamp"),
        (pa.int32(), "rated.at"),
        (pa.string(), "timestamp"),
        (pa.timestamp("ms"), "timestamp"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.timestamp("ns"), "timestamp"),
        (pa.float64(), "timestamp"),
    ],
)
def test_parquet_may_write_instants_in_any_way(
    spark: SparkSession, tmp_path: Path, kind: pa.DataType, column: str
) -> None:
    seconds = int(NOON.timestamp())
    given = NOON if pa.types.is_timestamp(kind) else seconds
    values = pa.array([str(given) if kind == pa.string() else given, None], kind)
    names = ["user", "item", "rating", column, "_metadata"]
    columns = [pa.array([1, 2]), pa.array([5, 6]), pa.array([4.0, 3.0]), values, pa.array([0, 0])]
    pq.write_table(pa.table(columns, names), tmp_path / "r.parquet")
    with checked_parquet(spark, tmp_path / "r.parquet", tmp_path / "root") as frame:
        shown = frame.select("user_id", F.unix_seconds("rated_at"), "reason", "file")
        found = shown.orderBy("place").collect()
    assert [tuple(row) for row in found] == [
        ("1", seconds, None, 0),
        (None, None, "missing field", 0),
    ]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            "userId bigint, film bigint, rating double, timestamp int",
            "its columns are userId, film",
        ),
        ("userId boolean, movieId int, rating double, timestamp int", "userId is boolean"),
        ("userId int, movieId int, rating array<int>, timestamp int", "rating is array<int>"),
    ],
)
def test_parquet_with_other_columns_or_types_is_refused(
    spark: SparkSession, tmp_path: Path, schema: str, message: str
) -> None:
    path = tmp_path / "r"
    spark.createDataFrame([], schema).coalesce(1).write.parquet(str(path))
    with (
        pytest.raises(InputError, match=message),
        checked_parquet(spark, path, tmp_path / "root"),
    ):
        pass


def test_only_integers_of_which_nothing_would_be_lost_are_plain(spark: SparkSession) -> None:
    plain = {
        "0": True, "7": True, "-3": True, "9223372036854775807": True,
        "007": False, "+7": False, "-0": False, "7 ": False, "1.0": False, "A7": False, "": False,
        "9223372036854775808": False, "٣": False,
    }  # fmt: skip
    ids = spark.createDataFrame([(value,) for value in plain], "id string")
    rows = ids.select("id", is_plain_integer(F.col("id"))).collect()
    assert {row[0]: row[1] for row in rows} == plain


def test_the_latest_rating_of_a_pair_stays_and_of_ties_the_last_in_the_source(
    spark: SparkSession,
) -> None:
    early, late = NOON, NOON + timedelta(seconds=1)
    rows = [
        # user, item, rating, rated_at, file, block, place
        ("a", "x", 1.0, late, 0, 0, 0),
        ("a", "x", 2.0, early, 0, 0, 1),
        ("a", "y", 1.0, early, 1, 0, 0),
        ("a", "y", 2.0, early, 0, 9, 9),
        ("b", "x", 1.0, early, 0, 500, 3),
        ("b", "x", 2.0, early, 0, 100, 7),
        ("b", "y", 1.0, early, 0, 0, 5),
        ("b", "y", 2.0, early, 0, 0, 4),
        ("b", "z", 3.0, early, 0, 0, 6),
    ]
    schema = (
        "user_id string, item_id string, rating float, rated_at timestamp,"
        " file int, block long, place long"
    )
    users = spark.createDataFrame([("a", 0), ("b", 1)], "user_id string, user int")
    items = spark.createDataFrame([("x", 2), ("y", 1), ("z", 0)], "item_id string, item int")
    table, seen = latest(spark.createDataFrame(rows, schema), users, items)
    found = {(r["user"], r["item"]): r["rating"] for r in table.collect()}
    assert found == {(0, 2): 1.0, (0, 1): 1.0, (1, 2): 1.0, (1, 1): 1.0, (1, 0): 3.0}
    assert seen.get["superseded"] == 4


def test_parquet_that_is_cut_off_is_unusable_input(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"x" * 50)
    with pytest.raises(InputError, match=r"cut\.parquet: cannot be read as Parquet"):
        read_rows(spark, [f"file://{tmp_path}/cut.parquet"])


def test_rows_without_a_rating_are_seen_but_not_rated(spark: SparkSession, tmp_path: Path) -> None:
    lines = f"a,2,3.5,{T}\nb,2,,{T}\nc,2, ,{T}\nd,2,3.5\ne,2,,\n"
    found = reasons(check(spark, tmp_path, lines))
    assert found == {
        "a": None,
        "b": "not rated",
        "c": "not rated",
        "d,2,3.5": "malformed line",
        "e,2,,": "missing field",
    }
