"""Which Python the workers run, and what is said where it cannot: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recpipe.runtime.java import find_java

REPOSITORY = Path(__file__).parents[2]
FIT = """
from pyspark.sql import SparkSession
from recpipe.errors import RecpipeError
from recpipe.ml import ALS

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.host", "127.0.0.1")
# As the session of the tests: which Python the workers run, no plan decides.
builder = builder.config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
spark = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
rows = [(user, item, float(user * item % 5)) for user in range(6) for item in range(4)]
ratings = spark.createDataFrame(rows, "user int, item int, rating double")
try:
    model = ALS(rank=2, maxIter=1).fit(ratings)
    print("LISTS", model.recommendForAllUsers(2).count())
except RecpipeError as error:
    print("SAID", error)
"""
IN_A_SESSION = """
import os, signal, sys
from pyspark import SparkContext
from recpipe.cli import _ended_by
from recpipe.settings import load
from recpipe.spark.session import spark_session

try:
    with spark_session(load(environment={{}}).session, name="ends", input_bytes=0) as spark:
        {fails}
        spark.range(3).count()
except Exception as error:
    sys.exit(_ended_by(error))
"""
KILLED = "os.kill(SparkContext._gateway.proc.pid, signal.SIGKILL)"
# What Java does where an error has ended a thread.
WITHOUT_MEMORY = """java = spark.sparkContext._jvm.java.lang
        java.Thread.getDefaultUncaughtExceptionHandler().uncaughtException(
            java.Thread.currentThread(), java.OutOfMemoryError("Java heap space")
        )"""


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program where no virtual environment is activated: the PATH has the system's Python."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYSPARK_PYTHON", "VIRTUAL_ENV"}}
    own = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY), "JAVA_HOME": str(find_java())}
    return subprocess.run(
        [sys.executable, "-c", program], env={**kept, **own, **variables},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_workers_run_this_python_where_none_is_chosen() -> None:
    ended = run(FIT)
    assert "LISTS 6" in ended.stdout, ended.stderr


def test_a_python_that_lacks_a_module_is_named_by_its_own_error(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    # This version of Python, and nothing that is installed into it.
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    ended = run(FIT, PYSPARK_PYTHON=str(bare))
    (said,) = [line for line in ended.stdout.splitlines() if line.startswith("SAID")]
    assert "ModuleNotFoundError: No module named" in said
    assert "PYSPARK_PYTHON" in said


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        (KILLED, "Java process has ended by itself"),
        # A job would wait for ever for the results that the thread was to take in.
        (WITHOUT_MEMORY, "java.lang.OutOfMemoryError: Java heap space"),
    ],
    ids=["killed", "without memory"],
)
def test_a_java_process_that_ends_is_said_in_one_line(fails: str, words: str) -> None:
    ended = run(IN_A_SESSION.format(fails=fails))
    assert ended.returncode == 5, ended.stderr
    (said,) = [line for line in ended.stderr.splitlines() if line.startswith("recpipe: ")]
    assert words in said
    assert "session.driver_memory" in said
