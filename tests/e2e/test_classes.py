"""The archive of Java's classes: made once, mapped by every JVM that recpipe starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from recpipe import environment

if TYPE_CHECKING:
    from pathlib import Path

ASKS = """
import json
from recpipe.session import spark_session
from recpipe.settings import load

with spark_session(load(environment={}), name="test", input_bytes=1) as spark:
    beans = spark.sparkContext._jvm.java.lang.management.ManagementFactory
    given = list(beans.getRuntimeMXBean().getInputArguments())
    rows = spark.range(10).count()
print(json.dumps([rows, [option for option in given if "SharedArchiveFile" in option]]))
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder whose name has a space."""
    return tmp_path / "a cache"


def asked(cache: Path) -> tuple[list[object], str]:
    """What a session answers, and all that was printed beside it."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS], env=os.environ | {"RECPIPE_CACHE": str(cache)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    answer: list[object] = json.loads(done.stdout.splitlines()[-1])
    return answer, done.stdout + done.stderr


def archive(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    monkeypatch.setenv("RECPIPE_CACHE", str(cache))
    return environment.class_archive()


def test_an_archive_is_made_and_mapped(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "recpipe.classes"], env=os.environ | {"RECPIPE_CACHE": str(cache)},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert made.stdout == ""
    target = archive(monkeypatch, cache)
    assert target.stat().st_size > 50_000_000
    assert [file.name for file in cache.glob("*.jsa*")] == [target.name]
    assert asked(cache)[0] == [10, [f"-XX:SharedArchiveFile={target}"]]


def test_what_is_no_archive_of_this_java_is_passed_over_in_silence(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    assert asked(cache)[0] == [10, []]
    target = archive(monkeypatch, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"something else" * 1000)
    answer, printed = asked(cache)
    assert answer == [10, [f"-XX:SharedArchiveFile={target}"]]
    assert "warning" not in printed.lower()
