"""One small release and one finished root, made once and only read by the tests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import release
from tests.e2e.commands import MODEL, WarmJvm, succeed, warm_jvm
from tests.once import made_once
from tests.roots import DATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 users, 60 items, 1200 ratings, in MovieLens' shape."""
    return release.write(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a published run `one`: named as people name folders, its input since gone."""
    return made_once(tmp_path_factory, "finished", _finish) / _ROOT


@pytest.fixture(scope="session")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmJvm]:
    """Commands as spark-submit runs them, with one JVM for all tests of this worker."""
    with warm_jvm(tmp_path_factory.mktemp("jvm") / "spark.log") as commands:
        yield commands


_ROOT = "my röot 100%"


def _finish(place: Path) -> None:
    release.write(place / "my ratings")
    # Relative paths and an empty working directory: what is left behind there shows.
    (place / "cwd").mkdir()
    succeed(
        "run", "--input", "../my ratings", "--root", f"../{_ROOT}", "--run-id", "one",
        *DATE, *MODEL, cwd=place / "cwd",
    )  # fmt: skip
    assert list((place / "cwd").iterdir()) == []
    shutil.rmtree(place / "my ratings")
