"""Ingest against DuckDB: CSV to Parquet with checks, ids and quarantine, against without any.

    python benchmarks/ingest.py                              2 million ratings
    python benchmarks/ingest.py --ratings 25000000 --runs 3
    python benchmarks/ingest.py --input ml-latest-small      a release of your own

Both sides read the same file and write Parquet (zstd) with as many threads, one after the other in
each run. Ours is `ingest()` alone in a session that has ingested a small release before; theirs is
`read_csv(...)` written by `write_parquet`. Rows and the sum of ratings must agree before
anything is timed.
CPU seconds (ours with the JVM and the Python workers) stand beside the wall's: on a machine that
others use they are the steadier of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psutil
from pyspark.sql import functions as F

from recpipe.movielens import ingest
from recpipe.movielens.synthetic import synthesize
from recpipe.session import spark_session
from recpipe.settings import Settings
from recpipe.storage import Folder, Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

TARGET = 4.0
_WARM_UP = 20_000


@dataclass(frozen=True)
class Took:
    """Seconds of one run."""

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    total = 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
        # Those that have ended below this process itself are not of this run.
        total += times.children_user + times.children_system
    return total


def timed(work: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return Took(time.perf_counter() - wall, cpu_seconds() - cpu)


def ours(spark: SparkSession, source: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    ingest(
        source,
        tables=Tables(Folder(spark, root)),
        settings=Settings().ingest,
        run_date=date(2026, 12, 31),
    )


def theirs(connection: duckdb.DuckDBPyConnection, ratings: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    connection.read_csv(str(ratings)).write_parquet(str(target), compression="zstd")


def check(
    spark: SparkSession, root: Path, connection: duckdb.DuckDBPyConnection, target: Path
) -> int:
    """The number of ratings, which both must have, with the same sum."""
    table = Tables(Folder(spark, root)).read("ratings")
    mine = table.agg(F.count("*"), F.sum(F.col("rating").cast("double"))).collect()[0]
    other = connection.read_parquet(str(target)).aggregate("count(*), sum(rating)").fetchone()
    if other is None or tuple(mine) != other:
        sys.exit(f"the results differ: ours {tuple(mine)}, DuckDB's {other}")
    return int(mine[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ratings", type=int, default=2_000_000, help="of a synthetic release")
    what.add_argument("--input", type=Path, help="a folder with a ratings.csv")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="where releases are kept from run to run")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="recpipe-bench-"))
    try:
        run(given, work)
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)


def release(work: Path, ratings: int) -> Path:
    folder = work / f"release-{ratings}"
    if not (folder / "ratings.csv").exists():
        synthesize(folder, ratings=ratings)
    return folder


def run(given: argparse.Namespace, work: Path) -> None:
    source = given.input or release(work, given.ratings)
    ratings, root, target = source / "ratings.csv", work / "root", work / "duckdb.parquet"
    settings = Settings(session={"master": f"local[{given.threads}]"})
    connection = duckdb.connect()
    connection.execute(f"SET threads = {given.threads}")
    with spark_session(settings, name="benchmark-ingest") as spark:
        ours(spark, release(work, _WARM_UP), root)
        ours(spark, source, root)
        theirs(connection, ratings, target)
        rows = check(spark, root, connection, target)
        mine, other = [], []
        for number in range(given.runs):
            mine.append(timed(lambda: ours(spark, source, root)))
            other.append(timed(lambda: theirs(connection, ratings, target)))
            print(
                f"run {number + 1}: ours {mine[-1].wall:.2f} s (CPU {mine[-1].cpu:.1f}),"
                f" DuckDB {other[-1].wall:.2f} s (CPU {other[-1].cpu:.1f})",
                flush=True,
            )
            found = result(rows, ratings.stat().st_size, mine, other, threads=given.threads)
            if given.out is not None:
                given.out.write_text(json.dumps([found], indent=2) + "\n")
    print(
        f"{rows:,} ratings: ours {found['ours_seconds']:.2f} s,"
        f" DuckDB {found['theirs_seconds']:.2f} s, ratio {found['ratio']:.2f}"
        f" (CPU {found['cpu_ratio']:.2f}), target {TARGET}"
    )


def result(
    rows: int, size: int, mine: list[Took], other: list[Took], *, threads: int
) -> dict[str, Any]:
    """One row of results.json: medians, and the ratio of those."""
    wall = [statistics.median(t.wall for t in side) for side in (mine, other)]
    cpu = [statistics.median(t.cpu for t in side) for side in (mine, other)]
    return {
        "work": "ingest CSV to Parquet with checks, ids and quarantine",
        "against": "DuckDB read_csv to Parquet, no checks",
        "ours_seconds": round(wall[0], 3),
        "theirs_seconds": round(wall[1], 3),
        "ratio": round(wall[0] / wall[1], 3),
        "target": TARGET,
        "cpu_ratio": round(cpu[0] / cpu[1], 3),
        "sizes": {"ratings": rows, "bytes": size, "runs": len(mine), "threads": threads},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("recpipe", "pyspark", "duckdb", "pyarrow")},
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    main()
