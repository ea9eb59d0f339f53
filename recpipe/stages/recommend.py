"""The chosen model on all ratings that the run knows, and its lists for every user of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from recpipe import recommend as recommending
from recpipe.contracts import EXPLANATIONS, RECOMMENDATIONS, SIMILAR_ITEMS
from recpipe.errors import UsageError
from recpipe.models.registry import components_of
from recpipe.ranking.reasons import reasons_for
from recpipe.ranking.rules import ListRules
from recpipe.ranking.similar import Wanted
from recpipe.spark.held import narrow_rows
from recpipe.stages.context import (
    Context,
    folds_of,
    ratings_of,
    seen_otherwise,
    stage,
    table,
    times,
)
from recpipe.stages.fit import (
    FALLBACK,
    evaluated_model,
    fit,
    load,
    new_model,
    note_failure,
    training_data,
)
from recpipe.stages.rules import applied_rules, check_rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.models.base import FittedModel
    from recpipe.storage import Run, Stored

logger = logging.getLogger(__name__)

FILLER = "popularity"
"""The model that fills short lists and serves cold users."""


def recommend(context: Context, run: Run) -> None:
    """The chosen model on all ratings, and its lists for every user, filled up by popularity."""
    settings = context.settings
    if "chosen" not in run.manifest:
        raise UsageError(f"run {run.id} has not been evaluated", hint="run `recpipe evaluate`")
    # Before the lists are forgotten that the run may have: rules that are refused change nothing.
    check_rules(context, tables=run.manifest["tables"], times=times(run))
    with stage(context, run, "recommend"):
        # Keep what `train` noted, of models that it could not fit; drop what an earlier try of this
        # stage noted.
        kept = [e for e in run.manifest["fallbacks"] if e["failed"] not in run.manifest["models"]]
        run.record(fallbacks=kept)
        ratings = ratings_of(context, run)
        applied = applied_rules(context, run)
        rules = None if applied is None else applied.for_lists()
        refits = _Refits(context, run, ratings)
        name, model = _final_model(refits)
        with (
            context.progress.stage("rank", f"{name}, all users"),
            context.root.scratch("lists") as scratch,
        ):
            lists = recommending.recommend_all(
                model,
                lambda: refits.of(FILLER),
                ratings=ratings,
                n=settings.recommend.n,
                scratch=scratch,
                max_users=run.manifest["input"]["users"]["total"],
                unrated=seen_otherwise(context, run),
                rules=rules,
                instant=context.end,
            )
            output = recommending.to_output(
                lists,
                users=table(context, run, "users"),
                items=table(context, run, "items"),
                run_date=context.run_date,
            )
            (run.folder / "recommendations").write_table(name, output, contract=RECOMMENDATIONS)
            if settings.recommend.explain:
                _write_reasons(context, run, model, lists)
        if settings.recommend.similar:
            _write_similar(context, run, model, rules)
        run.record(recommended=name)


def _write_reasons(context: Context, run: Run, model: FittedModel, lists: DataFrame) -> None:
    """What spoke for each place of the model's own, and how many rows in the manifest.

    That the scores of a model are no sums over histories is no reason to publish no lists.
    """
    name = model.name
    with (
        context.progress.stage("explain", f"{name}, all users"),
        context.root.scratch("reasons") as scratch,
    ):
        fitted, as_of = ratings_of(context, run), context.end
        if not context.settings.recommend.refit:
            parts = folds_of(context, run)[0]
            fitted, as_of = parts.stored["train"], parts.asked_at("validation") or context.end
        reasons = model.reasons(training_data(context, run, fitted, as_of=as_of))
        if reasons is None:
            logger.warning("%s cannot say why an item is in a list: no explanations", name)
            run.record(explanations={"model": name, "rows": 0})
            return
        own = lists.where(F.col("source") == name).select("user", "item", "rank")
        found = reasons_for(own, reasons, n=context.settings.recommend.explain)
        with narrow_rows(context.root.spark):
            kept = scratch.write_table("reasons", found.frame)
        tables = {each: table(context, run, each) for each in ("users", "items")}
        rows = recommending.to_explanations(kept, own, **tables)
        written = (run.folder / EXPLANATIONS.name).write_table(name, rows, contract=EXPLANATIONS)
        run.record(explanations={"model": name, "rows": written.count()})


def _write_similar(context: Context, run: Run, model: FittedModel, rules: ListRules | None) -> None:
    """The most similar items of each item, and how many rows in the manifest.

    That a model says nothing of how alike items are is no reason to publish no lists.
    """
    settings, name = context.settings.recommend, model.name
    # What is for no list is for no page of an item either.
    never = None if rules is None else ListRules(rules.never)
    with (
        context.progress.stage("similar", f"{name}, all items"),
        context.root.scratch("similar") as scratch,
    ):
        wanted = Wanted(settings.similar, settings.similarity, rules=never)
        found = model.similar_items(wanted, scratch=scratch)
        if found is None:
            logger.warning("%s says nothing of how alike items are: no similar_items", name)
            run.record(similar_items={"model": name, "rows": 0})
            return
        items = table(context, run, "items")
        with narrow_rows(context.root.spark):
            lists = scratch.write_table("lists", found.frame)
        rows = recommending.to_similar(lists, items=items, source=name, run_date=context.run_date)
        written = (run.folder / SIMILAR_ITEMS.name).write_table(name, rows, contract=SIMILAR_ITEMS)
        run.record(similar_items={"model": name, "rows": written.count()})


def _final_model(refits: _Refits) -> tuple[str, FittedModel]:
    """Name and model of the lists; `sgd` where the chosen one cannot be fitted again."""
    context, run = refits.context, refits.run
    name = run.manifest["chosen"]["model"]
    if not context.settings.recommend.refit:
        return name, evaluated_model(context, run, name)
    try:
        return name, refits.of(name)
    except Exception as error:  # noqa: BLE001 - whatever it was, settings say what follows
        note_failure(context, run, name, error, needed=True)
    return FALLBACK, refits.of(FALLBACK)


@dataclass(frozen=True)
class _Refits:
    """Models fitted again on all ratings, each once.

    Args:
        context: of the stage.
        run: whose models they are.
        ratings: all that the run knows.
    """

    context: Context
    run: Run
    ratings: Stored
    fitted: dict[str, FittedModel] = field(default_factory=dict)

    def of(self, name: str) -> FittedModel:
        """The model, fitted with what validation has decided where `train` has fitted it before."""
        if name not in self.fitted:
            self.fitted[name] = self._fit(name)
        return self.fitted[name]

    def _fit(self, name: str) -> FittedModel:
        context, run = self.context, self.run
        if name in run.manifest["models"]:
            model = evaluated_model(context, run, name).refit_config
        else:
            model = new_model(context, name)
        components = components_of(name, model.sections(), list(run.manifest["models"]))
        data = training_data(
            context,
            run,
            self.ratings,
            as_of=context.end,
            fitted={other: self.of(other) for other in components},
        )
        entry = fit(context, model, data, run.folder / "final" / name)
        run.add("final", {name: entry})
        return load(context, entry["path"])
