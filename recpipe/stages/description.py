"""What the ratings look like: of the tables as they are, and of those of a run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from recpipe import split as splits
from recpipe.contracts import GIVEN_PARTS
from recpipe.describe import Description, describe
from recpipe.stages.context import ratings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame

    from recpipe.stages.context import Context
    from recpipe.storage import Run

DATA = "data.json"


def described(context: Context) -> Description:
    """What the current tables look like, and who would be cold where test begins by the settings.

    Raises:
        UsageError: if there are no tables yet.
    """
    source = cast("dict[str, Any]", context.tables.current()["source"])
    versions = context.tables.versions()
    settings = context.settings.split
    at_one_instant = settings.strategy in {"auto", "global_time"} and not splits.follows_parts(
        settings, in_parts=GIVEN_PARTS.name in versions
    )
    cutoff = None
    if at_one_instant and source.get("times", "some") == "some":
        cutoff = splits.first_of_test(context.tables.read("ratings"), settings)
    tables = _tables(context, versions)
    return _described(tables, source, cutoff)


def data_of(context: Context, run: Run) -> dict[str, Any] | None:
    """What `data.json` says of the tables of a run; counted where it is not there yet."""
    if run.folder.exists(DATA):
        found: dict[str, Any] = run.folder.read_json(DATA)
        return found
    if "ratings" not in (run.manifest.get("tables") or {}):
        return None
    at = (run.manifest.get("split") or {}).get("cutoffs", {}).get("test_from")
    cutoff = None if at is None else datetime.fromisoformat(at)
    source = run.manifest.get("input") or {}
    tables = _tables(context, run.manifest["tables"])
    tables["ratings"] = ratings_of(context, run).frame
    data = _described(tables, source, cutoff).as_json()
    run.folder.write_json(DATA, data)
    return data


def _tables(context: Context, versions: Mapping[str, int]) -> dict[str, DataFrame]:
    return {
        name: context.tables.read(name, version=versions[name])
        for name in ("ratings", "movies", "tags")
        if name in versions
    }


def _described(
    tables: Mapping[str, DataFrame], source: Mapping[str, Any], cutoff: datetime | None
) -> Description:
    return describe(
        tables["ratings"],
        movies=tables.get("movies"),
        tags=tables.get("tags"),
        cutoff=cutoff,
        refused=source.get("ratings"),
    )
