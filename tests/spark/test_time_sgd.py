"""time_sgd: predictions at an instant, against the biases in NumPy, and drift that was planted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.errors import FitError, MissingError
from recpipe.feedback import Scale
from recpipe.kernels.time_biases import (
    Days,
    Penalties,
    UserBiases,
    deviation,
    of_ratings,
    solve,
    user_biases,
)
from recpipe.models import registry
from recpipe.models.data import TrainingData
from recpipe.models.sgd.settings import SgdSettings
from recpipe.models.temporal import time_sgd
from recpipe.models.temporal.settings import TimeSgdSettings
from recpipe.models.temporal.time_sgd import TimeSgd
from recpipe.storage import Folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from recpipe.models.temporal.model import TimeSgdModel

RATINGS = "user int, item int, rating float, rated_at timestamp"
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
SCALE = Scale(min=-100, max=100, step=None)
OWN = TimeSgdSettings(
    bins=3,
    user_regularization=1,
    drift_regularization=5,
    day_regularization=2,
    item_regularization=1,
    bin_regularization=2,
    sweeps=4,
)
PENALTIES = Penalties(user=1, drift=5, day=2, item=1, bin=2)
# Factors that stay as small as they begin, and biases that stay at 0.
STILL = SgdSettings(rank=2, epochs=1, learning_rate=1e-9, initial_scale=1e-6, patience=0)
USERS, ITEMS, DAYS = 6, 5, 30

Row = tuple[int, int, float, datetime]


def rows() -> list[Row]:
    """Item 0 falls by three stars from the first to the last day."""
    rng = np.random.default_rng(2)
    found = []
    for user in range(USERS):
        days = rng.choice(DAYS, 3, replace=False)
        for item in range(ITEMS):
            day = (0, DAYS - 1)[user % 2] if item == 0 else int(rng.choice(days))
            fall = 3.0 * (day > 0) if item == 0 else 0.0
            at = FIRST + timedelta(days=day, hours=int(rng.integers(24)))
            found.append((user, item, float(5 - fall + rng.normal() / 10), at))
    return found


@pytest.fixture(scope="module")
def scratch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(spark, tmp_path_factory.mktemp("time-sgd"))


def fit(scratch: Folder, given: list[Row], place: str, **own: Any) -> TimeSgdModel:
    frame = scratch.spark.createDataFrame(given, RATINGS)
    data = TrainingData(ratings=frame, scale=SCALE, **own)
    return TimeSgd(OWN, STILL).fit(data, scratch=scratch / place, seed=1)


@pytest.mark.parametrize("half_life", [None, 10.0])
@pytest.mark.parametrize("ratings_of_a_part", [1000, 9])
def test_predictions_are_the_biases_of_their_day_by_what_ratings_weigh(
    scratch: Folder,
    monkeypatch: pytest.MonkeyPatch,
    ratings_of_a_part: int,
    half_life: float | None,
) -> None:
    monkeypatch.setattr(time_sgd, "_RATINGS_OF_A_PART", ratings_of_a_part)
    given, as_of = rows(), FIRST + timedelta(days=DAYS)
    place = f"parts-{ratings_of_a_part}-{half_life}"
    model = fit(scratch, given, place, as_of=as_of, half_life=half_life)

    day = {row[:2]: (row[3] - FIRST).days for row in given}
    ordered = sorted(given, key=lambda row: (row[0], day[row[:2]], row[1]))
    users, items, values = (np.array([row[n] for row in ordered]) for n in range(3))
    values = values.astype(np.float32).astype(float)
    ages = np.array([(as_of - row[3]) / timedelta(days=1) for row in ordered])
    weights = np.ones(len(ordered)) if half_life is None else 0.5 ** (ages / half_life)
    mean = np.average(values, weights=weights)
    days = np.array([day[row[:2]] for row in ordered])
    first, width = days.min(), days.max() - days.min() + 1
    bins = (days - first) * 3 // width
    own = Days.of(users.astype(np.int32), days, power=OWN.power)

    def biases(of_items: np.ndarray) -> UserBiases:
        return user_biases(values - mean - of_items[items, bins], own, PENALTIES, weights)

    def sums(of_items: np.ndarray | None) -> np.ndarray:
        found = np.zeros((ITEMS, 3))
        left = np.ones(len(values))
        if of_items is not None:
            left = values - mean - of_ratings(biases(of_items), own, ratings=len(values))
        np.add.at(found, (items, bins), left * weights)
        return found

    solution = solve(sums, PENALTIES, sweeps=OWN.sweeps)
    of_items = solution.bias[:, None] + solution.bins
    of_users = biases(of_items)
    # SGD begins at the mean of what is left, and its steps are too small to be seen.
    left = values - mean - of_items[items, bins] - of_ratings(of_users, own, ratings=len(values))
    mean += np.average(left, weights=weights)
    owners, numbers = users[own.starts].tolist(), own.days.tolist()
    added = dict(zip(zip(owners, numbers, strict=True), of_users.day.tolist(), strict=True))

    when = (-5, 0, 14, DAYS - 1, DAYS + 40)
    asked = [(u, 0, 0.0, FIRST + timedelta(days=d)) for u in range(USERS) for d in when]
    pairs = scratch.spark.createDataFrame(asked, RATINGS)
    found: dict[int, list[float]] = {}
    for row in model.predict(pairs).frame.collect():
        found.setdefault(row.user, []).append(row.prediction)
    for user in range(USERS):
        expected = []
        for d in when:
            period = min(max((d - first) * 3 // width, 0), 2)
            drift = of_users.drift[user] * deviation(np.array(d - own.centres[user]), OWN.power)
            whole = mean + of_users.bias[user] + drift + added.get((user, d), 0)
            expected.append(float(whole + of_items[0, period]))
        assert sorted(found[user]) == pytest.approx(sorted(expected), abs=1e-4)


def test_a_saved_model_lists_an_item_that_falls_by_the_instant(scratch: Folder) -> None:
    fitted = fit(scratch, rows(), "falls")
    fitted.save(scratch / "saved")
    model = registry.load(scratch / "saved")
    assert model.info() == fitted.info()
    spark = scratch.spark
    users = spark.createDataFrame([(0,)], "user int")
    nothing = spark.createDataFrame([], "user int, item int")
    first, last = (
        {
            row.item: row.score
            for row in model.recommend(users, n=ITEMS, seen=nothing, instant=at).frame.collect()
        }
        for at in (FIRST, FIRST + timedelta(days=DAYS))
    )
    assert min(last, key=lambda item: last[item]) == 0
    assert first[0] - first[1] > last[0] - last[1] + 0.5


def test_ratings_without_instants_are_refused(scratch: Folder) -> None:
    untimed = scratch.spark.createDataFrame([(0, 0, 3.0, None), (0, 1, 3.0, FIRST)], RATINGS)
    data = TrainingData(ratings=untimed, scale=SCALE)
    with pytest.raises(FitError, match="1 of 2 ratings have no instant"):
        TimeSgd(OWN, STILL).fit(data, scratch=scratch / "untimed", seed=1)


def test_what_sgd_is_told_of_the_scale_does_not_change_the_fit(scratch: Folder) -> None:
    on_a_scale = {"bounded": True, "open_bounds": True, "round_predictions": True}
    data = TrainingData(ratings=scratch.spark.createDataFrame(rows(), RATINGS), scale=SCALE)
    learns = SgdSettings(rank=2, epochs=2, patience=0)
    one, other = (
        TimeSgd(OWN, sgd).fit(data, scratch=scratch / place, seed=1)
        for place, sgd in (
            ("free", learns),
            ("on-a-scale", learns.model_copy(update=on_a_scale)),
        )
    )
    for side in ("user_rows", "item_rows"):
        found = [sorted(getattr(model, side).frame.collect()) for model in (one, other)]
        assert found[0] == found[1]


def test_biases_of_more_items_than_the_guard_lets_pass_are_refused_by_its_name(
    scratch: Folder,
) -> None:
    # 50,000 items x 3 periods x 8 bytes are above 1 MiB.
    far = scratch.spark.createDataFrame([(0, 0, 3.0, FIRST), (0, 49_999, 3.0, FIRST)], RATINGS)
    data = TrainingData(ratings=far, scale=SCALE)
    small = OWN.model_copy(update={"max_matrix_mb": 1})
    with pytest.raises(MissingError, match=r"time_sgd\.max_matrix_mb = 1 is 1 MiB") as refused:
        TimeSgd(small, STILL).fit(data, scratch=scratch / "guard", seed=1)
    assert "recommend" not in f"{refused.value.message} {refused.value.hint}"
