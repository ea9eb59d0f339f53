"""The specs of alternating least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.als.settings import (
    AlsExplicitSettings,
    AlsImplicitSettings,
    AlsSettings,
    BlockAlsImplicitSettings,
    BlockAlsSettings,
    NmfSettings,
)
from recpipe.models.search import Choices, FloatRange, IntRange, SearchSpace
from recpipe.models.spec import ModelSpec, load_factors

if TYPE_CHECKING:
    from recpipe.models.base import Model
    from recpipe.models.spec import Sections


def _als_explicit(given: Sections) -> Model:
    from recpipe.models.als.mllib import ExplicitAls

    return ExplicitAls(given.of(AlsSettings), given.of(AlsExplicitSettings))


def _nmf(given: Sections) -> Model:
    from recpipe.models.als.mllib import ExplicitAls

    return ExplicitAls(given.of(AlsSettings), given.of(NmfSettings), non_negative=True)


def _als_implicit(given: Sections) -> Model:
    from recpipe.models.als.mllib import ImplicitAls

    return ImplicitAls(given.of(AlsSettings), given.of(AlsImplicitSettings))


def _block_als(given: Sections) -> Model:
    from recpipe.models.als.block.model import BlockAls

    return BlockAls(given.of(BlockAlsSettings))


def _block_als_implicit(given: Sections) -> Model:
    from recpipe.models.als.block.model import BlockAlsImplicit

    return BlockAlsImplicit(given.of(BlockAlsImplicitSettings))


_EXPLICIT = SearchSpace(
    {
        "rank": IntRange(4, 64, log=True),
        "iterations": IntRange(5, 25),
        "regularization": FloatRange(0.01, 0.5, log=True),
    }
)

_IMPLICIT = SearchSpace(
    {
        "rank": IntRange(16, 192, log=True),
        "iterations": IntRange(5, 25),
        "regularization": FloatRange(0.005, 0.5, log=True),
        "alpha": FloatRange(0.5, 50.0, log=True),
        "confidence": Choices(("constant", "rating")),
    }
)

_BLOCK_IMPLICIT = SearchSpace(
    {
        **_IMPLICIT.ranges,
        "regularization": FloatRange(0.001, 0.5, log=True),
        "loss": Choices(("confidence", "ials")),
        "unobserved_weight": FloatRange(0.02, 1.0, log=True),
        "regularization_exponent": FloatRange(0.5, 1.0),
    }
)

SPECS = (
    ModelSpec(
        name="als_explicit",
        sections={"als": AlsSettings, "als_explicit": AlsExplicitSettings},
        build=_als_explicit,
        load=load_factors,
        predicts_ratings=True,
        search=_EXPLICIT,
    ),
    ModelSpec(
        name="als_implicit",
        sections={"als": AlsSettings, "als_implicit": AlsImplicitSettings},
        build=_als_implicit,
        load=load_factors,
        takes_weights=True,
        search=_IMPLICIT,
    ),
    ModelSpec(
        name="nmf",
        sections={"als": AlsSettings, "nmf": NmfSettings},
        build=_nmf,
        load=load_factors,
        predicts_ratings=True,
        search=_EXPLICIT,
    ),
    ModelSpec(
        name="block_als",
        sections={"block_als": BlockAlsSettings},
        build=_block_als,
        load=load_factors,
        predicts_ratings=True,
        takes_weights=True,
        search=_EXPLICIT,
    ),
    ModelSpec(
        name="block_als_implicit",
        sections={"block_als_implicit": BlockAlsImplicitSettings},
        build=_block_als_implicit,
        load=load_factors,
        takes_weights=True,
        search=_BLOCK_IMPLICIT,
    ),
)
