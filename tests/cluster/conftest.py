"""Real clusters, one of each kind for all tests here, and what they are compared with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import hadoop, release, standalone
from tests.cluster.submit import PACK, RUN
from tests.once import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def standalone_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[standalone.Standalone]:
    """A master and two workers."""
    with standalone.running(tmp_path_factory.mktemp("standalone")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def hadoop_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hadoop.Hadoop]:
    """HDFS and YARN; skipped, with the reason, where they cannot be had."""
    if reason := hadoop.why_not():
        pytest.skip(reason)
    with hadoop.running(tmp_path_factory.mktemp("hadoop")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def packed() -> None:
    """What `make pack` makes: without it a cluster would have nothing of ours to run."""
    for name in ("recpipe.zip", "environment.tar.gz"):
        if not (PACK / name).exists():
            pytest.fail(f"no {PACK / name}: run `make pack`, as `make test` does")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ml-latest-small where it is at hand, else a planted release of its shape."""
    if real := os.environ.get("RECPIPE_MOVIELENS"):
        return Path(real)
    return release.write(tmp_path_factory.mktemp("source"), users=300, items=200)


@pytest.fixture(scope="session")
def local_root(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the same run in one process on this machine."""

    def run(place: Path) -> None:
        given = ["--input", str(source), "--root", str(place / "root"), *RUN]
        command = [sys.executable, "-m", "recpipe", "run", *given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "local", run) / "root"
