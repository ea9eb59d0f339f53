"""The spec of the blend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.blend.settings import BlendSettings
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _blend(given: Sections) -> Model:
    from recpipe.models.blend.blend import Blend

    return Blend(given.of(BlendSettings))


def _load_blend(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.blend.blend import BlendModel

    return BlendModel.load(folder, options)


def _components(given: Sections, trained: Sequence[str]) -> tuple[str, ...]:
    settings = given.of(BlendSettings)
    return settings.models or tuple(settings.weights) or tuple(trained)


SPECS = (
    ModelSpec(
        name="blend",
        sections={"blend": BlendSettings},
        build=_blend,
        load=_load_blend,
        takes_weights=True,
        components=_components,
    ),
)
