"""The same settings fitted and evaluated at several cutoffs, one after the other."""

from __future__ import annotations

import itertools
import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recpipe import backtest as backtests
from recpipe import evaluation
from recpipe import split as splits
from recpipe.errors import FitError, InputError, UsageError
from recpipe.evaluation.metrics import metric_at
from recpipe.evaluation.rows import COMMON
from recpipe.ingest import is_ingested
from recpipe.report import render_backtest
from recpipe.split.splitter import need_instants
from recpipe.split.strategies import utc
from recpipe.stages import evaluate, split, train
from recpipe.stages.ingest import ingest
from recpipe.stages.start import start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import DataFrame

    from recpipe.backtest import Window, Windows
    from recpipe.evaluation import MetricRow
    from recpipe.sections import Section
    from recpipe.settings import Settings
    from recpipe.stages.context import Context
    from recpipe.storage import Folder, Run

logger = logging.getLogger(__name__)

PLAN, RESULT, PAGE = "plan.json", "backtest.json", "backtest.html"


def backtest(
    context: Context, backtest_id: str, wanted: Windows, *, source: str | None = None
) -> dict[str, Any]:
    """Fit and evaluate at every cutoff; what backtest.json says in the end.

    Each window is a run of its own below `backtests/<id>/runs/`, split at its cutoff, trained and
    evaluated as any run; one that is evaluated already stays as it is, so that a backtest that was
    stopped goes on where it was. A window that cannot be split, or where no model can be fitted, is
    a gap with its reason.

    Args:
        context: of the command.
        backtest_id: names the folder.
        wanted: the cutoffs.
        source: ingested first, as of `ingest`, unless the backtest goes on; None: the tables that
            are there.

    Raises:
        UsageError: if the settings say how to split, a backtest of that id has other settings,
            tables or cutoffs, or the ratings have no instants. The root is as it was before.
        InputError: if the source cannot be used, or has too few instants; then, too.
        InputError or FitError: the error of the first window, if no window has a result.
    """
    check_settings(context.settings)
    folder = context.root / "backtests" / backtest_id
    goes_on = folder.exists(PLAN)
    with context.tables.provisional(UsageError):
        try:
            if goes_on:
                _check_goes_on(context, folder, source)
            elif source is not None:
                ingest(context, source)
            return _backtest(context, folder, wanted)
        except (InputError, UsageError):
            if not goes_on:
                folder.delete()
                context.root.fs.delete_empty(context.root.path("backtests"))
            raise


def check_settings(settings: Settings) -> None:
    """Raise UsageError if the settings say something of the split that a backtest says itself."""
    split = settings.split
    if split.strategy not in {"auto", "global_time"}:
        raise UsageError(
            f"a backtest cuts at instants, not by split.strategy {split.strategy}",
            hint="leave split.strategy as it is",
        )
    for name in ("test_from", "test_until", "validation_from"):
        if getattr(split, name) is not None:
            raise UsageError(
                f"a backtest says where its windows begin and end, and so does split.{name}",
                hint="leave it out, and give instants by --at",
            )
    if split.validation != "user_time":
        raise UsageError(
            f"a backtest validates by the latest of each user, not by split.validation"
            f" {split.validation}",
            hint="leave split.validation as it is",
        )


def _check_goes_on(context: Context, folder: Folder, source: str | None) -> None:
    """Raise UsageError unless the backtest that is there is of these settings and this source.

    Ingested anew the same source would make other versions of the tables, and what was evaluated
    on the old ones would be lost.
    """
    _check_same(folder, {"settings_hash": context.settings.hash()})
    ingested = context.settings.ingest
    if source is None or is_ingested(source, tables=context.tables, settings=ingested):
        return
    raise _other(folder, "tables")


def _check_same(folder: Folder, plan: dict[str, Any]) -> None:
    before = folder.read_json(PLAN)
    for what, now in plan.items():
        if what in {"settings_hash", "tables", "windows"} and before[what] != now:
            raise _other(folder, what.replace("_hash", ""))


def _other(folder: Folder, what: str) -> UsageError:
    return UsageError(
        f"{folder.uri}: a backtest of this id has other {what}",
        hint="give another --run-id, or the options that it was started with",
    )


def _backtest(context: Context, folder: Folder, wanted: Windows) -> dict[str, Any]:
    plan, windows = _planned(context, folder, wanted)
    gaps: dict[str, Exception] = {}
    runs: dict[str, Run] = {}
    for number, window in enumerate(windows, start=1):
        with context.progress.stage("window", f"{number} of {len(windows)}: {window.name}"):
            try:
                runs[window.name] = _evaluated(context, folder, window)
            except (InputError, FitError) as error:
                logger.warning("window %s has no result: %s", window.name, error)
                gaps[window.name] = error
    if not runs:
        # Nothing is there to go on with, and the id is free for another plan.
        folder.delete(PLAN)
        raise next(iter(gaps.values()))
    with context.progress.stage("pool"):
        result = plan | _result(context, windows, runs, gaps)
    folder.write_json(RESULT, result)
    folder.write_text(PAGE, render_backtest(result))
    return result


