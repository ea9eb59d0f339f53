"""The specs of hybrid models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.hybrid.settings import HybridSettings
from recpipe.models.search import FloatRange, IntRange, SearchSpace
from recpipe.models.spec import ModelSpec, load_factors

if TYPE_CHECKING:
    from recpipe.models.base import Model
    from recpipe.models.spec import Sections


def _hybrid(given: Sections) -> Model:
    from recpipe.models.hybrid.model import Hybrid

    return Hybrid(given.of(HybridSettings))


SPECS = (
    ModelSpec(
        name="hybrid",
        sections={"hybrid": HybridSettings},
        build=_hybrid,
        takes_weights=True,
        load=load_factors,
        search=SearchSpace(
            {
                "rank": IntRange(8, 128, log=True),
                "regularization": FloatRange(0.001, 10.0, log=True),
                "alpha": FloatRange(0.1, 50.0, log=True),
                "feature_regularization": FloatRange(0.1, 1000.0, log=True),
            }
        ),
    ),
)
