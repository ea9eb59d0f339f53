"""Neural models by Spark: one process in a task, and several that exchange gradients."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError, MissingError
from recpipe.feedback import Scale
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.neural.ncf import Gmf, Neumf
from recpipe.models.neural.settings import GmfSettings, NeumfSettings
from recpipe.storage import Folder
from tests.neural import needs_torch

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from recpipe.models.base import FittedModel

pytestmark = needs_torch

RATINGS = "user int, item int, rating float, rated_at timestamp"
AT = datetime(2020, 1, 1, tzinfo=UTC)
USERS, ITEMS = 60, 30
OWN: dict[str, Any] = {"rank": 4, "epochs": 15, "learning_rate": 0.02, "batch_size": 32}
Row = tuple[int, int, float, datetime]


def rows() -> tuple[list[Row], list[Row]]:
    """Ratings of two tastes, item 0 disliked by all, and of each user one more of the taste."""
    rng = np.random.default_rng(1)
    train, held = [], []
    for user in range(USERS):
        taste = [item for item in range(1, ITEMS) if (item + user) % 2 == 0]
        *mine, last = (int(item) for item in rng.permutation(taste)[:8])
        train += [(user, item, 5.0, AT) for item in mine] + [(user, 0, 1.0, AT)]
        held.append((user, last, 5.0, AT))
    return train, held


TRAIN, HELD = rows()


def fit(spark: SparkSession, folder: Path, model: Any, *, held: bool = False) -> FittedModel:
    data = TrainingData(
        ratings=spark.createDataFrame(TRAIN, RATINGS),
        validation=spark.createDataFrame(HELD, RATINGS) if held else None,
        scale=Scale(min=1, max=5, step=1),
    )
    fitted: FittedModel = model.fit(data, scratch=Folder(spark, folder), seed=5)
    return fitted


def lists(model: FittedModel) -> dict[int, list[tuple[int, float]]]:
    spark = model.spark
    users = spark.createDataFrame([(user,) for user in range(USERS)], "user int")
    seen = spark.createDataFrame([row[:2] for row in TRAIN], "user int, item int")
    found: dict[int, list[tuple[int, float]]] = {}
    rows = model.recommend(users, n=5, seen=seen).frame.collect()
    for row in sorted(rows, key=lambda row: (row.user, row["rank"])):
        found.setdefault(row.user, []).append((row.item, row.score))
    return found


def of_the_taste(found: dict[int, list[tuple[int, float]]]) -> float:
    """The share of places that hold an item of the user's own taste."""
    assert len(found) == USERS
    return float(np.mean([(i + u) % 2 == 0 for u, places in found.items() for i, _ in places]))


def test_several_processes_learn_what_one_learns_and_one_seed_makes_the_same_bits(
    spark: SparkSession, tmp_path: Path
) -> None:
    one, two, again = (
        fit(spark, tmp_path / name, Neumf(NeumfSettings(**OWN, layers=(8, 4), processes=n)))
        for name, n in (("one", 1), ("two", 2), ("again", 2))
    )
    assert [model.info()["processes"] for model in (one, two)] == [1, 2]
    by_one, by_two = lists(one), lists(two)
    assert by_two == lists(again)
    assert min(of_the_taste(by_one), of_the_taste(by_two)) > 0.9
    # What it costs to know no more than how many examples are likings.
    share = 1 / (1 + NeumfSettings().negatives)
    nothing = -share * np.log(share) - (1 - share) * np.log(1 - share)
    lost = [model.info()["learning_curve"][-1]["train_loss"] for model in (one, two)]
    assert max(lost) < 0.75 * nothing


def test_a_fit_with_validation_keeps_its_best_epoch_and_says_so(
    spark: SparkSession, tmp_path: Path
) -> None:
    fitted = fit(spark, tmp_path, Gmf(GmfSettings(**OWN, patience=2)), held=True)
    info = fitted.info()
    lost = [at["validation_loss"] for at in info["learning_curve"]]
    assert lost.index(min(lost)) + 1 == info["best_epoch"]
    again = registry.build("gmf", fitted.refit_config.sections())
    assert isinstance(again, Gmf)
    assert (again.settings.epochs, again.settings.patience) == (info["best_epoch"], 0)
    # What nobody likes is no candidate.
    assert all(item for places in lists(fitted).values() for item, _ in places)


def test_processes_that_cannot_run_at_once_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gmf\.processes = 3: gmf needs 3 slots at once"):
        fit(spark, tmp_path, Gmf(GmfSettings(processes=3)))
    with pytest.raises(MissingError, match=r"gmf\.device = gpu: .*gpu\.amount is 0"):
        fit(spark, tmp_path, Gmf(GmfSettings(device="gpu")))


def test_a_fit_that_diverges_is_refused_in_words(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="gmf: loss or parameters are not finite") as refusal:
        fit(spark, tmp_path, Gmf(GmfSettings(learning_rate=1e30, epochs=3)))
    assert "learning_rate" in refusal.value.hint
