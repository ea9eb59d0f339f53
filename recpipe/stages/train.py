"""Every model of `train.models`, fitted on train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recpipe.stages.context import Context, folds_of, of_fold, stage
from recpipe.stages.fit import FALLBACK, fall_back, fit, new_model

if TYPE_CHECKING:
    from recpipe import split as splits
    from recpipe.storage import Run


def train(context: Context, run: Run) -> None:
    """Every model of `train.models`, fitted on train; `sgd` in place of those that fail."""
    with stage(context, run, "train"):
        run.record(models={}, fallbacks=[])
        folds = folds_of(context, run)
        waiting: list[str] = list(context.settings.train.models)
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


def _train_one(context: Context, run: Run, name: str, parts: splits.SplitParts) -> dict[str, Any]:
    return fit(
        context,
        new_model(context, run, name),
        parts.stored["train"],
        of_fold(run.folder / "models" / name, parts.fold),
        validation=parts.stored["validation"],
    )
