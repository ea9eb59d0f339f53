"""From a model's name to the model, and from a folder to the fitted one.

A family of models adds one line: its specs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from recpipe.errors import InputError, UsageError
from recpipe.feedback import Scale
from recpipe.models.als.spec import SPECS as ALS
from recpipe.models.baselines.spec import SPECS as BASELINES
from recpipe.models.sgd.spec import SPECS as SGD
from recpipe.models.spec import LoadOptions, Sections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from recpipe.models.base import FittedModel, Model
    from recpipe.models.spec import ModelSpec
    from recpipe.sections import Section
    from recpipe.storage import Folder

SPECS: Mapping[str, ModelSpec] = {spec.name: spec for spec in (*BASELINES, *ALS, *SGD)}
"""Every model by its name."""

MANIFEST = "model.json"
"""The file of a fitted model that is written last."""


def spec_of(name: str) -> ModelSpec:
    """The spec of a model.

    Raises:
        UsageError: if there is no such model.
    """
    if name not in SPECS:
        raise UsageError(f"there is no model {name!r}", hint=f"the models are {', '.join(SPECS)}")
    return SPECS[name]


def build(name: str, sections: Mapping[str, Section], *, scale: Scale | None = None) -> Model:
    """The model of that name.

    Args:
        name: one of `SPECS`.
        sections: its sections of the settings by name, and perhaps others; one that is missing has
            its defaults.
        scale: of the ratings; None: 0.5 to 5.

    Raises:
        UsageError: if there is no such model.
    """
    spec = spec_of(name)
    own = {key: sections.get(key) or kind() for key, kind in spec.sections.items()}
    return spec.build(Sections(own, scale or Scale()))


def load(folder: Folder) -> FittedModel:
    """The fitted model that `save` wrote to `folder`.

    Raises:
        UsageError: if there is none, or not a whole one: model.json is written last.
        InputError: if its model.json cannot be read.
    """
    if not folder.exists(MANIFEST):
        raise UsageError(f"{folder.uri}: no fitted model", hint="train it first")
    manifest = folder.read_json(MANIFEST)
    try:
        spec = spec_of(manifest["name"])
        options = LoadOptions(manifest, _refit_config(spec, manifest["settings"]), load)
    except (KeyError, TypeError, ValidationError, UsageError) as error:
        raise InputError(
            f"{folder.path(MANIFEST)}: not a model of this version of recpipe ({error})",
            hint="fit it again",
        ) from error
    return spec.load(folder, options)


def _refit_config(spec: ModelSpec, saved: Mapping[str, Any]) -> Model:
    sections = {key: kind.model_validate(saved[key]) for key, kind in spec.sections.items()}
    scale = saved.get("ingest", {}).get("rating_scale")
    return build(spec.name, sections, scale=None if scale is None else Scale.model_validate(scale))


__all__ = ["MANIFEST", "SPECS", "build", "load", "spec_of"]
