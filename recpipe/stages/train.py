"""Every model of `train.models`, fitted on train."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recpipe.errors import FitError, UsageError
from recpipe.models.registry import check_extras, components_of, spec_of
from recpipe.stages.context import Context, folds_of, of_fold, scale, stage
from recpipe.stages.fit import (
    FALLBACK,
    fit,
    load,
    new_model,
    note_failure,
    training_data,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recpipe import split as splits
    from recpipe.storage import Run

logger = logging.getLogger(__name__)


def train(context: Context, run: Run) -> None:
    """Every model of `train.models`, fitted on train; what fails does not end the run.

    Raises:
        Exception: that of the last model, where none could be fitted, or of one that is needed.
        MissingError: if what the fit of one needs is not installed; nothing is fitted then.
    """
    settings = context.settings
    check_extras(settings.train.models)
    with stage(context, run, "train"):
        run.record(models={}, fallbacks=[], failed=[])
        folds = folds_of(context, run)
        waiting = _in_order(context, run)
        while waiting:
            name = waiting.pop(0)
            try:
                fits = [_train_one(context, run, name, parts) for parts in folds]
            except Exception as error:  # noqa: BLE001 - whatever it was, settings say what follows
                needed = (
                    settings.train.on_failure == "stop"
                    or name in _to_publish(context, run)
                    or not (waiting or run.manifest["models"])
                )
                replaced = note_failure(context, run, name, error, needed=needed)
                if replaced and FALLBACK not in [*run.manifest["models"], *waiting]:
                    waiting.append(FALLBACK)
            else:
                run.add("models", {name: {"folds": fits}})


def _to_publish(context: Context, run: Run) -> set[str]:
    """The model that `publish.model` names, and what takes its place once it has failed."""
    named = context.settings.publish.model
    replaced = named in {entry["failed"] for entry in run.manifest["fallbacks"]}
    return {named, FALLBACK} if replaced else {named}


def _in_order(context: Context, run: Run) -> list[str]:
    """The models to fit, in the order of the settings; those that need other fitted models last.

    With implicit feedback models that need ratings are left out.

    Raises:
        UsageError: if none of them can learn from the feedback of the source.
    """
    names: Sequence[str] = context.settings.train.models
    if scale(run) is None:
        left_out = [name for name in names if spec_of(name).needs_ratings]
        names = [name for name in names if name not in left_out]
        if left_out:
            logger.info(
                "the feedback is implicit: models that predict ratings are not fitted: %s",
                ", ".join(left_out),
            )
        if not names or context.settings.publish.model in left_out:
            raise UsageError(
                f"the feedback is implicit, and {', '.join(left_out)} predict ratings",
                hint="fit block_als_implicit, ease or popularity, or set ingest.feedback=explicit",
            )
    sections = dict(context.settings)
    return sorted(names, key=lambda name: bool(components_of(name, sections, names)))


def _train_one(context: Context, run: Run, name: str, parts: splits.SplitParts) -> dict[str, Any]:
    trained: dict[str, Any] = run.manifest["models"]
    model = new_model(context, name)
    place = of_fold(run.folder / "models" / name, parts.fold)
    fold = parts.fold or 0
    needed = components_of(name, model.sections(), list(trained))
    if missing := [other for other in needed if other not in trained]:
        raise FitError(f"{name}: {missing[0]} was not fitted", hint=f"see why {missing[0]} failed")
    fitted = {other: load(context, trained[other]["folds"][fold]["path"]) for other in needed}
    data = training_data(
        context,
        run,
        parts.stored["train"],
        as_of=parts.asked_at("validation") or context.end,
        validation=parts.stored["validation"],
        fitted=fitted,
    )
    return fit(context, model, data, place)
