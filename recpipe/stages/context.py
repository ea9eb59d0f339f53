"""What every stage is handed, and what the stages share."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from recpipe import split as splits
from recpipe.contracts import UNRATED
from recpipe.errors import CheckError, UsageError
from recpipe.feedback import Scale
from recpipe.runtime.parallel import run_all
from recpipe.stages.table import stages_from
from recpipe.storage import Runs, Tables
from recpipe.storage.runs import FAILED, REFUSED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from pyspark.sql import DataFrame

    from recpipe.feedback import Times
    from recpipe.runtime.progress import Progress
    from recpipe.settings import Settings
    from recpipe.split.settings import Split
    from recpipe.stages.table import Stage
    from recpipe.storage import Folder, Run, Stored


@dataclass(frozen=True)
class Context:
    """What every stage is handed.

    Args:
        root: the folder of `--root`; it carries the session.
        settings: of this run.
        run_date: the day that the run stands for (UTC).
        progress: shows stages to a person and keeps their seconds.
        models_dir: a second place for fitted models, or None.
        folds: by run, the split that this process has checked as it was written.
        runs_below: the folder whose `runs/` has the runs, where it is not the root.
    """

    root: Folder
    settings: Settings
    run_date: date
    progress: Progress
    models_dir: Folder | None = None
    folds: dict[str, list[splits.SplitParts]] = field(default_factory=dict)
    runs_below: Folder | None = None

    @property
    def end(self) -> datetime:
        """The end of the day that the run stands for: what lists of all ratings are made for."""
        return datetime.combine(self.run_date, time(), UTC) + timedelta(days=1)

    @cached_property
    def tables(self) -> Tables:
        return Tables(self.root)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.runs_below or self.root)


@contextmanager
def stage(context: Context, run: Run, name: str, detail: str = "") -> Iterator[None]:
    """Show a stage and record its seconds in the manifest, or, where it fails, its error.

    What this and later stages wrote before is forgotten: it rests on what is now done again. The
    settings by which it is done are recorded only after that, so that a run that is cut short in
    between has nothing that was made by other settings than those that it records.
    """
    run.record(status=RUNNING, stage=name)
    try:
        forget(run, stages_from(name))
        keep_settings(run, context.settings.model_dump(mode="json"), context.settings.hash())
        with context.progress.stage(name, detail) as timer:
            yield
    except BaseException as error:
        # An interrupt too: whatever ended the stage, the manifest says so.
        status = REFUSED if isinstance(error, CheckError) else FAILED
        run.record(status=status, error=f"{type(error).__name__}: {error}")
        run.folder.write_text("error.log", "".join(traceback.format_exception(error)))
        error.add_note(f"traceback in {run.folder.path('error.log')}")
        raise
    run.manifest.pop("error", None)
    run.add("timings", {name: timer.seconds})


def forget(run: Run, stages: Sequence[Stage]) -> None:
    """Take what stages have made out of a run: sections of its manifest, then files.

    The manifest first and the page and what it shows before tables, the latest stage first: whoever
    follows the manifest meets nothing that is about to go, and a page is never made of the rest.
    """
    run.forget(*[section for stage in stages for section in stage.writes])
    for stage in reversed(stages):
        for name in stage.files:
            run.folder.delete(name)


def keep_settings(run: Run, settings: Mapping[str, Any], settings_hash: str) -> None:
    """Record these settings in a run's manifest and its settings.json, unless it has them."""
    if run.manifest.get("settings") != settings:
        run.record(settings=settings, settings_hash=settings_hash)
        run.folder.write_json("settings.json", settings)


def table(context: Context, run: Run, name: str) -> DataFrame:
    """A table at the version that the run is pinned to."""
    return stored(context, run, name).frame


def stored(context: Context, run: Run, name: str) -> Stored:
    """`table`, as a handle: for whoever wants its columns as arrays."""
    return context.tables.stored(name, version=run.manifest["tables"][name])


def ratings_of(context: Context, run: Run) -> Stored:
    """The ratings that the run knows: what its filter has left, and without one all of them."""
    if "filter" in run.manifest:
        return run.folder.stored("ratings")
    return stored(context, run, "ratings")


def scale(run: Run) -> Scale | None:
    """The valid ratings of what was ingested; None for implicit feedback."""
    found = run.manifest["input"]["rating_scale"]
    return None if found is None else Scale.model_validate(found)


def times(run: Run) -> Times:
    """What instants the ratings have."""
    found: Times = run.manifest["input"].get("times", "some")
    return found


