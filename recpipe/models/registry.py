"""From a model's name to the model, and from a folder to the fitted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from recpipe.errors import InputError, UsageError
from recpipe.models.als.mllib import ExplicitAls, ImplicitAls
from recpipe.models.baselines.biases import Biases
from recpipe.models.baselines.simple import Mean, Popularity, Random, RandomModel
from recpipe.models.factors import MANIFEST, FactorModel
from recpipe.settings import MODELS, Scale, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.models.base import FittedModel, Model
    from recpipe.storage import Folder


def build(name: str, settings: Settings, *, scale: Scale | None = None) -> Model:
    """The model of that name, with its sections of the settings.

    Args:
        name: one of `settings.MODELS`.
        settings: all settings.
        scale: of the ratings; None: `ingest.rating_scale`, or else 0.5 to 5.

    Raises:
        UsageError: if there is no such model.
    """
    if name not in _BUILDERS:
        raise UsageError(f"there is no model {name!r}", hint=f"the models are {', '.join(MODELS)}")
    return _BUILDERS[name](settings, scale or settings.ingest.rating_scale or Scale())


def _sgd(settings: Settings, scale: Scale) -> Model:
    # Its kernels are compiled on import: other models need not wait for them.
    from recpipe.models.sgd.model import Sgd

    return Sgd(settings.sgd, scale)


def _block_als(settings: Settings, scale: Scale) -> Model:
    from recpipe.models.als.block.model import BlockAls

    return BlockAls(settings.block_als, scale)


def _block_als_implicit(settings: Settings, scale: Scale) -> Model:
    from recpipe.models.als.block.model import BlockAlsImplicit

    return BlockAlsImplicit(settings.block_als_implicit, scale)


_BUILDERS: dict[str, Callable[[Settings, Scale], Model]] = {
    "als_explicit": lambda s, scale: ExplicitAls(s.als, s.als_explicit, scale),
    "als_implicit": lambda s, scale: ImplicitAls(s.als, s.als_implicit, scale),
    "nmf": lambda s, scale: ExplicitAls(s.als, s.nmf, scale, non_negative=True),
    "block_als": _block_als,
    "block_als_implicit": _block_als_implicit,
    "sgd": _sgd,
    "popularity": lambda _, __: Popularity(),
    "biases": lambda s, scale: Biases(s.biases, scale),
    "mean": lambda _, scale: Mean(scale),
    "random": lambda _, __: Random(),
}


def load(folder: Folder, *, max_broadcast_mb: int = 1024) -> FittedModel:
    """The fitted model that `save` wrote to `folder`.

    Args:
        folder: of one model.
        max_broadcast_mb: `recommend.max_broadcast_mb` of now; it is no part of the model.

    Raises:
        UsageError: if there is none, or not a whole one: model.json is written last.
        InputError: if its model.json cannot be read.
    """
    if not folder.exists(MANIFEST):
        raise UsageError(f"{folder.uri}: no fitted model", hint="train it first")
    manifest = folder.read_json(MANIFEST)
    kinds: dict[Any, type[FactorModel] | type[RandomModel]] = {
        "factors": FactorModel,
        "random": RandomModel,
    }
    try:
        kind = kinds[manifest["kind"]]
        again = build(manifest["name"], Settings.model_validate(manifest["settings"]))
    except (KeyError, TypeError, ValidationError, UsageError) as error:
        raise InputError(
            f"{folder.path(MANIFEST)}: not a model of this version of recpipe ({error})",
            hint="fit it again",
        ) from error
    return kind.load(folder, manifest, again=again, max_broadcast_mb=max_broadcast_mb)


__all__ = ["build", "load"]
