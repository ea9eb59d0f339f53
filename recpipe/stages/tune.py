"""A search for the settings of one model, on the split of a run, of which nothing is changed.

Trials are fitted on train and evaluated on validation as `evaluate` does it. Test is not opened.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe import evaluation
from recpipe.errors import FitError, UsageError
from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.metrics.base import RatingMetric
from recpipe.models import registry
from recpipe.settings import reference
from recpipe.split import VALIDATION
from recpipe.stages.context import Context, folds_without_test, has_split, scale
from recpipe.stages.objective import objective_of
from recpipe.stages.split import split
from recpipe.stages.start import beside, start
from recpipe.storage.runs import FINISHED, REFUSED
from recpipe.tuning.search import search
from recpipe.tuning.study import Study
from recpipe.tuning.trials import best_of, with_settings
from recpipe.tuning.tuned import Tuned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.evaluation import MetricRow
    from recpipe.evaluation.metrics.base import Metric
    from recpipe.sections import Section
    from recpipe.stages.objective import Objective
    from recpipe.storage import Folder, Run
    from recpipe.tuning.request import Request
    from recpipe.tuning.trials import Trial

logger = logging.getLogger(__name__)

PROFILE, TRIALS, PAGE = "best.toml", "trials.json", "tuning.html"
"""What a search leaves below `tuning/<model>/`, beside its journal."""


def tuning_run(context: Context, run_id: str | None) -> Run | None:
    """The run whose split is to be used: that of the id, or the newest unfinished one with a split.

    A run that a check has refused is taken only by its id: what it refused may be the split.

    Raises:
        UsageError: if there is no run of the id, or it has no split.
    """
    if run_id is not None:
        run = context.runs.get(run_id)
        folds_without_test(run)
        return run
    over = {FINISHED, REFUSED}
    runs = [r for r in context.runs.all() if r.manifest.get("status") not in over and has_split(r)]
    return runs[-1] if runs else None


def new_run(context: Context, run_id: str) -> Run:
    """A run with a split and nothing else, for where there is none."""
    run = start(context, run_id)
    split(context, run)
    return run


def tune(context: Context, run: Run, request: Request) -> Tuned:
    """Search the settings of a model, and write what was found below `tuning/<model>/`.

    Args:
        context: with the settings of the run, and those of the command line on top of them.
        run: with a split; it stays as it is.
        request: what is asked for.

    Raises:
        UsageError: if the model, the metric and the run do not go together, or an earlier search of
            the model had other data, another metric or other settings.
        FitError: if no trial has a value.
    """
    context = beside(context, run, "train")
    metric, _ = metric_at(context.settings.evaluate.metric)
    _check(run, request, metric)
    folder = context.root / "tuning" / request.model
    with (
        context.progress.stage("tune", request.model),
        tempfile.TemporaryDirectory(prefix="recpipe-tune-") as local,
        objective_of(context, run, request, metric) as objective,
    ):
        if request.restart:
            folder.delete()
        study = Study(
            folder,
            Path(local),
            name=request.model,
            space=request.space,
            higher_is_better=metric.higher_is_better,
            seed=context.settings.seed,
        )
        _same_basis(study, folder, run, _basis(context, run, request))
        search(
            study,
            objective,
            request,
            current=objective.current,
            # What is known of a fit before its end says something of errors, and nothing of lists.
            gives_up=metric.on_common_pairs and not metric.higher_is_better,
        )
        tuned = _tuned(context, run, request, study, objective, metric)
        _write(folder, tuned, objective.section(tuned.best.settings))
    return tuned


def _check(run: Run, request: Request, metric: Metric) -> None:
    """Raise UsageError where a trial could not be right whatever its settings."""
    spec = registry.spec_of(request.model)
    if scale(run) is None and spec.needs_ratings:
        raise UsageError(
            f"the feedback is implicit, and {spec.name} predicts ratings",
            hint="tune block_als_implicit or ease, or set ingest.feedback=explicit",
        )
    predicts = spec.predicts_ratings and scale(run) is not None
    if isinstance(metric, RatingMetric) and not predicts:
        raise UsageError(
            f"{spec.name} predicts no ratings, so it has no {metric.name}",
            hint="give a metric of lists, such as --metric ndcg@10",
        )


# -- what an earlier search rests on ----------------------------------------------------------


def _basis(context: Context, run: Run, request: Request) -> dict[str, Any]:
    """What all trials of a search must share, so that their values compare."""
    settings = context.settings.model_dump(mode="json")
    own = {name: settings[name] for name in registry.spec_of(request.model).sections}
    own[request.model] = {
        name: value
        for name, value in own[request.model].items()
        if name not in request.space.ranges
    }
    basis = {
        "tables": run.manifest["tables"],
        "split": run.manifest["split"],
        # Where there is none, a search of before there were filters goes on.
        **({"filter": settings["filter"]} if "filter" in run.manifest else {}),
        "seed": settings["seed"],
        "evaluate.metric": settings["evaluate"]["metric"],
        "evaluate.relevance_threshold": settings["evaluate"]["relevance_threshold"],
        "search space": request.space.as_json(),
        **{f"[{name}]": section for name, section in own.items()},
    }
    # As it is read back, to be compared with.
    found: dict[str, Any] = json.loads(json.dumps(basis, default=str))
    return found


def _same_basis(study: Study, folder: Folder, run: Run, basis: Mapping[str, Any]) -> None:
    """Note what a new search rests on; raise UsageError where an earlier one rests on other."""
    before = study.notes.get("basis")
    if before is None:
        study.note(basis=basis, run_id=run.id)
        return
    other = [name for name in basis if before.get(name) != basis[name]]
    if other:
        raise UsageError(
            f"{folder.uri}: the search there, on run {study.notes['run_id']}, differs in"
            f" {', '.join(other)}, so its trials do not compare with new ones",
            hint="give its --run-id and settings again, or begin anew with --restart",
        )
    done = len(study.trials)
    if done:
        logger.info("going on after %d trials", done)


# -- what was found ---------------------------------------------------------------------------


def _tuned(
    context: Context,
    run: Run,
    request: Request,
    study: Study,
    objective: Objective,
    metric: Metric,
) -> Tuned:
    """What the trials come to.

    Raises:
        FitError: if none has a value.
    """
    trials = study.trials
    best = best_of(trials, higher_is_better=metric.higher_is_better)
    if best is None:
        failed = next((trial for trial in trials if trial.reason), None)
        raise FitError(
            f"none of {len(trials)} trials of {request.model} has a value"
            + (f"; {failed.label}: {failed.reason}" if failed else ""),
            hint="the log says what became of each",
        )
    current = with_settings(trials, objective.current)
    if current is not None and current.value == best.value:
        # As good as the best, and nothing needs to be changed for it.
        best = current
    compared = [best] if current is None or current is best else [best, current]
    rows = [row for trial in compared for row in _rows_of(trial, objective)]
    seed = context.settings.seed
    of_best = evaluation.with_intervals(rows[: len(objective.folds)], seed=seed)
    pairs = evaluation.differences(
        rows, metric=context.settings.evaluate.metric, split=VALIDATION, seed=seed, tested=False
    )
    # With folds there is an interval for each, and none for their mean.
    whole = of_best[0] if len(of_best) == 1 else None
    return Tuned(
        model=request.model,
        metric=context.settings.evaluate.metric,
        higher_is_better=metric.higher_is_better,
        run_id=run.id,
        space=request.space,
        current=objective.current,
        trials=tuple(trials),
        best=best,
        ci_low=whole.ci_low if whole else None,
        ci_high=whole.ci_high if whole else None,
        users=max(row.users for row in of_best),
        current_trial=current,
        difference=pairs[0] if pairs else None,
        importances=study.importances(),
    )


def _rows_of(trial: Trial, objective: Objective) -> list[MetricRow]:
    """What the value of a trial is made of, by the name of the trial.

    A trial of an earlier process is fitted again: its journal keeps values, not those of users.
    """
    rows = objective.rows.get(trial.number)
    if rows is None:
        logger.info("%s is fitted again, for its interval", trial.label)
        rows, _ = objective.measured(trial.settings)
    return [replace(row, model=trial.label) for row in rows]


def _write(folder: Folder, tuned: Tuned, section: Section) -> None:
    """The profile, the trials and the page; the profile last."""
    # Matplotlib takes a while to import, and is of no use before.
    from recpipe.tuning import page

    folder.write_json(TRIALS, tuned.as_dict())
    folder.write_text(PAGE, page.render(tuned))
    heading = f"# {tuned.headline};\n# found on the split of run {tuned.run_id}.\n\n"
    folder.write_text(PROFILE, heading + reference.section(tuned.model, section))


__all__ = ["PAGE", "PROFILE", "TRIALS", "new_run", "tune", "tuning_run"]
