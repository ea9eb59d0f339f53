"""The specs of neural models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.neural.extra import TORCH
from recpipe.models.neural.settings import GmfSettings, MlpSettings, NeumfSettings, SasRecSettings
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


def _sasrec(given: Sections) -> Model:
    from recpipe.models.neural.sasrec import SasRec

    return SasRec(given.of(SasRecSettings))


def _load(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neural.ncf_model import NcfModel

    return NcfModel.load(folder, options)


def _load_sasrec(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neural.sasrec import SequenceModel

    return SequenceModel.load(folder, options)


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
    ModelSpec(
        name="sasrec",
        sections={"sasrec": SasRecSettings},
        build=_sasrec,
        load=_load_sasrec,
        representative_fold=middle_by_epochs,
        search=SearchSpace(
            {
                "rank": IntRange(16, 256, log=True),
                "layers": IntRange(1, 4),
                "max_length": IntRange(20, 200, log=True),
                "dropout": FloatRange(0.1, 0.7),
                "learning_rate": FloatRange(1e-4, 1e-2, log=True),
                "batch_size": IntRange(16, 256, log=True),
            }
        ),
        extra=TORCH,
    ),
)
