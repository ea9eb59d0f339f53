"""The specs of truncated singular value decomposition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.search import Choices, IntRange, SearchSpace
from recpipe.models.spec import ModelSpec, load_factors
from recpipe.models.svd.settings import SvdImplicitSettings, SvdSettings

if TYPE_CHECKING:
    from recpipe.models.base import Model
    from recpipe.models.spec import Sections


def _svd(given: Sections) -> Model:
    from recpipe.models.svd.model import Svd

    return Svd(given.of(SvdSettings))


def _svd_implicit(given: Sections) -> Model:
    from recpipe.models.svd.model import SvdImplicit

    return SvdImplicit(given.of(SvdImplicitSettings))


SPECS = (
    ModelSpec(
        name="svd",
        sections={"svd": SvdSettings},
        build=_svd,
        load=load_factors,
        predicts_ratings=True,
        takes_weights=True,
        search=SearchSpace(
            {"rank": IntRange(2, 128, log=True), "fill": Choices(("mean", "item", "user"))}
        ),
    ),
    ModelSpec(
        name="svd_implicit",
        sections={"svd_implicit": SvdImplicitSettings},
        build=_svd_implicit,
        load=load_factors,
        takes_weights=True,
        search=SearchSpace(
            {"rank": IntRange(4, 256, log=True), "values": Choices(("likings", "ratings"))}
        ),
    ),
)
