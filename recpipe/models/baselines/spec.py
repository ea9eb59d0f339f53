"""The specs of the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.baselines.settings import BiasesSettings
from recpipe.models.search import FloatRange, SearchSpace
from recpipe.models.spec import ModelSpec, load_factors

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _popularity(_given: Sections) -> Model:
    from recpipe.models.baselines.popularity import Popularity

    return Popularity()


def _mean(_given: Sections) -> Model:
    from recpipe.models.baselines.popularity import Mean

    return Mean()


def _random(_given: Sections) -> Model:
    from recpipe.models.baselines.random import Random

    return Random()


def _biases(given: Sections) -> Model:
    from recpipe.models.baselines.biases import Biases

    return Biases(given.of(BiasesSettings))


def _load_random(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.baselines.random import RandomModel

    return RandomModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="popularity",
        build=_popularity,
        load=load_factors,
        takes_weights=True,
        baseline=True,
    ),
    ModelSpec(
        name="biases",
        sections={"biases": BiasesSettings},
        build=_biases,
        load=load_factors,
        predicts_ratings=True,
        takes_weights=True,
        baseline=True,
        # A baseline that nobody tuned is easily beaten (Rendle, Zhang and Koren 2019).
        search=SearchSpace(
            {
                "user_regularization": FloatRange(0.5, 50.0, log=True),
                "item_regularization": FloatRange(0.5, 50.0, log=True),
            }
        ),
    ),
    ModelSpec(
        name="mean",
        build=_mean,
        load=load_factors,
        predicts_ratings=True,
        takes_weights=True,
        baseline=True,
        selectable=False,
    ),
    ModelSpec(
        name="random",
        build=_random,
        load=_load_random,
        takes_weights=True,
        baseline=True,
        selectable=False,
    ),
)
