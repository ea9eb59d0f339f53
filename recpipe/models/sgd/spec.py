"""The spec of stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.search import Choices, FloatRange, IntRange, SearchSpace
from recpipe.models.sgd.settings import SgdSettings
from recpipe.models.spec import ModelSpec, load_factors, middle_by_epochs

if TYPE_CHECKING:
    from recpipe.models.base import Model
    from recpipe.models.spec import Sections


def _sgd(given: Sections) -> Model:
    # Its kernels are compiled on import: other models need not wait for them.
    from recpipe.models.sgd.model import Sgd

    return Sgd(given.of(SgdSettings))


SPECS = (
    ModelSpec(
        name="sgd",
        sections={"sgd": SgdSettings},
        build=_sgd,
        load=load_factors,
        predicts_ratings=True,
        takes_weights=True,
        representative_fold=middle_by_epochs,
        # Not the epochs: `patience` finds them in each trial.
        search=SearchSpace(
            {
                "rank": IntRange(8, 128, log=True),
                "learning_rate": FloatRange(0.005, 0.1, log=True),
                "learning_rate_decay": FloatRange(0.85, 1.0),
                "regularization": FloatRange(0.005, 0.3, log=True),
                "bias_regularization": FloatRange(0.005, 0.3, log=True),
                "bounded": Choices((False, True)),
            }
        ),
    ),
)
