"""A run that starts, and one that goes on: its tables and settings are pinned."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

from recpipe.errors import InputError, MissingError, UsageError
from recpipe.models.registry import SPECS
from recpipe.runtime import provenance
from recpipe.stages.context import forget, keep_settings
from recpipe.stages.rules import check_rules
from recpipe.stages.table import stages_before, stages_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recpipe.stages.context import Context
    from recpipe.stages.table import Stage
    from recpipe.storage import Run

logger = logging.getLogger(__name__)

_REFUSALS = (UsageError, InputError, MissingError)
"""What ends a stage that cannot do what its settings ask for."""


def start(context: Context, run_id: str) -> Run:
    """A run of that id, pinned to the tables as they are now.

    Raises:
        UsageError: if there are no tables, the run is finished, or its rules cannot be applied.
        InputError: if a table of its rules cannot be read.
    """
    current = context.tables.current()
    versions = context.tables.versions()
    source = cast("Mapping[str, Any]", current["source"])
    check_rules(context, tables=versions, times=source.get("times", "some"))
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
            "input": source,
            "tables": versions,
        },
    )


@contextmanager
def resumed(context: Context, run: Run, stage: str) -> Iterator[Context]:
    """The context of a later stage of a run, which records its settings as it begins.

    Until then the run keeps the settings that it had: a stage that is cut short while it checks
    what it was given must not leave lists beside rules by which they were not made. If a stage is
    refused once it has begun, the run gets back the settings that it had, since those that were
    refused would be refused again at every later try; and what the stage has made is forgotten.

    Raises:
        UsageError: if settings have changed that an earlier stage has read.
    """
    own, before = beside(context, run, stage), run.manifest
    try:
        yield own
    except _REFUSALS:
        # `Run.record` makes a new manifest, and `context.stage` is the first to record anything. So
        # with another manifest the stage has begun, and what was there before is forgotten already.
        if run.manifest is not before:
            forget(run, stages_from(stage))
            keep_settings(run, before["settings"], before["settings_hash"])
        raise


def beside(context: Context, run: Run, stage: str) -> Context:
    """The context of whoever reads what a run has made before a stage, and changes nothing of it.

    Raises:
        UsageError: if settings have changed that an earlier stage has read.
    """
    # What an older version of recpipe did not have as a setting was as it is by default.
    kept = type(context.settings).model_validate(run.manifest["settings"])
    before, after = (each.model_dump(mode="json") for each in (kept, context.settings))
    for earlier in stages_before(stage):
        for setting in settings_read_by(earlier):
            if _at(before, setting) != _at(after, setting):
                raise _changed(run, earlier, setting)
    return replace(context, run_date=date.fromisoformat(run.manifest["run_date"]))


def settings_read_by(stage: Stage) -> Iterable[str]:
    """The settings that a stage is the first to read, as `section` or `section.key`."""
    models = SPECS.values() if stage.fits_models else ()
    return dict.fromkeys((*stage.reads, *(name for spec in models for name in spec.sections)))


def _at(settings: Mapping[str, Any], name: str) -> Any:
    return reduce(lambda section, key: section[key], name.split("."), settings)


def _changed(run: Run, stage: Stage, setting: str) -> UsageError:
    if stage.subject == "unfinished run":
        return UsageError(
            f"run {run.id}: `{stage.name}` was run with other settings of `{setting}`",
            hint=f"run `{stage.name}` again with these, or leave them as they were",
        )
    return UsageError(
        f"run {run.id} was started with other settings of `{setting}`",
        hint="start another run with `recpipe split`, or leave them as they were",
    )
