"""Fitting, saving and loading models, and what takes the place of one that fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recpipe.errors import UsageError
from recpipe.models import registry
from recpipe.models.data import ItemFeatures, TrainingData, UserFeatures
from recpipe.models.registry import spec_of
from recpipe.runtime import signals
from recpipe.stages.context import Context, scale, table, times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from pyspark.sql import DataFrame

    from recpipe.models.base import FittedModel, Model
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder, Run

logger = logging.getLogger(__name__)

FALLBACK = "sgd"
"""The model that takes the place of one that cannot be fitted."""


def new_model(context: Context, name: str) -> Model:
    """The model of that name by the settings of the run."""
    return registry.build(name, dict(context.settings))


def training_data(
    context: Context,
    run: Run,
    ratings: Interactions,
    *,
    as_of: datetime,
    validation: Interactions | None = None,
    fitted: Mapping[str, FittedModel] | None = None,
) -> TrainingData:
    """What a fit may see of a run.

    Args:
        context: of the stage.
        run: whose tables hold what is known of items and users.
        ratings: to be fitted.
        as_of: the instant that lists are asked for; what is known only from then on is left out.
        validation: held out, or None.
        fitted: models for a model that scores by them.

    Raises:
        UsageError: if ratings are to weigh less the older they are, and none is older than another.
    """
    half_life = context.settings.train.half_life
    if half_life is not None and times(run) != "some":
        what = "have no instants" if times(run) == "none" else "are all of one instant"
        raise UsageError(
            f"train.half_life: the ratings of the source {what}", hint="leave train.half_life out"
        )
    return TrainingData(
        ratings=ratings,
        validation=validation,
        items=item_features(context, run, as_of=as_of),
        users=UserFeatures(_tables(context, run)),
        fitted=fitted or {},
        scale=scale(run),
        as_of=as_of,
        half_life=half_life,
    )


def item_features(context: Context, run: Run, *, as_of: datetime | None = None) -> ItemFeatures:
    """What the source of a run says of items; what was said from `as_of` on is left out."""
    return ItemFeatures(_tables(context, run), as_of)


def _tables(context: Context, run: Run) -> Callable[[str], DataFrame | None]:
    """The run's table of a name, or None where the source had none."""

    def known(name: str) -> DataFrame | None:
        return table(context, run, name) if name in run.manifest["tables"] else None

    return known


def fit(context: Context, model: Model, data: TrainingData, folder: Folder) -> dict[str, Any]:
    """Fit a model, save it to the folder, and return what the manifest says of it."""
    with (
        context.progress.stage("fit", model.name) as timer,
        context.root.scratch(model.name) as scratch,
    ):
        fitted = model.fit(data, scratch=scratch, seed=context.settings.seed)
        folder.delete()
        if context.models_dir is not None:
            fitted.save(context.models_dir / context.root.relative(folder.uri))
        info = dict(fitted.info())
        fitted.save(folder, move=True)
    return {
        "path": context.root.relative(folder.uri),
        "files": [context.root.relative(file) for file in folder.files()],
        "seconds": timer.seconds,
        "seed": context.settings.seed,
        "info": info,
    }


def load(context: Context, path: str) -> FittedModel:
    """The fitted model at a path relative to the root."""
    limit = context.settings.recommend.max_broadcast_mb
    return registry.load(context.root / path, max_broadcast_mb=limit)


def evaluated_model(context: Context, run: Run, name: str) -> FittedModel:
    """A model as it was evaluated; with k-fold that of the fold which stands for all.

    Raises:
        UsageError: with k-fold, where no model is to be fitted on all ratings.
    """
    folds = run.manifest["models"][name]["folds"]
    if len(folds) > 1 and not context.settings.recommend.refit:
        raise UsageError(
            "k-fold fits a model for each fold and none on all ratings",
            hint="set recommend.refit=true",
        )
    place = spec_of(name).representative_fold([fit["info"] for fit in folds])
    return load(context, folds[place]["path"])


def latest_fit(context: Context, run: Run, name: str) -> FittedModel:
    """A model as it was fitted on all ratings, or where it was not, as it was evaluated.

    Raises:
        UsageError: as `evaluated_model`.
    """
    final = run.manifest.get("final") or {}
    if name in final:
        return load(context, final[name]["path"])
    return evaluated_model(context, run, name)


def fitted_models(run: Run) -> list[str]:
    """The models that were fitted, in the order of their fits."""
    if not run.manifest.get("models"):
        raise UsageError(f"run {run.id} has no fitted model", hint="run `recpipe train` first")
    return list(run.manifest["models"])


def note_failure(context: Context, run: Run, name: str, error: Exception, *, needed: bool) -> bool:
    """Note in log and manifest that a model could not be fitted; returns whether `sgd` replaces it.

    Args:
        context: of the stage.
        run: to whose manifest it is added.
        name: of the model.
        error: that ended its fit.
        needed: whether the run cannot go on where nothing takes the place of the model.

    Raises:
        Exception: `error`, where the run is to end with it, or where it is no failure of one fit:
            settings that make no sense, or a signal.
    """
    # `sgd` needs explicit ratings: without these nothing takes the place of a model.
    able = scale(run) is not None
    failed = {name, *(entry["model"] for entry in run.manifest.get("failed") or ())}
    replaced = able and FALLBACK not in failed and name in context.settings.train.fallback_for
    must_end_run = isinstance(error, UsageError) or signals.received() is not None
    if must_end_run or (needed and not replaced):
        raise error
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    then = f"with {FALLBACK}" if replaced else "without it"
    logger.warning("%s could not be fitted; going on %s: %s", name, then, said)
    logger.debug("the fit of %s failed", name, exc_info=error)
    if replaced:
        entry = {"failed": name, "used": FALLBACK, "error": said}
        run.record(fallbacks=[*run.manifest["fallbacks"], entry])
    else:
        run.record(failed=[*run.manifest["failed"], {"model": name, "error": said}])
    return replaced
