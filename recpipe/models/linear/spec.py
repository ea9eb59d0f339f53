"""The specs of linear models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.linear.settings import EaseSettings, SlimSettings
from recpipe.models.search import Choices, FloatRange, SearchSpace
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _ease(given: Sections) -> Model:
    from recpipe.models.linear.ease import Ease

    return Ease(given.of(EaseSettings))


def _load_ease(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.linear.ease import load

    return load(folder, options)


def _slim(given: Sections) -> Model:
    from recpipe.models.linear.slim import Slim

    return Slim(given.of(SlimSettings))


def _load_slim(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neighbours.model import NeighbourModel

    return NeighbourModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="ease",
        sections={"ease": EaseSettings},
        build=_ease,
        load=_load_ease,
        takes_weights=True,
        search=SearchSpace(
            {
                "regularization": FloatRange(10.0, 5000.0, log=True),
                "values": Choices(("likings", "ratings")),
            }
        ),
    ),
    ModelSpec(
        name="slim",
        sections={"slim": SlimSettings},
        build=_slim,
        load=_load_slim,
        takes_weights=True,
        search=SearchSpace(
            {
                "l1": FloatRange(0.01, 10.0, log=True),
                "l2": FloatRange(1.0, 1000.0, log=True),
                "values": Choices(("likings", "ratings")),
            }
        ),
    ),
)
