"""The chosen model on all ratings, and its lists for every user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recpipe import recommend as recommending
from recpipe.contracts import RECOMMENDATIONS
from recpipe.errors import UsageError
from recpipe.models.registry import spec_of
from recpipe.stages.context import Context, stage, stored, table
from recpipe.stages.fit import FALLBACK, fall_back, fit, load, new_model

if TYPE_CHECKING:
    from recpipe.models.base import FittedModel, Model
    from recpipe.storage import Run, Stored

FILLER = "popularity"
"""The model that fills short lists and serves cold users."""


def recommend(context: Context, run: Run) -> None:
    """The chosen model on all ratings, and its lists for every user, filled up by popularity."""
    settings = context.settings
    if "chosen" not in run.manifest:
        raise UsageError(f"run {run.id} has not been evaluated", hint="run `recpipe evaluate`")
    with stage(context, run, "recommend"):
        # What an earlier try noted, but not what `train` did: models that it could not fit.
        kept = [e for e in run.manifest["fallbacks"] if e["failed"] not in run.manifest["models"]]
        run.record(fallbacks=kept)
        ratings = stored(context, run, "ratings")
        name, model = _final_model(context, run, ratings)

        def filler() -> FittedModel:
            if name == FILLER and settings.recommend.refit:
                return model
            return _refit(context, run, new_model(context, run, FILLER), ratings)

        with (
            context.progress.stage("rank", f"{name}, all users"),
            context.root.scratch("lists") as scratch,
        ):
            lists = recommending.recommend_all(
                model,
                filler,
                ratings=ratings,
                n=settings.recommend.n,
                source=name,
                scratch=scratch,
                most_users=run.manifest["input"]["users"]["total"],
            )
            output = recommending.to_output(
                lists,
                users=table(context, run, "users"),
                items=table(context, run, "items"),
                run_date=context.run_date,
            )
            (run.folder / "recommendations").write_table(name, output, contract=RECOMMENDATIONS)
        run.record(recommended=name)


def _final_model(context: Context, run: Run, ratings: Stored) -> tuple[str, FittedModel]:
    """Name and model of the lists; `sgd` where the chosen one cannot be fitted again."""
    name = run.manifest["chosen"]["model"]
    judged = _judged_model(context, run, name)
    if not context.settings.recommend.refit:
        return name, judged
    try:
        return name, _refit(context, run, judged.refit(), ratings)
    except Exception as error:  # noqa: BLE001 - whatever it was, settings say what follows
        fall_back(context, run, name, error)
    known = FALLBACK in run.manifest["models"]
    again = (
        _judged_model(context, run, FALLBACK).refit()
        if known
        else new_model(context, run, FALLBACK)
    )
    return FALLBACK, _refit(context, run, again, ratings)


def _judged_model(context: Context, run: Run, name: str) -> FittedModel:
    """A model as it was judged; with k-fold that of the fold which stands for all.

    Raises:
        UsageError: if k-fold left no single judged model and none is to be fitted again.
    """
    folds = run.manifest["models"][name]["folds"]
    if len(folds) > 1 and not context.settings.recommend.refit:
        raise UsageError(
            "k-fold judges a model for each fold, none for all users", hint="set recommend.refit"
        )
    place = spec_of(name).representative_fold([fit["info"] for fit in folds])
    return load(context, folds[place]["path"])


def _refit(context: Context, run: Run, model: Model, ratings: Stored) -> FittedModel:
    entry = fit(context, model, ratings, run.folder / "final" / model.name)
    run.add("final", {model.name: entry})
    return load(context, entry["path"])
