"""Lines that the kernel reads and lines that Spark reads: one table, as if all were checked."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from recpipe import ingest as package
from recpipe.ingest.fast import parsing, passes, staging
from recpipe.ingest.fast.staging import has_whole_number_ids, stage_lines
from recpipe.ingest.layout import HEAD_BYTES, Sample
from recpipe.ingest.lines import read_raw_lines
from recpipe.ingest.ratings import Group, Rules, checked_groups
from recpipe.ingest.recognition import HALF_STARS, recognise
from recpipe.ingest.settings import Ingest
from recpipe.ingest.times import Period
from recpipe.storage import Folder, Tables
from recpipe.storage.local import LocalFileSystem

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession


RUN_DATE = date(2020, 6, 30)
PERIOD = Period.until(RUN_DATE)
T = 1_500_000_000
VALUES = ("user_id", "item_id", "rating", "rated_at")


def values(frame: DataFrame) -> list[tuple[Any, ...]]:
    """Ids as text, since that is how checked rows have them."""
    ids = {name: F.col(name).cast("string") for name in VALUES[:2]}
    return sorted(tuple(row) for row in frame.withColumns(ids).select(*VALUES).collect())


def test_a_file_of_many_kinds_of_lines_gives_the_rows_that_the_rules_give(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = ["\ufeffuserId,movieId,rating,timestamp\r"]
    lines += [f"{u},{100 - u},{(1 + u % 10) / 2},{T + u}" for u in range(1, 60)]
    odd = [
        f'"7",2,3.5,{T}', f" 8,2,3.5,{T}", f"9,2,3.50,{T}\r", "", f"10,2,.5,{T}", "x",
        f"11,2,9,{T}", f"-5,{2**40},1,{T}", "userId,movieId,rating,timestamp", f"12,3,1.0,{T}0000",
    ]  # fmt: skip
    for number, line in enumerate(odd):
        lines.insert(5 * number + 2, line)
    paths = []
    for number, content in enumerate((lines, lines[1:30])):
        path = tmp_path / f"part-{number}.csv"
        path.write_bytes("\n".join(content).encode() + b"\nJos\xe9,2,3.5,5\n")
        paths.append(path)
    head = paths[0].read_bytes()[:HEAD_BYTES]
    layout = recognise([Sample("part-0.csv", head)], source="here").parts["ratings"].layout
    assert has_whole_number_ids(head, layout)
    uris = [f"file://{path}" for path in paths]
    group = Group(layout, uris, range(len(uris)), [{}] * len(uris))
    checked = checked_groups(spark, [group], rules=Rules(HALF_STARS, PERIOD))
    small = {"spark.sql.files.maxPartitionBytes": "500", "spark.sql.files.openCostInBytes": "1"}
    before = {key: spark.conf.get(key) for key in small}
    try:
        for key, value in small.items():
            spark.conf.set(key, value)
        with Folder(spark, tmp_path / "root").scratch("test") as scratch:
            rated = stage_lines(
                uris, layout, names=["a", "b"], size=1000, scale=HALF_STARS, period=PERIOD,
                scratch=scratch,
            )  # fmt: skip
            assert rated.chunks is not None
            assert rated.good is not None
            assert rated.general is not None
            both = values(passes.unpack(rated.chunks)) + values(rated.good)
            assert sorted(both) == values(checked.where("reason IS NULL"))
            by_reason = checked.where("reason != ''").groupBy("reason").count().collect()
            assert dict(rated.rejected) == {row[0]: row[1] for row in by_reason}
            assert rated.rows == len(both) + rated.refused
            assert sum(rated.rows_by_file().values()) == rated.rows
            places = {
                (r["source_file"], r["line"], r["raw"]) for r in rated.general.rejects().collect()
            }
    finally:
        for key, old in before.items():
            spark.conf.set(key, str(old))
    assert places == {
        (name, number, line)
        for name, content in (("a", lines), ("b", lines[1:30]))
        for number, line in enumerate([*content, "José,2,3.5,5"], start=1)
        if line in {"x", f"11,2,9,{T}", f"12,3,1.0,{T}0000", "José,2,3.5,5"}
    }


@pytest.mark.parametrize("strings", [False, True])
def test_a_tie_between_a_clean_line_and_a_quoted_one_keeps_the_last_in_the_source(
    spark: SparkSession, tmp_path: Path, strings: bool
) -> None:
    filler = [f"{u},{i},4.0,{T}" for u in range(10, 40) for i in (3, 2, 1)]
    first = [f"1,1,1.0,{T}", f'"1",1,2.0,{T}', f"2,1,3.0,{T}", f'"2",1,1.0,{T - 1}']
    last = [f'"3",1,1.0,{T}', f"3,1,2.0,{T}", f"3,1,3.0,{T - 5}", f"1,2,5.0,{T}"]
    source = tmp_path / "source.csv"
    odd = [f'"A",1,1.0,{T}'] if strings else []
    source.write_text("\n".join([*first, *filler, *odd, *last]) + "\n")
    tables = Tables(Folder(spark, tmp_path / "root"))
    report = package.ingest(source, tables=tables, settings=Ingest(), run_date=RUN_DATE)
    counts = report.ratings
    assert (counts.kept, counts.superseded, counts.rejected) == (94 + strings, 4, 0)
    assert report.users.type == ("string" if strings else "long")
    rows = {(str(r["user_id"]), r["item_id"]): r for r in tables.read("ratings").collect()}
    assert [rows[u, 1]["rating"] for u in "123"] == [2.0, 3.0, 2.0]
    at = rows["1", 1]["rated_at"].replace(tzinfo=UTC)
    assert at == datetime.fromtimestamp(T, UTC)


def test_the_order_of_the_source_changes_files_but_no_row(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [
        f"{u},{i},{3 + i % 2}.0,{T + u * i}"
        for u in range(1, 90)
        for i in range(u % 7, 40, u % 5 + 1)
    ]
    tables, counts = [], []
    for name, written in (("a", lines), ("b", lines[::-1]), ("c", [*lines, lines[0]])):
        source = tmp_path / f"{name}.csv"
        source.write_text("\n".join(written) + "\n")
        table = Tables(Folder(spark, tmp_path / name))
        report = package.ingest(source, tables=table, settings=Ingest(), run_date=RUN_DATE)
        rows = table.read("ratings").select("user", "item", *VALUES).collect()
        tables.append(sorted(tuple(row) for row in rows))
        counts.append((report.ratings.kept, report.ratings.superseded))
    assert tables[0] == tables[1] == tables[2]
    assert counts == [(len(lines), 0), (len(lines), 0), (len(lines), 1)]
    # Another source under the same root: numbers stay, and new ones follow.
    more = tmp_path / "more.csv"
    more.write_text(f"0,0,1.0,{T}\n7,900,2.0,{T}\n")
    package.ingest(more, tables=table, settings=Ingest(), run_date=RUN_DATE)
    known = {row["user_id"]: row["user"] for row in table.read("users").collect()}
    assert known[0] == 89
    items = len({row[1] for row in tables[0]})
    found = table.read("ratings").select("user_id", "user", "item", "rating").collect()
    assert sorted(map(tuple, found)) == [(0, 89, 0, 1.0), (7, 6, items, 2.0)]


@pytest.mark.parametrize("ended", [True, False])
def test_where_a_file_is_cut_changes_nothing(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    lines = ["userId,movieId,rating,timestamp"]
    lines += [f"{n // 9},{n % 9},4.0,{T + n}" for n in range(999)]
    # Three hundred lines without the bytes that the file is cut at.
    lines[400:700] = [f"{line[:-1]}0" for line in lines[400:700]]
    lines[500] = "broken"
    source = tmp_path / "ratings.csv"
    source.write_text("\n".join(lines) + "\n" * ended)
    cut = parsing.find_cut(LocalFileSystem(), [f"file://{source}"])
    assert cut == (parsing.Cut("98\n", source.stat().st_size) if ended else parsing.Cut())
    release = recognise([Sample("ratings.csv", source.read_bytes())], source="here")
    layout = release.parts["ratings"].layout
    small = {"spark.sql.files.maxPartitionBytes": "5000", "spark.sql.files.openCostInBytes": "1"}
    before = {key: spark.conf.get(key) for key in small}
    seen: list[str] = []

    def read(*given: Any, end: str, **options: Any) -> DataFrame:
        seen.append(end)
        return read_raw_lines(*given, end=end, **options)

    monkeypatch.setattr(staging, "read_raw_lines", read)
    found = []
    try:
        for key, value in small.items():
            spark.conf.set(key, value)
        for longest in (parsing.LONGEST, 2000):
            monkeypatch.setattr(parsing, "LONGEST", longest)
            with Folder(spark, tmp_path / "root").scratch("test") as scratch:
                rated = stage_lines(
                    [f"file://{source}"], layout, names=["a"], size=1000, scale=HALF_STARS,
                    period=PERIOD, scratch=scratch,
                )  # fmt: skip
                assert rated.general is not None
                assert rated.chunks is not None
                (reject,) = rated.general.rejects().collect()
                assert (reject["line"], reject["raw"]) == (501, "broken")
                assert (rated.rows, rated.refused, rated.in_order) == (999, 1, True)
                found.append(values(passes.unpack(rated.chunks)))
                rated.close()
    finally:
        for key, old in before.items():
            spark.conf.set(key, str(old))
    assert len(found[0]) == 998
    assert found[0] == found[1]
    # A row that is too long is left out by the reader, missed, and all is read line by line.
    assert seen == (["98\n", "98\n", "\n"] if ended else ["\n", "\n"])
