"""One run that several files only read: it has rules, similar items and explanations at once."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.context import Context
from recpipe.stages.pipeline import run_pipeline
from recpipe.storage import Folder
from tests import release
from tests.once import made_once

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.storage import Run


@pytest.fixture(scope="session")
def whole_run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, Run]:
    """A published run: 4 similar items of each, and 2 reasons of each place.

    Its lists hold nothing that is newer than 2000, no item from 300 on, and for user 4 items 10 to
    50 alone.
    """
    place = made_once(tmp_path_factory, "whole-run", partial(_run, spark))
    context = _context(spark, place)
    return context, context.runs.get("one")


def _context(spark: SparkSession, place: Path) -> Context:
    rules = {"allow": str(place / "allow.csv"), "block": str(place / "block.csv"), "year_to": 2000}
    settings = Settings.model_validate(
        {
            "train": {"models": ("block_als", "popularity")},
            "publish": {"model": "block_als"},
            "recommend": {"explain": 2, "similar": 4},
            "rules": rules,
        }
    )
    root = Folder(spark, place / "root")
    return Context(root, settings, run_date=date(2019, 6, 1), progress=Progress())


def _run(spark: SparkSession, place: Path) -> None:
    own = [f"4,{item}" for item in (10, 20, 30, 40, 50, 999)]
    (place / "allow.csv").write_text("\n".join(["userId,movieId", *own, ""]))
    (place / "block.csv").write_text("movieId\n" + "".join(f"{i}\n" for i in range(300, 610, 10)))
    run_pipeline(_context(spark, place), "one", source=str(release.write(place / "source")))
