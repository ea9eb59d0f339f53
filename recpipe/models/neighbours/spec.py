"""The specs of models of neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.neighbours.settings import ItemKnnSettings, Rp3BetaSettings, UserKnnSettings
from recpipe.models.search import Choices, FloatRange, IntRange, SearchSpace
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder

_KNN = SearchSpace(
    {
        "k": IntRange(5, 1000, log=True),
        "shrinkage": FloatRange(0.0, 500.0),
        "similarity": Choices(("cosine", "jaccard")),
        "weighting": Choices(("none", "bm25")),
    }
)


def _item_knn(given: Sections) -> Model:
    from recpipe.models.neighbours.item_knn import ItemKnn

    return ItemKnn(given.of(ItemKnnSettings))


def _user_knn(given: Sections) -> Model:
    from recpipe.models.neighbours.user_knn import UserKnn

    return UserKnn(given.of(UserKnnSettings))


def _rp3beta(given: Sections) -> Model:
    from recpipe.models.neighbours.rp3beta import Rp3Beta

    return Rp3Beta(given.of(Rp3BetaSettings))


def _load(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neighbours.model import NeighbourModel

    return NeighbourModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="item_knn",
        sections={"item_knn": ItemKnnSettings},
        build=_item_knn,
        load=_load,
        predicts_ratings=True,
        takes_implicit=True,
        search=_KNN,
    ),
    ModelSpec(
        name="user_knn",
        sections={"user_knn": UserKnnSettings},
        build=_user_knn,
        load=_load,
        predicts_ratings=True,
        takes_implicit=True,
        search=_KNN,
    ),
    ModelSpec(
        name="rp3beta",
        sections={"rp3beta": Rp3BetaSettings},
        build=_rp3beta,
        load=_load,
        takes_weights=True,
        search=SearchSpace(
            {
                "k": IntRange(10, 1000, log=True),
                "alpha": FloatRange(0.1, 2.0),
                "beta": FloatRange(0.0, 1.0),
            }
        ),
    ),
)
