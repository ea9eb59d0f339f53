"""Evaluate every fitted model, and choose the one to publish."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from recpipe import evaluation
from recpipe.contracts import EVALUATION
from recpipe.runtime.parallel import run_all
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import frame_of
from recpipe.split.parts import TEST, VALIDATION
from recpipe.stages.context import Context, counts_of, folds_of, of_fold, stage
from recpipe.stages.fit import FALLBACK, fitted_models, item_features, load
from recpipe.stages.held_out import held_out
from recpipe.stages.subgroups import subgroup_document, subgroups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame

    from recpipe import split as splits
    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.models.base import FittedModel
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder, Run

logger = logging.getLogger(__name__)


def evaluate(context: Context, run: Run) -> None:
    """Evaluate every fitted model on validation and test, and choose the one to publish."""
    with stage(context, run, "evaluate"):
        names = fitted_models(run)
        failed = run.manifest.get("failed") or ()
        rows: list[evaluation.MetricRow] = []
        weak: list[evaluation.SubgroupRow] = []
        for number, parts in enumerate(folds_of(context, run)):
            models = {
                name: load(context, run.manifest["models"][name]["folds"][number]["path"])
                for name in names
            }
            facts = _facts(context, run, parts, models)
            before_test = [parts.train]
            if context.settings.evaluate.exclude == "train+validation":
                before_test.append(parts.validation)
            measure = partial(_metrics_of, context, run, models, parts, facts=facts)
            with subgroups(context, run, parts, facts, weak.extend) as asked:
                of_users = asked and asked.without_items()
                work = [
                    partial(measure, "validation", [parts.train], subgroups=of_users),
                    partial(measure, "test", before_test, subgroups=asked),
                ]
                rows += [row for found in run_all(work) for row in found]
        with context.progress.stage("intervals"):
            rows = evaluation.with_intervals(rows, seed=context.settings.seed)
            pairs = {part: _differences(context, rows, part) for part in (VALIDATION, TEST)}
        told = [pair.as_dict() for found in pairs.values() for pair in found]
        document = evaluation.document(rows, differences=told, failed=failed)
        run.folder.write_json("subgroups.json", subgroup_document(weak))
        run.folder.write_json("metrics.json", document)
        choice = _choice(context, run, rows, pairs[VALIDATION])
        run.record(metrics="metrics.json", chosen=choice.as_dict())


def _facts(
    context: Context, run: Run, parts: splits.SplitParts, models: Mapping[str, FittedModel]
) -> ItemFacts:
    """What is known of items where a fold is evaluated.

    The vectors are those of the first model of `publish.prefer`, or else of any, that has some.
    """
    train = parts.stored["train"]
    preferred = [name for name in context.settings.publish.prefer if name in models]
    vectors = (models[name].item_vectors() for name in dict.fromkeys([*preferred, *models]))
    return evaluation.item_facts(
        train,
        items=run.manifest["input"]["items"]["total"],
        users=counts_of(run, parts)["train"]["users"],
        genres=item_features(context, run).genres(),
        vectors=next((found for found in vectors if found is not None), None),
    )


def _differences(
    context: Context, rows: Sequence[evaluation.MetricRow], part: str
) -> list[evaluation.Difference]:
    """How models differ on a part by the metric of the choice."""
    metric, seed = context.settings.evaluate.metric, context.settings.seed
    return evaluation.differences(rows, metric=metric, split=part, seed=seed)


def _metrics_of(
    context: Context,
    run: Run,
    models: Mapping[str, FittedModel],
    parts: splits.SplitParts,
    part: str,
    before: Sequence[DataFrame],
    *,
    facts: ItemFacts,
    subgroups: evaluation.Subgroups | None,
) -> list[evaluation.MetricRow]:
    """Metrics of every model on one part of one fold.

    Args:
        context: of the stage.
        run: that is evaluated.
        models: by name, as fitted on the fold.
        parts: of the fold.
        part: the one that they are evaluated on.
        before: the parts whose items are no candidates.
        facts: what is known of items.
        subgroups: are told how the models do on them; of validation kinds of users alone.
    """
    settings = context.settings.evaluate
    with held_out(context, run, parts, part, before) as held:
        lists: dict[str, Interactions] = {
            name: held.lists(model, n=max(settings.ks)) for name, model in models.items()
        }
        if part == "test":
            keep = partial(_kept, context, run, parts.fold, lists)
            run_all([partial(keep, name) for name in models])
        # Lists that no table keeps are made where their metrics are.
        with context.progress.stage("metrics" if part == "test" else "rank, metrics", part):
            predictions = {
                name: held.predictions(model)
                for name, model in models.items()
                if model.predicts_ratings
            }
            rating = partial(
                evaluation.rating_metrics,
                predictions,
                held.rows,
                split=part,
                fold=parts.fold,
                users=counts_of(run, parts)[part]["users"],
                subgroups=subgroups if part == "test" else None,
            )
            ranking = partial(
                evaluation.ranking_metrics,
                lists,
                held.rows,
                ks=settings.ks,
                relevance_threshold=held.relevance_threshold,
                users=held.count,
                seen=held.seen,
                split=part,
                fold=parts.fold,
                facts=facts,
                keep=partial(of_fold(run.folder / "user_metrics", parts.fold).write_table, part),
                subgroups=subgroups,
            )
            return [row for found in run_all([rating, ranking]) for row in found]


def _kept(
    context: Context, run: Run, fold: int | None, lists: dict[str, Interactions], name: str
) -> None:
    """Write the lists of one model to their table, and have it stand for them in `lists`."""
    place, table = _table_of_fold(run.folder / "evaluation", name, fold)
    rows = frame_of(lists[name]).select(*EVALUATION.columns)
    with context.progress.stage("rank", f"{name}, test"), narrow_rows(rows.sparkSession):
        place.write_table(table, rows, contract=EVALUATION)
    lists[name] = place.stored(table)


def _choice(
    context: Context,
    run: Run,
    rows: Sequence[evaluation.MetricRow],
    pairs: Sequence[evaluation.Difference],
) -> evaluation.Choice:
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
        pairs=pairs,
    )
    logger.info("publishing %s", choice)
    for warning in choice.warnings:
        logger.warning("%s", warning)
    return choice


def _table_of_fold(folder: Folder, name: str, fold: int | None) -> tuple[Folder, str]:
    return (folder, name) if fold is None else (folder / name, f"fold={fold}")
