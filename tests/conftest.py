"""What the tests share: one small session, and the real release where it is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import release
from tests.java import QUICK
from tests.once import made_once
from tests.roots import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

# Of every JVM that this process or one below it starts, a snippet of the README and `hadoop fs`
# among them; clusters start theirs without it.
os.environ["JDK_JAVA_OPTIONS"] = QUICK

_SLOWEST_FIRST = ("cluster", "e2e", "spark", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the slowest begin, so that two workers, each given whole files, end together."""
    here = Path(__file__).parent
    items.sort(key=lambda item: _SLOWEST_FIRST.index(item.path.relative_to(here).parts[0]))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """`local[2]`, two shuffle partitions, UTC, ANSI, Delta: what the fast tests run on."""
    from pyspark.sql import SparkSession

    from recpipe.runtime.jars import delta_jars
    from recpipe.runtime.java import find_java

    os.environ["JAVA_HOME"] = str(find_java())
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .appName("recpipe-tests")
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.buffer.pageSize", "2m")
        # Over rows so few, to compile plans and expressions takes longer than to interpret them;
        # commands of processes of their own compile them.
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.python.unix.domain.socket.enabled", "true")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        # Tests of Delta are never skipped: without its jars nothing starts, and the error says how
        # to fetch them.
        .config("spark.jars", ",".join(str(jar) for jar in delta_jars()))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .config("spark.databricks.delta.snapshotPartitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def movielens() -> Path:
    """The real ml-latest-small release."""
    value = os.environ.get("RECPIPE_MOVIELENS")
    if not value:
        pytest.skip("set RECPIPE_MOVIELENS to a folder or zip of ml-latest-small")
    return Path(value)


@pytest.fixture(scope="session")
def real_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ml-latest-small where it is at hand, else a planted release of its shape."""
    if real := os.environ.get("RECPIPE_MOVIELENS"):
        return Path(real)
    return release.write(tmp_path_factory.mktemp("source"), users=300, items=200)


@pytest.fixture(scope="session")
def local_root(real_shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a run of `real_shape` with the options `RUN`, in one process on this machine."""

    return made_once(tmp_path_factory, "local", partial(_run, real_shape)) / "root"


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of 120 users, for what need not be real."""
    return release.write(tmp_path_factory.mktemp("planted"), users=120, items=80)


@pytest.fixture(scope="session")
def planted_root(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `local_root`, of `planted`."""
    return made_once(tmp_path_factory, "planted-local", partial(_run, planted)) / "root"


def _run(source: Path, place: Path) -> None:
    given = ["--input", str(source), "--root", str(place / "root"), *RUN]
    command = [sys.executable, "-m", "recpipe", "run", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
