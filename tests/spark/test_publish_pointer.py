from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import InputError, UsageError
from recpipe.publish import Published, current, export, point_to, published
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.fixture
def root(spark: SparkSession, tmp_path: Path) -> Folder:
    return Folder(spark, tmp_path)


def publish(root: Folder, run_id: str, *, users: int = 2, keep: int = 3) -> Published:
    """A version whose every row names its run in `source`."""
    rows = [
        (f"u{user}", rank, f"i{rank}", -1.0 * rank, run_id, date(2026, 11, 21))
        for user in range(users)
        for rank in (1, 2)
    ]
    frame = root.spark.createDataFrame(rows, RECOMMENDATIONS.schema())
    return point_to(export(frame, root=root, run_id=run_id, files=2), root=root, keep=keep)


def folders(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "published" / "recommendations").iterdir())


def test_the_pointer_says_what_a_reader_needs(root: Folder, tmp_path: Path) -> None:
    started = datetime.now(UTC)
    publish(root, "r1")
    publish(root, "r2", users=3)

    pointer = json.loads((tmp_path / "published" / "CURRENT.json").read_text())

    at = datetime.fromisoformat(pointer.pop("published_at"))
    assert started < at < datetime.now(UTC)
    assert pointer == {
        "schema_version": 1,
        "run_id": "r2",
        "path": "published/recommendations/r2",
        "rows": 6,
        "users": 3,
        "previous": "r1",
    }
    assert {row["source"] for row in current(root).read(root).collect()} == {"r2"}


def test_versions_beyond_those_kept_go_but_never_the_current_or_the_one_before(
    root: Folder, tmp_path: Path
) -> None:
    (tmp_path / "published" / "recommendations" / "someone-is-writing-here").mkdir(parents=True)
    for run_id in ("z", "y", "x", "w"):
        publish(root, run_id, keep=3)

    # By age, not by name.
    assert folders(tmp_path) == ["someone-is-writing-here", "w", "x", "y"]
    assert published(root, "y").rows == 4
    with pytest.raises(UsageError, match=r"'z' is not published.*published: w, x, y"):
        published(root, "z")

    publish(root, "v", keep=2)
    assert folders(tmp_path) == ["someone-is-writing-here", "v", "w"]


def test_an_earlier_version_published_again_keeps_the_one_it_replaced(
    root: Folder, tmp_path: Path
) -> None:
    for run_id in ("a", "b", "c", "a"):
        publish(root, run_id, keep=3)
    again = current(root)
    publish(root, "d", keep=2)

    assert (again.run_id, again.previous) == ("a", "c")
    assert (current(root).previous, folders(tmp_path)) == ("a", ["a", "d"])


def test_publishing_the_current_version_again_changes_nothing(root: Folder) -> None:
    publish(root, "r1")
    first = publish(root, "r2")

    assert publish(root, "r2") == first == current(root)
    assert first.previous == "r1"


def test_nothing_published_is_said_with_what_to_do(root: Folder) -> None:
    with pytest.raises(UsageError, match=r"nothing is published.*recpipe publish"):
        current(root)


@pytest.mark.parametrize("text", ['{"schema_version": 2}', '{"schema_version": 1}', "[]"])
def test_a_pointer_of_another_kind_is_refused(root: Folder, tmp_path: Path, text: str) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "CURRENT.json").write_text(text)

    with pytest.raises(InputError, match=r"CURRENT\.json"):
        current(root)


READER = """
import json, sys, pathlib
import pyarrow.parquet as pq
root, stop = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
versions, reads, ended = [], 0, False
while not ended:
    ended = stop.exists()  # one more read after the last publish
    pointer = json.loads((root / "published" / "CURRENT.json").read_text())
    table = pq.read_table(root / pointer["path"])
    sources = set(table["source"].to_pylist())
    assert sources == {pointer["run_id"]}, (sources, pointer)
    assert len(table) == pointer["rows"], (len(table), pointer)
    assert table["user_id"].to_pylist() == sorted(table["user_id"].to_pylist())
    reads += 1
    if not versions or versions[-1] != pointer["run_id"]:
        versions.append(pointer["run_id"])
    if reads == 1:
        print("reading", flush=True)
print(json.dumps({"reads": reads, "versions": versions}))
"""


def test_a_reader_in_another_process_sees_one_whole_version_at_every_moment(
    root: Folder, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    publish(root, "r0", users=50)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            runs = [f"r{number}" for number in range(1, 6)]
            for number, run_id in enumerate(runs):
                publish(root, run_id, users=40 + 20 * (number % 2))
            stop.touch()
            output, errors = reader.communicate(timeout=60)
        finally:
            reader.kill()

    assert reader.returncode == 0, errors
    seen = json.loads(output)
    assert seen["versions"] == ["r0", *runs]
    assert seen["reads"] > 50


PUBLISHER = """
import sys
from datetime import date
from pyspark.sql import SparkSession
from recpipe.contracts import RECOMMENDATIONS
from recpipe.publish import export, point_to
from recpipe.storage import Folder

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.driver.memory", "1g")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "1")
    .getOrCreate()
)
rows = [(f"u{u}", r, f"i{r}", -1.0 * r, "r2", date(2026, 11, 21)) for u in range(9) for r in (1, 2)]
frame = spark.createDataFrame(rows, RECOMMENDATIONS.schema())
root = Folder(spark, sys.argv[1])
point_to(export(frame, root=root, run_id="r2", files=2), root=root, keep=2)
"""


@contextmanager
def publisher(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes version r2; it and its JVM are gone when the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(root)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_publish_killed_between_export_and_pointer_leaves_the_old_version_whole(
    root: Folder, tmp_path: Path
) -> None:
    publish(root, "r1")
    before = current(root)
    exported = tmp_path / "published" / "recommendations" / "r2"
    with publisher(tmp_path) as process:
        # Spark moves finished files here and then says so; the pointer comes a read-back later.
        while not any(exported.glob("part-*.parquet")):
            assert process.poll() is None
            time.sleep(0.002)

    assert any(exported.glob("part-*.parquet"))
    assert current(root) == before
    table = pq.read_table(tmp_path / before.path)
    assert (len(table), set(table["source"].to_pylist())) == (before.rows, {"r1"})
    with pytest.raises(UsageError, match="'r2' is not published"):
        published(root, "r2")

    again = publish(root, "r2", users=7)
    assert (again.rows, again.previous) == (14, "r1")
    assert len(pq.read_table(exported)) == 14
