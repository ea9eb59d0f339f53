"""The spec of SASRec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.neural.sasrec_settings import SasRecSettings
from recpipe.models.search import FloatRange, IntRange, SearchSpace
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _sasrec(given: Sections) -> Model:
    from recpipe.models.neural.sasrec import SasRec

    return SasRec(given.of(SasRecSettings))


def _load_sasrec(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.neural.sasrec import SequenceModel

    return SequenceModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="sasrec",
        sections={"sasrec": SasRecSettings},
        build=_sasrec,
        load=_load_sasrec,
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
    ),
)
