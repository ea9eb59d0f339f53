"""Every model of `train.models`, fitted on train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe.stages.context import Context, folds_of, of_fold, stage
from recpipe.stages.fit import FALLBACK, fall_back, fit, load, new_model, parts_of, training_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recpipe import split as splits
    from recpipe.storage import Run


def train(context: Context, run: Run) -> None:
    """Every model of `train.models`, fitted on train; `sgd` in place of those that fail."""
    with stage(context, run, "train"):
        run.record(models={}, fallbacks=[])
        folds = folds_of(context, run)
        waiting = _in_order(context)
        while waiting:
            name = waiting.pop(0)
            try:
                fits = [_train_one(context, run, name, parts) for parts in folds]
            except Exception as error:  # noqa: BLE001 - whatever it was, settings say what follows
                fall_back(context, run, name, error)
                if FALLBACK not in run.manifest["models"] and FALLBACK not in waiting:
                    waiting.append(FALLBACK)
            else:
                run.add("models", {name: {"folds": fits}})


def _in_order(context: Context) -> list[str]:
    """The models in the order of the settings, but for those that need others fitted: last."""
    names: Sequence[str] = context.settings.train.models
    return sorted(names, key=lambda name: bool(parts_of(new_model(context, name), names)))


def _train_one(context: Context, run: Run, name: str, parts: splits.SplitParts) -> dict[str, Any]:
    trained: dict[str, Any] = run.manifest["models"]
    model = new_model(context, name)
    place = of_fold(run.folder / "models" / name, parts.fold)
    fold = parts.fold or 0
    fitted = {
        part: load(context, trained[part]["folds"][fold]["path"])
        for part in parts_of(model, list(trained))
    }
    data = training_data(
        context,
        run,
        parts.stored["train"],
        as_of=parts.cutoffs.get("validation_from", context.end),
        validation=parts.stored["validation"],
        fitted=fitted,
    )
    return fit(context, model, data, place)
