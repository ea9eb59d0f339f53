"""The start of a run: ratings to train, validation and test."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from functools import partial, reduce
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from recpipe import split as splits
from recpipe.contracts import SPLIT
from recpipe.errors import InputError, UsageError
from recpipe.models.registry import SPECS
from recpipe.runtime import provenance
from recpipe.runtime.parallel import run_all
from recpipe.stages.context import Context, folds_of, of_fold, stage, stored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.storage import Run

logger = logging.getLogger(__name__)


def start(context: Context, run_id: str) -> Run:
    """A run of that id, pinned to the tables as they are now.

    Raises:
        UsageError: if there are no tables, or the run is finished.
    """
    current = context.tables.current()
    logger.info("run %s", run_id)
    return context.runs.start(
        run_id,
        {
            "run_date": context.run_date.isoformat(),
            "code_version": provenance.code_version(),
            "versions": provenance.library_versions(context.root.spark),
            "settings": context.settings.model_dump(mode="json"),
            "settings_hash": context.settings.hash(),
            "seed": context.settings.seed,
            "input": current["source"],
            "tables": context.tables.versions(),
        },
    )


_READ_BY = {
    "split": ("seed", "ingest", "split"),
    "train": ("train", *{section: None for spec in SPECS.values() for section in spec.sections}),
    "evaluate": ("evaluate", "publish.model"),
    "recommend": ("recommend",),
}
"""The settings by the first stage that reads them, in the order of the stages."""


def resume(context: Context, run: Run, stage: str) -> Context:
    """The context of a later stage of a run: its settings are recorded, what is done stays.

    Raises:
        UsageError: if settings have changed since by which an earlier stage was run.
    """
    before = run.manifest["settings"]
    after = context.settings.model_dump(mode="json")
    for earlier in takewhile(lambda name: name != stage, _READ_BY):
        for setting in _READ_BY[earlier]:
            if _at(before, setting) != _at(after, setting):
                raise UsageError(
                    f"run {run.id}: `{earlier}` was run with other settings of `{setting}`",
                    hint=f"run `{earlier}` again with these, or leave them as they were"
                    if earlier != "split"
                    else "start another run with `recpipe split`",
                )
    run.record(settings=after, settings_hash=context.settings.hash())
    run.folder.write_json("settings.json", after)
    return replace(context, run_date=date.fromisoformat(run.manifest["run_date"]))


def _at(settings: Mapping[str, Any], name: str) -> Any:
    return reduce(lambda section, key: section[key], name.split("."), settings)


def split(context: Context, run: Run) -> None:
    """Ratings to train, validation and test, checked for leaks as they were written."""
    try:
        _split(context, run)
    except InputError:
        # Unusable input leaves nothing behind, and an empty run would only be in the way.
        run.folder.delete()
        raise


def _split(context: Context, run: Run) -> None:
    settings = context.settings.split
    with stage(context, run, "split", settings.strategy):
        run.folder.write_json("settings.json", run.manifest["settings"])
        source = stored(context, run, "ratings")
        ratings = source.frame
        run.folder.delete("split")
        with splits.split(source, settings, seed=context.settings.seed) as folds:
            run_all(
                [
                    partial(place.write_table, name, frame, contract=SPLIT)
                    for parts in folds
                    for place in [of_fold(run.folder / "split", parts.fold)]
                    for name, frame in parts.named()
                ]
            )
            cutoffs = folds[0].cutoffs
        run.record(
            split={
                "strategy": settings.strategy,
                "cutoffs": {name: at.isoformat() for name, at in cutoffs.items()},
                "folds": [parts.fold for parts in folds],
            }
        )
        counts = [
            splits.count_parts(ratings, parts, settings).as_json()
            for parts in folds_of(context, run, check=True)
        ]
        run.add("split", {"parts": counts})
