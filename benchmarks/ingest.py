"""Ingest against DuckDB: CSV to Parquet with checks, ids and quarantine, against without any.

    python benchmarks/ingest.py --out build/bench/ingest.json
    python benchmarks/ingest.py --ratings 25000000
    python benchmarks/ingest.py --input ml-25m

Both sides read the same file and write Parquet (zstd) with two threads, in turns. Ours is
`ingest()` alone, the files beside the ratings included, in a session that has ingested before;
theirs is `read_csv` written by `write_parquet`. Rows and the sum of ratings must agree before
anything is timed. `sizes` has the CPU seconds of both as well: where others use the machine they
are the steadier figure.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psutil
from pyspark.sql import functions as F
from side_by_side import compare, seconds

from recpipe.datasets.synthetic import synthesize
from recpipe.ingest import ingest
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder, Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

_WARM_UP = 20_000


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    total = 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def ours(spark: SparkSession, source: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    tables = Tables(Folder(spark, root))
    ingest(source, tables=tables, settings=load(environment={}).ingest, run_date=date(2026, 12, 31))


def theirs(connection: duckdb.DuckDBPyConnection, ratings: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    connection.read_csv(str(ratings)).write_parquet(str(target), compression="zstd")


def check(
    spark: SparkSession, root: Path, connection: duckdb.DuckDBPyConnection, target: Path
) -> int:
    """The number of ratings, which both must have, with the same sum."""
    table = Tables(Folder(spark, root)).read("ratings")
    mine = table.agg(F.count("*"), F.sum(F.col("rating").cast("double"))).collect()[0]
    other = connection.read_parquet(str(target)).aggregate("count(*), sum(rating)").fetchall()[0]
    if tuple(mine) != other:
        raise SystemExit(f"the results differ: ours {tuple(mine)}, DuckDB's {other}")
    return int(mine[0])


def release(work: Path, ratings: int) -> Path:
    """A synthetic release, made once."""
    folder = work / f"release-{ratings}"
    if not (folder / "truth.json").exists():
        synthesize(folder, ratings=ratings)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ratings", type=int, default=2_000_000, help="of a synthetic release")
    what.add_argument("--input", type=Path, help="a folder with a ratings.csv")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/bench/ingest"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/ingest.json"))
    given = parser.parse_args()
    source = given.input or release(given.work, given.ratings)
    ratings = source / "ratings.csv"
    root, target = given.work.absolute() / "root", given.work / "duckdb.parquet"
    settings = load(overrides=[f"session.master=local[{given.threads}]"], environment={})
    connection = duckdb.connect()
    connection.execute(f"SET threads = {given.threads}")
    used: dict[str, list[float]] = {"ours": [], "theirs": []}

    def metered(side: str, work: Callable[[], object]) -> float:
        before = cpu_seconds()
        took = seconds(work)
        used[side].append(cpu_seconds() - before)
        sizes["cpu_seconds"] = {name: statistics.median(v) for name, v in used.items() if v}
        return took

    with spark_session(settings.session, name="benchmark-ingest") as spark:
        ours(spark, release(given.work, _WARM_UP), root)
        ours(spark, source, root)
        theirs(connection, ratings, target)
        rows = check(spark, root, connection, target)
        sizes: dict[str, Any] = {"ratings": rows, "bytes": ratings.stat().st_size}
        sizes["threads"] = given.threads
        compare(
            "ingest CSV to Parquet with checks, ids and quarantine",
            "DuckDB read_csv to Parquet, no checks",
            ours=lambda: metered("ours", lambda: ours(spark, source, root)),
            theirs=lambda: metered("theirs", lambda: theirs(connection, ratings, target)),
            target=4.0, sizes=sizes, versions={"duckdb": duckdb.__version__}, out=given.out,
        )  # fmt: skip
    shutil.rmtree(root, ignore_errors=True)
    target.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
