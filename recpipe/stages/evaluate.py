"""Evaluate every fitted model, and choose the one to publish."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from recpipe import evaluation
from recpipe.contracts import EVALUATION
from recpipe.models.registry import spec_of
from recpipe.runtime.parallel import run_all
from recpipe.spark.held import narrow_rows
from recpipe.split.parts import PARTS
from recpipe.stages.context import Context, folds_of, of_fold, stage
from recpipe.stages.fit import FALLBACK, fitted_models, item_features, load
from recpipe.stages.held_out import held_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recpipe import split as splits
    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.models.base import FittedModel
    from recpipe.spark.interactions import Interactions
    from recpipe.stages.held_out import HeldOut
    from recpipe.storage import Folder, Run

logger = logging.getLogger(__name__)


def evaluate(context: Context, run: Run) -> None:
    """Evaluate every fitted model on validation and test, and choose the one to publish."""
    with stage(context, run, "evaluate"):
        names = fitted_models(run)
        failed = run.manifest.get("failed") or ()
        rows: list[evaluation.MetricRow] = []
        run.folder.delete("evaluation")
        run.folder.delete("user_metrics")
        run.folder.delete("metrics.json")
        for number, parts in enumerate(folds_of(context, run)):
            models = {
                name: load(context, run.manifest["models"][name]["folds"][number]["path"])
                for name in names
            }
            facts = _facts(context, run, parts, models)
            for part, before in (
                ("validation", [parts.train]),
                ("test", [parts.train, parts.validation]),
            ):
                with held_out(context, run, parts, part, before) as asked:
                    rows += _metrics_of(context, run, models, asked, facts=facts)
        with context.progress.stage("intervals"):
            rows = evaluation.with_intervals(rows, seed=context.settings.seed)
            pairs = [pair for part in PARTS[1:] for pair in _differences(context, rows, part)]
        document = evaluation.document(rows, differences=pairs, failed=failed)
        run.folder.write_json("metrics.json", document)
        run.record(metrics="metrics.json", chosen=_choice(context, run, rows).as_dict())


def _facts(
    context: Context, run: Run, parts: splits.SplitParts, models: Mapping[str, FittedModel]
) -> ItemFacts:
    """What is known of items where a fold is evaluated.

    The vectors are those of the first model of `publish.prefer`, or else of any, that has some.
    """
    train = parts.stored["train"]
    counts = run.manifest["split"]["parts"][parts.fold or 0]["parts"]["train"]
    preferred = [name for name in context.settings.publish.prefer if name in models]
    vectors = (models[name].item_vectors() for name in dict.fromkeys([*preferred, *models]))
    return evaluation.item_facts(
        train,
        items=run.manifest["input"]["items"]["total"],
        users=counts["users"],
        genres=item_features(context, run).genres(),
        vectors=next((found for found in vectors if found is not None), None),
    )


def _differences(
    context: Context, rows: Sequence[evaluation.MetricRow], part: str
) -> list[dict[str, Any]]:
    """What metrics.json says of pairs of models."""
    metric, seed = context.settings.evaluate.metric, context.settings.seed
    found = evaluation.differences(rows, metric=metric, split=part, seed=seed)
    return [pair.as_dict() for pair in found]


def _metrics_of(
    context: Context,
    run: Run,
    models: Mapping[str, FittedModel],
    held: HeldOut,
    *,
    facts: ItemFacts,
) -> list[evaluation.MetricRow]:
    """Metrics of every model on one part of one fold.

    Args:
        context: of the stage.
        run: that is evaluated.
        models: by name, as fitted on the fold.
        held: the part that they are evaluated on.
        facts: what is known of items.
    """
    settings, part = context.settings.evaluate, held.part
    lists: dict[str, Interactions] = {}
    for name, model in models.items():
        ranked = held.lists(model, n=max(settings.ks))
        lists[name] = ranked
        if part == "test":
            place, table = _table_of_fold(run.folder / "evaluation", name, held.fold)
            rows = ranked.frame.select(*EVALUATION.columns)
            with context.progress.stage("rank", f"{name}, {part}"), narrow_rows(rows.sparkSession):
                place.write_table(table, rows, contract=EVALUATION)
            lists[name] = place.stored(table)
    # Lists that no table keeps are made where their metrics are.
    with context.progress.stage("metrics" if part == "test" else "rank, metrics", part):
        predictions = {
            name: held.predictions(model)
            for name, model in models.items()
            if spec_of(name).predicts_ratings
        }
        rating = partial(
            evaluation.rating_metrics, predictions, held.rows, split=part, fold=held.fold
        )
        ranking = partial(
            evaluation.ranking_metrics,
            lists,
            held.rows,
            ks=settings.ks,
            relevance_threshold=held.relevance_threshold,
            users=held.count,
            split=part,
            fold=held.fold,
            facts=facts,
            keep=partial(of_fold(run.folder / "user_metrics", held.fold).write_table, part),
        )
        return [row for found in run_all([rating, ranking]) for row in found]


def _choice(context: Context, run: Run, rows: Sequence[evaluation.MetricRow]) -> evaluation.Choice:
    """The model to publish: by name, or the best on validation; `sgd` for one that failed."""
    wanted: str = context.settings.publish.model
    if wanted in {entry["failed"] for entry in run.manifest["fallbacks"]}:
        wanted = FALLBACK
    choice = evaluation.choose(
        rows,
        metric=context.settings.evaluate.metric,
        models=fitted_models(run),
        prefer=context.settings.publish.prefer,
        named=None if wanted == "auto" else wanted,
        seed=context.settings.seed,
    )
    logger.info("publishing %s", choice)
    for warning in choice.warnings:
        logger.warning("%s", warning)
    return choice


def _table_of_fold(folder: Folder, name: str, fold: int | None) -> tuple[Folder, str]:
    return (folder, name) if fold is None else (folder / name, f"fold={fold}")
