"""A fit of a stage: where the model is kept, and what is left of its scratch."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.runtime.progress import Progress
from recpipe.settings import Settings
from recpipe.stages.context import Context
from recpipe.stages.fit import fit, load
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.models.base import FittedModel

RATINGS = [(1, 10, 4.0), (1, 11, 2.0), (2, 10, 5.0), (2, 12, 4.5), (3, 12, 1.0)]


def lists(model: FittedModel, spark: SparkSession) -> list[tuple[int, int, int, float]]:
    users = spark.createDataFrame([(1,), (2,), (3,)], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    found = model.recommend(users, n=3, seen=nothing).frame.collect()
    return sorted((row.user, row["rank"], row.item, row.score) for row in found)


def test_a_model_is_kept_below_the_run_and_below_models_dir(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"ease": {"regularization": 1.0}})
    root, kept = Folder(spark, tmp_path / "root"), Folder(spark, tmp_path / "kept")
    context = Context(root, settings, date(2020, 1, 1), Progress(interactive=False), kept)
    ratings = spark.createDataFrame(RATINGS, "user int, item int, rating float")
    for name in ("popularity", "ease"):
        model = registry.build(name, dict(settings))
        entry = fit(context, model, TrainingData(ratings=ratings), root / "models" / name)
        assert entry["path"] == f"models/{name}"
        assert entry["files"]
        assert all((tmp_path / "root" / file).exists() for file in entry["files"])
        own = lists(load(context, entry["path"]), spark)
        assert own
        assert lists(registry.load(kept / "models" / name), spark) == own
    # What was not moved is gone.
    assert root.list() == ["models"]
