"""Evaluate every fitted model, and choose the one to publish."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recpipe import evaluation
from recpipe import split as splits
from recpipe.contracts import EVALUATION
from recpipe.feedback import liked_from
from recpipe.models.registry import spec_of
from recpipe.ranking.pairs import packed_pairs
from recpipe.runtime.parallel import run_all
from recpipe.spark.held import cached, narrow_rows
from recpipe.spark.interactions import frame_of
from recpipe.split.parts import PARTS
from recpipe.stages.context import Context, folds_of, of_fold, scale, stage, unrated
from recpipe.stages.fit import FALLBACK, fitted_models, item_features, load
from recpipe.stages.subgroups import subgroups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.models.base import FittedModel
    from recpipe.spark.interactions import Interactions
    from recpipe.storage import Folder, Run

logger = logging.getLogger(__name__)

# Strategies by which every held-out item is relevant, whatever its rating (docs/contracts.md).
_EVERY_HELD_OUT_ITEM_IS_RELEVANT = frozenset({"leave_one_out", "last_n"})


def evaluate(context: Context, run: Run) -> None:
    """Evaluate every fitted model on validation and test, and choose the one to publish."""
    with stage(context, run, "evaluate"):
        names = fitted_models(run)
        failed = run.manifest.get("failed") or ()
        rows: list[evaluation.MetricRow] = []
        weak: list[dict[str, Any]] = []
        threshold = _relevance_threshold(context, run)
        run.folder.delete("evaluation")
        run.folder.delete("user_metrics")
        run.folder.delete("metrics.json")
        for number, parts in enumerate(folds_of(context, run)):
            models = {
                name: load(context, run.manifest["models"][name]["folds"][number]["path"])
                for name in names
            }
            facts = _facts(context, run, parts, models)
            excluded = [parts.train]
            if context.settings.evaluate.exclude == "train+validation":
                excluded.append(parts.validation)
            seen = {
                "validation": _seen(context, run, parts, "validation", [parts.train]),
                "test": _seen(context, run, parts, "test", excluded),
            }
            measure = partial(_metrics_of, context, run, models, parts, facts=facts)
            work = [partial(measure, part, seen=pairs) for part, pairs in seen.items()]
            rows += [row for found in run_all(work) for row in found]
            if not number:
                # Of k-fold one fold shows where models are weak.
                with context.progress.stage("subgroups"):
                    weak = subgroups(
                        context, run, parts, models, facts=facts, relevance_threshold=threshold
                    )
        with context.progress.stage("intervals"):
            rows = evaluation.with_intervals(rows, seed=context.settings.seed)
            pairs = [pair for part in PARTS[1:] for pair in _differences(context, rows, part)]
        document = evaluation.document(rows, differences=pairs, failed=failed)
        run.folder.write_json("subgroups.json", {"rows": weak})
        run.folder.write_json("metrics.json", document)
        run.record(metrics="metrics.json", chosen=_choice(context, run, rows).as_dict())


def _relevance_threshold(context: Context, run: Run) -> float | None:
    """The lowest rating of a relevant item; None where every held-out item is relevant."""
    if run.manifest["split"]["strategy"] in _EVERY_HELD_OUT_ITEM_IS_RELEVANT:
        return None
    return liked_from(context.settings.evaluate.relevance_threshold, scale(run))


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
        users=_counts(run, parts)["train"]["users"],
        genres=item_features(context, run).genres(),
        vectors=next((found for found in vectors if found is not None), None),
    )


def _counts(run: Run, parts: splits.SplitParts) -> dict[str, dict[str, int]]:
    """Rows, users and items of each part of a fold, as its split has counted them."""
    counts: dict[str, dict[str, int]] = run.manifest["split"]["parts"][parts.fold or 0]["parts"]
    return counts


def _differences(
    context: Context, rows: Sequence[evaluation.MetricRow], part: str
) -> list[dict[str, Any]]:
    """What metrics.json says of pairs of models."""
    metric, seed = context.settings.evaluate.metric, context.settings.seed
    found = evaluation.differences(rows, metric=metric, split=part, seed=seed)
    return [pair.as_dict() for pair in found]


def _seen(
    context: Context,
    run: Run,
    parts: splits.SplitParts,
    part: str,
    rated: Sequence[DataFrame],
) -> DataFrame:
    """(user, item) that are no candidates: those of other parts, or seen without a rating.

    Where the split holds out what is later, what was seen from the cutoff on does not count. Where
    the part has no cutoff for all, a user's is the first instant that is held out.

    Args:
        context: of the stage.
        run: whose source it is.
        parts: of the fold.
        part: the one that models are evaluated on.
        rated: the parts whose pairs are left out.
    """
    frames = [before.select("user", "item") for before in rated]
    more = unrated(context, run)
    if more is None:
        return reduce(DataFrame.unionByName, frames)
    if run.manifest["split"]["strategy"] in splits.BY_TIME:
        cutoff = parts.cutoffs.get(f"{part}_from")
        if cutoff is None:
            firsts = parts.stored[part].frame.groupBy("user").agg(F.min("rated_at").alias("until"))
            more = more.join(firsts, "user", "left")
        else:
            more = more.withColumn("until", F.lit(cutoff))
        more = more.where(~F.coalesce(F.col("rated_at") >= F.col("until"), F.lit(False)))
    frames.append(more.select("user", "item"))
    return reduce(DataFrame.unionByName, frames)


def _metrics_of(
    context: Context,
    run: Run,
    models: Mapping[str, FittedModel],
    parts: splits.SplitParts,
    part: str,
    *,
    seen: DataFrame,
    facts: ItemFacts,
) -> list[evaluation.MetricRow]:
    """Metrics of every model on one part of one fold.

    Args:
        context: of the stage.
        run: that is evaluated.
        models: by name, as fitted on the fold.
        parts: of the fold.
        part: the one that they are evaluated on.
        seen: (user, item) that are no candidates.
        facts: what is known of items.
    """
    settings = context.settings.evaluate
    threshold = _relevance_threshold(context, run)
    held_out = parts.stored[part]
    with ExitStack() as stack:

        def held(frame: DataFrame) -> DataFrame:
            frame = cached(frame)
            stack.callback(frame.unpersist)
            return frame

        users = held(evaluation.evaluated_users(held_out.frame, relevance_threshold=threshold))
        count = users.count()
        # Sent to Python once for all models, and only for the users who are evaluated.
        left_out = packed_pairs(seen.join(users, "user", "left_semi"), users=count)
        left_out = left_out._replace(rows=held(left_out.rows))
        asked = packed_pairs(held_out)
        asked = asked._replace(rows=held(asked.rows))
        instant = parts.asked_at(part) or context.end
        lists: dict[str, Interactions] = {
            name: model.recommend(users, n=max(settings.ks), seen=left_out, instant=instant)
            for name, model in models.items()
        }
        if part == "test":
            keep = partial(_kept, context, run, parts.fold)
            run_all([partial(keep, lists, name) for name in models])
        # Lists that no table keeps are made where their metrics are.
        with context.progress.stage("metrics" if part == "test" else "rank, metrics", part):
            predictions = {
                name: model.predict(asked)
                for name, model in models.items()
                if spec_of(name).predicts_ratings
            }
            rating = partial(
                evaluation.rating_metrics,
                predictions,
                held_out,
                split=part,
                fold=parts.fold,
                users=_counts(run, parts)[part]["users"],
            )
            ranking = partial(
                evaluation.ranking_metrics,
                lists,
                held_out,
                ks=settings.ks,
                relevance_threshold=threshold,
                users=count,
                split=part,
                fold=parts.fold,
                facts=facts,
                keep=partial(of_fold(run.folder / "user_metrics", parts.fold).write_table, part),
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
