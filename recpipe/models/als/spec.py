"""The specs of alternating least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.als.settings import (
    Als,
    AlsExplicit,
    AlsImplicit,
    BlockAls,
    BlockAlsImplicit,
    Nmf,
)
from recpipe.models.spec import ModelSpec, load_factors

if TYPE_CHECKING:
    from recpipe.models.base import Model
    from recpipe.models.spec import Sections


def _als_explicit(given: Sections) -> Model:
    from recpipe.models.als.mllib import ExplicitAls

    return ExplicitAls(given.of(Als), given.of(AlsExplicit))


def _nmf(given: Sections) -> Model:
    from recpipe.models.als.mllib import ExplicitAls

    return ExplicitAls(given.of(Als), given.of(Nmf), non_negative=True)


def _als_implicit(given: Sections) -> Model:
    from recpipe.models.als.mllib import ImplicitAls

    return ImplicitAls(given.of(Als), given.of(AlsImplicit))


def _block_als(given: Sections) -> Model:
    from recpipe.models.als.block.model import BlockAls as Model

    return Model(given.of(BlockAls))


def _block_als_implicit(given: Sections) -> Model:
    from recpipe.models.als.block.model import BlockAlsImplicit as Model

    return Model(given.of(BlockAlsImplicit))


SPECS = (
    ModelSpec(
        name="als_explicit",
        sections={"als": Als, "als_explicit": AlsExplicit},
        build=_als_explicit,
        load=load_factors,
        predicts_ratings=True,
    ),
    ModelSpec(
        name="als_implicit",
        sections={"als": Als, "als_implicit": AlsImplicit},
        build=_als_implicit,
        load=load_factors,
    ),
    ModelSpec(
        name="nmf",
        sections={"als": Als, "nmf": Nmf},
        build=_nmf,
        load=load_factors,
        predicts_ratings=True,
    ),
    ModelSpec(
        name="block_als",
        sections={"block_als": BlockAls},
        build=_block_als,
        load=load_factors,
        predicts_ratings=True,
    ),
    ModelSpec(
        name="block_als_implicit",
        sections={"block_als_implicit": BlockAlsImplicit},
        build=_block_als_implicit,
        load=load_factors,
    ),
)