def _planned(
    context: Context, folder: Folder, wanted: Windows
) -> tuple[dict[str, Any], list[Window]]:
    """What is to be done, the same as before where the backtest goes on."""
    need_instants(
        "a backtest",
        _source(context).get("times", "some"),
        hint="compare models by `recpipe run` with split.strategy k_fold",
    )
    with _ratings(context) as ratings:
        windows = backtests.windows_of(ratings, wanted)
    plan = {
        "backtest_id": folder.uri.rpartition("/")[2],
        "settings": context.settings.model_dump(mode="json"),
        "settings_hash": context.settings.hash(),
        "tables": context.tables.versions(),
        "windows": [window.as_json() for window in windows],
    }
    if folder.exists(PLAN):
        _check_same(folder, plan)
    else:
        folder.write_json(PLAN, plan)
    return plan, windows


@contextmanager
def _ratings(context: Context) -> Iterator[DataFrame]:
    """The ratings that the windows lie in: what the filter leaves of all."""
    ratings, settings = context.tables.read("ratings"), context.settings
    if not settings.filter.is_set:
        yield ratings
        return
    with context.root.scratch("filter") as scratch:
        yield splits.filtered(
            ratings,
            settings.filter,
            seed=settings.seed,
            scratch=scratch,
            explicit=_source(context)["rating_scale"] is not None,
        ).ratings


def _source(context: Context) -> dict[str, Any]:
    """What the ingest said of the ratings."""
    source: Any = context.tables.current()["source"]
    found: dict[str, Any] = source
    return found


def _evaluated(context: Context, folder: Folder, window: Window) -> Run:
    """The run of a window, evaluated now or before."""
    settings = _settings(context.settings, window)
    own = replace(context, settings=settings, runs_below=folder, folds={})
    known = {run.id: run for run in own.runs.all()}
    if window.name in known and "metrics" in known[window.name].manifest:
        logger.info("window %s is evaluated already", window.name)
        return known[window.name]
    run = start(own, window.name)
    for stage in (split.split, train.train, evaluate.evaluate):
        stage(own, run)
    return run


def _settings(settings: Settings, window: Window) -> Settings:
    instants = {
        "strategy": "global_time",
        "test_from": window.start,
        "test_until": window.end,
        "validation_from": None,
        "validation": "user_time",
    }
    changed: dict[str, Section] = {"split": settings.split.model_copy(update=instants)}
    if settings.filter.is_set:
        # Nothing later than the window may decide whose ratings are enough.
        until = settings.filter.rated_until
        end = window.end if until is None else min(window.end, utc(until))
        changed["filter"] = settings.filter.model_copy(update={"rated_until": end})
    return settings.model_copy(update=changed)


def _result(
    context: Context,
    windows: Sequence[Window],
    runs: dict[str, Run],
    gaps: dict[str, Exception],
) -> dict[str, Any]:
    metric, seed = context.settings.evaluate.metric, context.settings.seed
    by_window = {
        name: [
            row
            for row in run.folder.read_json("metrics.json")["rows"]
            if row["split"].startswith("test")
        ]
        for name, run in runs.items()
    }
    users = _source(context)["users"]["total"]
    of_users = [
        (run.folder / "user_metrics").read_table("test")
        for run in runs.values()
        if (run.folder / "user_metrics").has_table("test")
    ]
    pooled: list[MetricRow] = []
    if of_users:
        pooled = backtests.pooled_rows(of_users, users=users)
        pooled = evaluation.with_intervals(pooled, seed=seed)
    pairs = evaluation.differences(pooled, metric=metric, split="pooled", seed=seed)
    return {
        "metric": metric,
        "results": [
            {
                "window": window.name,
                **window.as_json(),
                "error": str(gaps[window.name]) if window.name in gaps else None,
                "train_rows": _train_rows(runs.get(window.name)),
                "rows": by_window.get(window.name, []),
                "ranks": ranks(by_window.get(window.name, []), metric),
            }
            for window in windows
        ],
        "pooled": [row.as_dict() for row in pooled],
        "differences": [pair.as_dict() for pair in pairs],
        "stability": list(_stabilities(context, [runs.get(each.name) for each in windows])),
    }


def _train_rows(run: Run | None) -> int | None:
    return None if run is None else run.manifest["split"]["parts"][0]["parts"]["train"]["rows"]


def ranks(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, int]:
    """By model, its place among all by the metric on one window, from 1.

    Errors of predicted ratings are those over the pairs that all models predict.
    """
    found, k = metric_at(metric)
    part = f"test{COMMON}" if found.on_common_pairs else "test"
    values = {
        row["model"]: row["value"]
        for row in rows
        if (row["metric"], row["k"], row["split"]) == (found.name, k, part)
    }
    order = sorted(values, key=lambda model: (-found.sign * values[model], model))
    return {model: place for place, model in enumerate(order, start=1)}


def _stabilities(context: Context, runs: Sequence[Run | None]) -> Iterator[dict[str, Any]]:
    """How lists change from each window to the next, model by model.

    Args:
        context: of the command.
        runs: of all windows, in their order; None for one without a result, across which no lists
            are compared.
    """
    settings = context.settings.evaluate
    k = metric_at(settings.metric)[1] or settings.ks[0]
    for before, after in itertools.pairwise(runs):
        if before is None or after is None:
            continue
        for model in before.manifest["models"]:
            lists = [run.folder / "evaluation" for run in (before, after)]
            if not all(place.has_table(model) for place in lists):
                continue
            found = backtests.list_stability(*(place.read_table(model) for place in lists), k=k)
            if found is not None:
                yield {
                    "model": model, "from": before.id, "to": after.id, "k": k, **found._asdict()
                }  # fmt: skip


__all__ = ["PAGE", "PLAN", "RESULT", "backtest", "check_settings", "ranks"]
