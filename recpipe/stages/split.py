"""Ratings to train, validation and test."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from recpipe import split as splits
from recpipe.contracts import RATINGS, SPLIT
from recpipe.errors import ContractError, InputError, UsageError
from recpipe.runtime.parallel import run_all
from recpipe.stages.context import (
    Context,
    given_parts,
    of_fold,
    ratings_of,
    scale,
    stage,
    stored,
    times,
    written_folds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from recpipe.storage import Run, Stored


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
        source, kept = _known_ratings(context, run)
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
        later = kept - counts[0]["rows_in"]
        # Not before: nobody may go on with a split that leaks, or that nobody has looked at.
        run.record(split={**told, "parts": counts, "later": later})


def _known_ratings(context: Context, run: Run) -> tuple[Stored, int]:
    """What is split, and its rows: the ratings of the source, or what the filter leaves of them.

    These are written to the run, whose later stages read them there (`context.ratings_of`).

    Raises:
        UsageError: if the filter would take rows out of parts that were given.
    """
    ratings = stored(context, run, "ratings")
    if not context.settings.filter.is_set:
        return ratings, run.manifest["input"]["ratings"]["kept"]
    in_parts = "parts" in run.manifest["tables"]
    if splits.follows_parts(context.settings.split, in_parts=in_parts):
        raise UsageError(
            "the ratings came in parts, and [filter] would change what is in them",
            hint="leave the filter out, or name another split.strategy",
        )
    with context.root.scratch("filter") as scratch:
        found = splits.filtered(
            ratings.frame,
            context.settings.filter,
            seed=context.settings.seed,
            scratch=scratch,
            times=times(run),
            explicit=scale(run) is not None,
        )
        written = run.folder.write_table("ratings", found.ratings, contract=RATINGS)
    sizes = [F.count_distinct(key).alias(f"{key}s") for key in ("user", "item")]
    counted = written.agg(F.count(F.lit(1)).alias("rows"), *sizes).collect()[0].asDict()
    if counted["rows"] != found.rows:
        raise ContractError(
            f"filter: {counted['rows']} ratings were written, and {found.rows} are left",
            hint="rows in = rows + left out does not hold; report this",
        )
    run.record(filter={"rows_in": found.rows_in, "left_out": dict(found.left_out), **counted})
    told = ", ".join(f"{rule} left out {rows}" for rule, rows in found.left_out.items())
    logger.info("filter: %d of %d ratings are left; %s", found.rows, found.rows_in, told)
    return ratings_of(context, run), found.rows
