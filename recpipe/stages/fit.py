"""Fitting, saving and loading models, and what takes the place of one that fails."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError
from recpipe.models import registry
from recpipe.runtime import signals
from recpipe.stages.context import Context, scale

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.storage import Folder, Run, Stored

logger = logging.getLogger(__name__)

FALLBACK = "sgd"
"""The model that takes the place of one that cannot be fitted."""


def new_model(context: Context, run: Run, name: str) -> Model:
    """The model of that name by the settings of the run."""
    return registry.build(name, dict(context.settings), scale=scale(run))


def fit(
    context: Context,
    model: Model,
    ratings: Stored,
    folder: Folder,
    *,
    validation: Stored | None = None,
) -> dict[str, Any]:
    """Fit a model, save it to the folder, and return what the manifest says of it."""
    with (
        context.progress.stage("fit", model.name) as timer,
        context.root.scratch(model.name) as scratch,
    ):
        fitted = model.fit(
            ratings, validation=validation, scratch=scratch, seed=context.settings.seed
        )
        folder.delete()
        fitted.save(folder)
        if context.models_dir is not None:
            fitted.save(context.models_dir / context.root.relative(folder.uri))
    return {
        "path": context.root.relative(folder.uri),
        "files": [context.root.relative(file) for file in folder.files()],
        "seconds": timer.seconds,
        "seed": context.settings.seed,
        "info": dict(fitted.info()),
    }


def load(context: Context, path: str) -> FittedModel:
    """The fitted model at a path relative to the root."""
    fitted: Any = registry.load(context.root / path)
    return replace(fitted, max_broadcast_mb=context.settings.recommend.max_broadcast_mb)  # type: ignore[no-any-return]


def fitted_models(run: Run) -> list[str]:
    """The models that were fitted, in the order of their fits."""
    if not run.manifest.get("models"):
        raise UsageError(f"run {run.id} has no fitted model", hint="run `recpipe train` first")
    return list(run.manifest["models"])


def fall_back(context: Context, run: Run, name: str, error: Exception) -> None:
    """Note that `sgd` takes the place of a model; raise where settings do not allow it."""
    wanted = name in context.settings.train.fallback_for and name != FALLBACK
    # Settings that make no sense are no failure of a fit.
    if not wanted or isinstance(error, UsageError) or signals.received():
        raise error
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    logger.warning("%s could not be fitted; going on with %s: %s", name, FALLBACK, said)
    logger.debug("the fit of %s failed", name, exc_info=error)
    entry = {"failed": name, "used": FALLBACK, "error": said}
    run.record(fallbacks=[*run.manifest["fallbacks"], entry])
