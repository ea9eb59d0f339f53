"""The specs of models of content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe.models.content.settings import ContentSettings
from recpipe.models.search import Choices, FloatRange, SearchSpace
from recpipe.models.spec import ModelSpec

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import LoadOptions, Sections
    from recpipe.storage import Folder


def _content(given: Sections) -> Model:
    from recpipe.models.content.content import Content

    return Content(given.of(ContentSettings))


def _load_content(folder: Folder, options: LoadOptions) -> FittedModel:
    from recpipe.models.content.content import ContentModel

    return ContentModel.load(folder, options)


SPECS = (
    ModelSpec(
        name="content",
        sections={"content": ContentSettings},
        build=_content,
        takes_weights=True,
        load=_load_content,
        search=SearchSpace(
            {
                "genres": FloatRange(0.0, 2.0),
                "title": FloatRange(0.0, 1.0),
                "year": FloatRange(0.0, 2.0),
                "tags": FloatRange(0.0, 2.0),
                "genome": FloatRange(0.0, 2.0),
                "similarity": Choices(("cosine", "sum")),
                "values": Choices(("likings", "ratings")),
            }
        ),
    ),
)
