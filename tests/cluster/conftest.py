"""Real clusters, one of each kind for all tests here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import hadoop, standalone
from tests.cluster.submit import PACK

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