def unrated(context: Context, run: Run) -> DataFrame | None:
    """contracts.UNRATED: what users have seen and not rated; None where there is nothing."""
    if "unrated" not in run.manifest["tables"]:
        return None
    return table(context, run, "unrated")


def seen_otherwise(context: Context, run: Run) -> DataFrame | None:
    """contracts.UNRATED: what users have seen beside `ratings_of`; None where there is nothing.

    That is what they have not rated, and what the filter has left out of their ratings.
    """
    found = unrated(context, run)
    if "filter" not in run.manifest:
        return found
    known = ratings_of(context, run).frame.select("user", "item")
    left_out = table(context, run, "ratings").join(known, ["user", "item"], "left_anti")
    left_out = left_out.select(*UNRATED.columns)
    return left_out if found is None else left_out.unionByName(found)


def given_parts(context: Context, run: Run) -> DataFrame | None:
    """contracts.GIVEN_PARTS: the part that each rating came in; None where they came in one."""
    if "parts" not in run.manifest["tables"]:
        return None
    return table(context, run, "parts")


def split_settings(context: Context, run: Run) -> Split:
    """The settings of the split, with what was done where they leave it open."""
    recorded = run.manifest["split"]
    followed = {
        "strategy": recorded["strategy"],
        # Runs of before there was a choice have cut all ratings at one instant.
        "validation": recorded.get("validation") or "global_time",
    }
    return context.settings.split.model_copy(update=followed)


def folds_of(context: Context, run: Run, *, check: bool = False) -> list[splits.SplitParts]:
    """The parts of every fold as they were written, checked for leaks once in a process.

    Args:
        context: of the stage.
        run: whose split it is.
        check: look again, though this process has looked before.

    Raises:
        UsageError: if there is no split yet.
        LeakError: if a part knows something of another that it must not.
    """
    _need_split(run)
    if check or run.id not in context.folds:
        context.folds.pop(run.id, None)
        folds = written_folds(run, run.manifest["split"])
        settings = split_settings(context, run)
        run_all([partial(splits.check_no_leak, parts, settings) for parts in folds])
        context.folds[run.id] = folds
    return context.folds[run.id]


def folds_without_test(run: Run) -> list[splits.SplitParts]:
    """The parts of every fold, with a test part of no rows: its files are never opened.

    For whoever may know nothing of test. The parts were checked for leaks as they were written.

    Raises:
        UsageError: if there is no split yet.
    """
    _need_split(run)
    recorded = run.manifest["split"]
    folds = []
    for fold in recorded["folds"]:
        place = of_fold(run.folder / "split", fold)
        stored = {name: place.stored(name) for name in (splits.TRAIN, splits.VALIDATION)}
        train, validation = (part.frame for part in stored.values())
        folds.append(
            splits.SplitParts(
                train,
                validation,
                train.limit(0),
                fold=fold,
                cutoffs=_cutoffs(recorded),
                stored=stored,
            )
        )
    return folds


def has_split(run: Run) -> bool:
    """Whether a run has a split that was written, checked and counted to its end."""
    return "parts" in run.manifest.get("split", {})


def counts_of(run: Run, parts: splits.SplitParts) -> dict[str, dict[str, int]]:
    """Rows, users and items of each part of a fold, as its split has counted them."""
    counts: dict[str, dict[str, int]] = run.manifest["split"]["parts"][parts.fold or 0]["parts"]
    return counts


def _need_split(run: Run) -> None:
    if not has_split(run):
        raise UsageError(f"run {run.id} has no split", hint="run `recpipe split` first")


def _cutoffs(recorded: Mapping[str, Any]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(at) for name, at in recorded["cutoffs"].items()}


def written_folds(run: Run, recorded: Mapping[str, Any]) -> list[splits.SplitParts]:
    """The parts of every fold as they were written; not checked.

    Args:
        run: below whose folder they are.
        recorded: what the manifest says, or is about to say, of the split: its cutoffs and folds.
    """
    cutoffs = _cutoffs(recorded)
    folds = []
    for fold in recorded["folds"]:
        place = of_fold(run.folder / "split", fold)
        stored = {name: place.stored(name) for name in splits.PARTS}
        train, validation, test = (part.frame for part in stored.values())
        folds.append(
            splits.SplitParts(train, validation, test, fold=fold, cutoffs=cutoffs, stored=stored)
        )
    return folds


def of_fold(folder: Folder, fold: int | None) -> Folder:
    """The place of a fold below `folder`; without folds `folder` itself."""
    return folder if fold is None else folder / f"fold={fold}"
