"""The archive of Java's classes: mapped by every JVM that recpipe starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from recpipe.runtime.cache import class_archive as archive_path
from recpipe.spark import class_archive

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ASKS = """
import json
from recpipe.spark.session import spark_session
from recpipe.settings import load

with spark_session(load(environment={}).session, name="test", input_bytes=1) as spark:
    beans = spark.sparkContext._jvm.java.lang.management.ManagementFactory
    given = list(beans.getRuntimeMXBean().getInputArguments())
    rows = spark.range(10).count()
print(json.dumps([rows, [option for option in given if "SharedArchiveFile" in option]]))
"""


def asked(cache: Path) -> tuple[list[object], str]:
    """What a session answers, and all that was printed beside it."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        env=os.environ | {"RECPIPE_CACHE": str(cache), "JDK_JAVA_OPTIONS": ""},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    answer: list[object] = json.loads(done.stdout.splitlines()[-1])
    return answer, done.stdout + done.stderr


def test_the_archive_that_set_up_made_is_mapped(tmp_path: Path) -> None:
    """On a clean checkout, whose environment is new, set-up has just made it."""
    target = archive_path()
    assert target.exists(), "run `python -m recpipe.spark.class_archive`, as `make setup` does"
    assert target.stat().st_size > 50_000_000
    cache = tmp_path / "a cache"
    cache.mkdir()
    (cache / target.name).symlink_to(target)
    assert asked(cache)[0] == [10, [f"-XX:SharedArchiveFile={cache / target.name}"]]


def test_what_is_no_archive_of_this_java_is_passed_over_in_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "a cache"
    assert asked(cache)[0] == [10, []]
    monkeypatch.setenv("RECPIPE_CACHE", str(cache))
    target = archive_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"something else" * 1000)
    answer, printed = asked(cache)
    assert answer == [10, [f"-XX:SharedArchiveFile={target}"]]
    assert "warning" not in printed.lower()


def test_archives_of_former_environments_go_and_the_newest_stay(tmp_path: Path) -> None:
    """Each takes 180 MB, and every change of Spark, Java or environment makes another."""
    names = [*(f"{name}.jsa" for name in "abcde"), "f.jsa.123.part"]
    for age, name in enumerate(names):
        file = tmp_path / f"spark-classes-{name}"
        file.touch()
        os.utime(file, (time.time() - age, time.time() - age))
    (tmp_path / "numba").mkdir()
    class_archive.tidy(tmp_path)
    left = {file.name.removeprefix("spark-classes-") for file in tmp_path.iterdir()}
    assert left == {"a.jsa", "b.jsa", "c.jsa", "d.jsa", "numba"}


def test_an_archive_that_nobody_has_used_for_a_month_goes(tmp_path: Path) -> None:
    for name, days in (("old", 31), ("young", 29)):
        file = tmp_path / f"spark-classes-{name}.jsa"
        file.touch()
        os.utime(file, (time.time() - days * 86400, time.time() - days * 86400))
    class_archive.tidy(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["spark-classes-young.jsa"]
