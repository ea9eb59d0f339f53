"""The spec of the blend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.blend.settings import Blend
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _blend(given: Sections) -> Model:
    from recpipe.models.blend.blend import Blend as Model

    return Model(given.of(Blend))


def _load_blend(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.blend.blend import BlendModel

    return BlendModel.load(folder, options)


def _components(given: Sections, trained: Sequence[str]) -> tuple[str, ...]:
    own = given.of(Blend)
    return own.models or tuple(own.weights) or tuple(trained)


SPECS = (
    ModelSpec(
        name="blend",
        sections={"blend": Blend},
        build=_blend,
        load=_load_blend,
        components=_components,
    ),
)
