"""From a model's name to the model, and from a folder to the fitted one.

A family of models adds one line: its specs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from recpipe.errors import InputError, UsageError
from recpipe.models.als.spec import SPECS as ALS
from recpipe.models.baselines.spec import SPECS as BASELINES
from recpipe.models.blend.spec import SPECS as BLEND
from recpipe.models.content.spec import SPECS as CONTENT
from recpipe.models.hybrid.spec import SPECS as HYBRID
from recpipe.models.linear.spec import SPECS as LINEAR
from recpipe.models.neighbours.spec import SPECS as NEIGHBOURS
from recpipe.models.neural.spec import SPECS as NEURAL
from recpipe.models.settings import Train
from recpipe.models.sgd.spec import SPECS as SGD
from recpipe.models.spec import MANIFEST, LoadOptions, Sections
from recpipe.models.svd.spec import SPECS as SVD
from recpipe.models.temporal.spec import SPECS as TEMPORAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import ModelSpec
    from recpipe.sections import Section
    from recpipe.storage import Folder

SPECS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        *BASELINES,
        *ALS,
        *SGD,
        *LINEAR,
        *SVD,
        *NEIGHBOURS,
        *CONTENT,
        *HYBRID,
        *TEMPORAL,
        *NEURAL,
        *BLEND,
    )
}
"""Every model by its name."""


def spec_of(name: str) -> ModelSpec:
    """The spec of a model.

    Raises:
        UsageError: if there is no such model.
    """
    if name not in SPECS:
        raise UsageError(f"there is no model {name!r}", hint=f"the models are {', '.join(SPECS)}")
    return SPECS[name]


def build(name: str, sections: Mapping[str, Section]) -> Model:
    """The model of that name.

    Args:
        name: one of `SPECS`.
        sections: its sections of the settings by name, and perhaps others; one that is missing has
            its defaults.

    Raises:
        UsageError: if there is no such model, or `train.half_life` is among the sections and the
            model cannot weigh ratings.
    """
    spec = spec_of(name)
    train = sections.get("train")
    if isinstance(train, Train) and (refused := no_weights([name], train)):
        raise UsageError(refused, hint="leave train.half_life out, or name another model")
    return spec.build(sections_of(spec, sections))


def check_extras(names: Iterable[str]) -> None:
    """Raise MissingError unless all that the fits of some models need is installed."""
    for name in names:
        spec = spec_of(name)
        if spec.extra is not None:
            spec.extra.need(name)


def no_weights(names: Sequence[str], train: Train) -> str | None:
    """What is wrong where some models cannot weigh ratings and are to; None where nothing is."""
    refused = [name for name in names if not spec_of(name).takes_weights]
    if train.half_life is None or not refused:
        return None
    able = ", ".join(name for name, spec in SPECS.items() if spec.takes_weights)
    return f"train.half_life: {', '.join(refused)} cannot weigh ratings; these can: {able}"


def sections_of(spec: ModelSpec, sections: Mapping[str, Section]) -> Sections:
    """The sections that a spec names, of all; one that is missing has its defaults."""
    return Sections({key: sections.get(key) or kind() for key, kind in spec.sections.items()})


def components_of(
    name: str, sections: Mapping[str, Section], trained: Sequence[str]
) -> tuple[str, ...]:
    """The models whose fitted form the fit of a model needs; none for most.

    Args:
        name: of the model.
        sections: its sections of the settings, and perhaps others.
        trained: all models that are trained; of these only what `auto` may choose counts.
    """
    spec = spec_of(name)
    others = [other for other in trained if other != name and spec_of(other).selectable]
    return spec.components(sections_of(spec, sections), others)


def load(folder: Folder, *, max_broadcast_mb: int = 1024) -> FittedModel:
    """The fitted model that `save` wrote to `folder`.

    Args:
        folder: of one model.
        max_broadcast_mb: `recommend.max_broadcast_mb` of now; it is no part of the model.

    Raises:
        UsageError: if there is none, or not a whole one: model.json is written last.
        InputError: if its model.json cannot be read, or lacks what the model needs.
    """
    if not folder.exists(MANIFEST):
        raise UsageError(f"{folder.uri}: no fitted model", hint="train it first")
    manifest = folder.read_json(MANIFEST)
    try:
        spec, saved = spec_of(manifest["name"]), manifest["settings"]
        sections = {key: kind.model_validate(saved[key]) for key, kind in spec.sections.items()}
        options = LoadOptions(
            manifest,
            build(spec.name, sections),
            max_broadcast_mb,
            partial(load, max_broadcast_mb=max_broadcast_mb),
        )
    except (KeyError, TypeError, ValidationError, UsageError) as error:
        raise InputError(
            f"{folder.path(MANIFEST)}: not a model of this version of recpipe ({error})",
            hint="fit it again",
        ) from error
    try:
        return spec.load(folder, options)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder.path(MANIFEST)}: not a model as {spec.name} saves it ({error!r})",
            hint="fit it again",
        ) from error


__all__ = [
    "SPECS", "build", "check_extras", "components_of", "load", "no_weights", "sections_of",
    "spec_of",
]  # fmt: skip
