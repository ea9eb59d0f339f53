"""Ratings to train, validation and test."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from recpipe import split as splits
from recpipe.contracts import SPLIT
from recpipe.errors import InputError
from recpipe.runtime.parallel import run_all
from recpipe.stages.context import (
    Context,
    given_parts,
    of_fold,
    stage,
    stored,
    times,
    written_folds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.storage import Run


logger = logging.getLogger(__name__)


def split(context: Context, run: Run) -> None:
    """Ratings to train, validation and test, checked for leaks as they were written."""
    try:
        _split(context, run)
    except InputError:
        # Unusable input leaves nothing behind, and an empty run would only be in the way.
        run.folder.delete()
        raise


def _split(context: Context, run: Run) -> None:
    with stage(context, run, "split", context.settings.split.strategy):
        run.folder.write_json("settings.json", run.manifest["settings"])
        source = stored(context, run, "ratings")
        with splits.split(
            source,
            context.settings.split,
            seed=context.settings.seed,
            times=times(run),
            given=given_parts(context, run),
        ) as outcome:
            folds, settings = outcome.folds, outcome.settings
            if outcome.reason:
                logger.info("split: %s, for %s", settings.strategy, outcome.reason)
            run_all(
                [
                    partial(place.write_table, name, frame, contract=SPLIT)
                    for parts in folds
                    for place in [of_fold(run.folder / "split", parts.fold)]
                    for name, frame in parts.named()
                ]
            )
            cutoffs, ratings = folds[0].cutoffs, outcome.ratings
        told = {
            "strategy": settings.strategy,
            "reason": outcome.reason,
            "validation": "user_time" if settings.validates_by_user else None,
            "cutoffs": {name: at.isoformat() for name, at in cutoffs.items()},
            "folds": [parts.fold for parts in folds],
        }
        written = written_folds(run, told)
        context.folds.pop(run.id, None)
        checks = [partial(splits.check_no_leak, parts, settings) for parts in written]
        counting = [partial(splits.count_parts, ratings, parts, settings) for parts in written]
        work: list[Callable[[], list[Any]]] = [partial(run_all, checks), partial(run_all, counting)]
        _, counted = run_all(work)
        context.folds[run.id] = written
        counts = [found.as_json() for found in counted]
        later = run.manifest["input"]["ratings"]["kept"] - counts[0]["rows_in"]
        # Not before: nobody may go on with a split that leaks, or that nobody has looked at.
        run.record(split={**told, "parts": counts, "later": later})
