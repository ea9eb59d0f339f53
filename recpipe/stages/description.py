"""What the ratings look like: of the tables as they are, and of those of a run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from recpipe import split as splits
from recpipe.contracts import GIVEN_PARTS
from recpipe.describe import Description, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    strategy = settings.strategy
    if strategy == "auto":
        in_parts = GIVEN_PARTS.name in versions and not (settings.test_from or settings.test_until)
        strategy = "given" if in_parts else "global_time"
    cutoff = None
    if strategy == "global_time" and source.get("times", "some") == "some":
        cutoff = splits.first_of_test(context.tables.read("ratings"), settings)
    return _described(context, versions, source, cutoff)


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
    data = _described(context, run.manifest["tables"], source, cutoff).as_json()
    run.folder.write_json(DATA, data)
    return data


def _described(
    context: Context,
    versions: Mapping[str, int],
    source: Mapping[str, Any],
    cutoff: datetime | None,
) -> Description:
    tables = {
        name: context.tables.read(name, version=versions[name])
        for name in ("ratings", "movies", "tags")
        if name in versions
    }
    return describe(
        tables["ratings"],
        movies=tables.get("movies"),
        tags=tables.get("tags"),
        cutoff=cutoff,
        refused=source.get("ratings"),
    )
