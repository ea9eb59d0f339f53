"""The section `rules` in a run: checked as it starts, applied by `recommend`, read by `publish`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recpipe import recommend as recommending
from recpipe.ingest.item_lists import item_list
from recpipe.recommend import AppliedRules, Catalogue
from recpipe.stages.context import Context, ratings_of, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame

    from recpipe.feedback import Times
    from recpipe.storage import Run

logger = logging.getLogger(__name__)

_FOLDER = "rules"
_MOVIES = "movies"


def check_rules(context: Context, *, tables: Mapping[str, int], times: Times) -> None:
    """Raise where the rules of the settings cannot be applied; nothing is written.

    Args:
        context: whose settings they are.
        tables: the versions of those that the source has, by name.
        times: what instants its ratings have.

    Raises:
        UsageError: if they ask for what the source does not say.
        InputError: if no item has a genre that they name, or a table that they name is not there
            or has no column of items.
    """
    rules = context.settings.rules
    if not rules.is_set:
        return
    recommending.refuse_impossible(rules, _movies(context, tables), times=times)
    for place in (rules.allow, rules.block):
        _given(context, place)


def applied_rules(context: Context, run: Run) -> AppliedRules | None:
    """The rules of the run, applied and written, and counted in its manifest; None without rules.

    They must have passed `check_rules`.

    Raises:
        InputError: as `recommend.apply_rules`.
    """
    rules = context.settings.rules
    if not rules.is_set:
        return None
    catalogue = Catalogue(
        users=table(context, run, "users"),
        items=table(context, run, "items"),
        ratings=ratings_of(context, run).frame,
        movies=_movies(context, run.manifest["tables"]),
        instant=context.end,
    )
    told = recommending.apply_rules(
        rules,
        catalogue,
        run.folder / _FOLDER,
        allow=_given(context, rules.allow),
        block=_given(context, rules.block),
    )
    run.record(rules=told)
    left_out = ", ".join(f"{rule} takes {count}" for rule, count in told["left_out"].items())
    logger.info("rules: of %d items %s", told["items"], left_out or "lists may hold any")
    for name in ("allow", "block"):
        unknown = told.get(name, {})
        if unknown.get("unknown_items") or unknown.get("unknown_users"):
            logger.warning(
                "rules.%s: of %d rows %d name an item, and %d a user, that the run does not know",
                name,
                unknown["rows"],
                unknown["unknown_items"],
                unknown["unknown_users"],
            )
    return written_rules(run)


def written_rules(run: Run) -> AppliedRules | None:
    """The rules by which the lists of a run were made; None for none."""
    return AppliedRules(run.folder / _FOLDER) if "rules" in run.manifest else None


def _movies(context: Context, tables: Mapping[str, int]) -> DataFrame | None:
    """contracts.MOVIES; None where the source says nothing of items."""
    return context.tables.read(_MOVIES, version=tables[_MOVIES]) if _MOVIES in tables else None


def _given(context: Context, place: str | None) -> DataFrame | None:
    return None if place is None else item_list(place, context.root.spark)
