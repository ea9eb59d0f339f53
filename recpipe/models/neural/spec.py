"""The specs of neural models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.neural.extra import TORCH
from recpipe.models.neural.settings import GmfSettings, MlpSettings, NeumfSettings
from recpipe.models.search import FloatRange, IntRange, Range, SearchSpace
from recpipe.models.spec import ModelSpec, load_factors, middle_by_epochs

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _gmf(given: Sections) -> Model:
    from recpipe.models.neural.ncf import Gmf

    return Gmf(given.of(GmfSettings))


def _mlp(given: Sections) -> Model:
    from recpipe.models.neural.ncf import Mlp

    return Mlp(given.of(MlpSettings))


def _neumf(given: Sections) -> Model:
    from recpipe.models.neural.ncf import Neumf

    return Neumf(given.of(NeumfSettings))


def _load(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neural.ncf_model import NcfModel

    return NcfModel.load(folder, options)


# Not the epochs: `patience` finds them in each trial.
_RANGES: dict[str, Range] = {
    "rank": IntRange(8, 128, log=True),
    "learning_rate": FloatRange(0.0001, 0.02, log=True),
    "negatives": IntRange(1, 16, log=True),
    "regularization": FloatRange(1e-7, 0.1, log=True),
}

SPECS = (
    ModelSpec(
        name="gmf",
        sections={"gmf": GmfSettings},
        build=_gmf,
        load=load_factors,
        takes_weights=True,
        representative_fold=middle_by_epochs,
        search=SearchSpace(_RANGES),
        extra=TORCH,
    ),
    ModelSpec(
        name="mlp",
        sections={"mlp": MlpSettings},
        build=_mlp,
        load=_load,
        takes_weights=True,
        representative_fold=middle_by_epochs,
        search=SearchSpace({**_RANGES, "dropout": FloatRange(0.0, 0.5)}),
        extra=TORCH,
    ),
    ModelSpec(
        name="neumf",
        sections={"neumf": NeumfSettings},
        build=_neumf,
        load=_load,
        takes_weights=True,
        representative_fold=middle_by_epochs,
        search=SearchSpace({**_RANGES, "dropout": FloatRange(0.0, 0.5)}),
        extra=TORCH,
    ),
)
