"""The specs of temporal models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.search import FloatRange, IntRange, SearchSpace
from recpipe.models.sgd.settings import SgdSettings
from recpipe.models.spec import ModelSpec
from recpipe.models.temporal.settings import TimeSgdSettings

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _time_sgd(given: Sections) -> Model:
    from recpipe.models.temporal.time_sgd import TimeSgd

    return TimeSgd(given.of(TimeSgdSettings), given.of(SgdSettings))


def _load(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.temporal.model import TimeSgdModel

    return TimeSgdModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="time_sgd",
        sections={"sgd": SgdSettings, "time_sgd": TimeSgdSettings},
        build=_time_sgd,
        load=_load,
        predicts_ratings=True,
        takes_weights=True,
        search=SearchSpace(
            {
                "bins": IntRange(1, 60),
                "drift_regularization": FloatRange(100.0, 100_000.0, log=True),
                "day_regularization": FloatRange(1.0, 100.0, log=True),
                "bin_regularization": FloatRange(5.0, 500.0, log=True),
            }
        ),
    ),
)
