"""Where the fitted models are weak: their metrics by kinds of users and items."""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe import evaluation
from recpipe.evaluation.metrics import metric_at
from recpipe.runtime.parallel import run_all
from recpipe.spark.interactions import frame_of
from recpipe.stages.context import Context, of_fold, times
from recpipe.stages.fit import item_features
from recpipe.stages.held_out import relevance_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe import split as splits
    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.models.base import FittedModel
    from recpipe.storage import Run, Stored

_USUAL_K = 10


def subgroups(
    context: Context,
    run: Run,
    parts: splits.SplitParts,
    models: Mapping[str, FittedModel],
    *,
    facts: ItemFacts,
) -> list[dict[str, Any]]:
    """The rows of subgroups.json, of one fold that has been evaluated.

    On validation, whose lists no table keeps, kinds of users alone are told apart.

    Args:
        context: of the stage.
        run: whose tables of lists and of users' values are read.
        parts: of the fold.
        models: by name, as fitted on the fold.
        facts: what is known of items.
    """
    settings = context.settings.evaluate
    usual = _USUAL_K if _USUAL_K in settings.ks else settings.ks[0]
    k = metric_at(settings.metric)[1] or usual
    instant = parts.asked_at("test") if times(run) == "some" else None
    train = parts.stored["train"].frame
    items = evaluation.item_groups(train.sparkSession, facts, item_features(context, run).genres())
    threshold = relevance_threshold(context, run)
    values = of_fold(run.folder / "user_metrics", parts.fold)
    lists = {name: _lists(run, name, parts.fold) for name in models}
    rows = partial(
        evaluation.subgroup_rows,
        users=evaluation.user_groups(train, asked_at=instant),
        items=items,
        k=k,
    )
    work = [
        partial(
            rows,
            values.read_table(part),
            lists if part == "test" else {},
            frame_of(evaluation.relevant_pairs(parts.stored[part], threshold)),
            _errors(models, parts.stored[part]) if part == "test" else None,
            split=part,
        )
        for part in ("validation", "test")
        if values.has_table(part)
    ]
    return [row.as_dict() for found in run_all(work) for row in found]


def _lists(run: Run, name: str, fold: int | None) -> Stored:
    folder = run.folder / "evaluation"
    return folder.stored(name) if fold is None else (folder / name).stored(f"fold={fold}")


def _errors(models: Mapping[str, FittedModel], held_out: Stored) -> DataFrame | None:
    """(model, user, item, error) of every predicted pair; None where no model predicts ratings."""
    rated = held_out.frame.select("user", "item", "rating")
    errors = [
        frame_of(model.predict(held_out))
        .join(rated, ["user", "item"])
        .select(
            F.lit(name).alias("model"),
            "user",
            "item",
            (F.col("prediction") - F.col("rating")).cast("double").alias("error"),
        )
        for name, model in models.items()
        if model.predicts_ratings
    ]
    return reduce(DataFrame.unionByName, errors) if errors else None
