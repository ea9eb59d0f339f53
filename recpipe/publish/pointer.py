"""The one file that says which version readers take, and the versions behind it.

`published/CURRENT.json` is replaced in one step. Each state that it is about to lose is kept as
`published/history/<run_id>.json`: what was published, and what a way back needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recpipe.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame

    from recpipe.publish.parquet import Export
    from recpipe.storage import Folder

SCHEMA_VERSION = 1
PUBLISHED_PATH = "published"
_CURRENT = "CURRENT.json"


@dataclass(frozen=True)
class Published:
    """A published version: what CURRENT.json says.

    Args:
        schema_version: of this file.
        run_id: of the run that it comes from.
        path: of the folder of `part-*.parquet`, relative to the root.
        rows: in it.
        users: with at least one row.
        published_at: when the pointer was set, ISO 8601, UTC.
        previous: run id of the version before it, if there was one.
        tables: the folders of the tables beside the lists, by their names.
    """

    schema_version: int
    run_id: str
    path: str
    rows: int
    users: int
    published_at: str
    previous: str | None = None
    tables: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Folder) -> DataFrame:
        """The table: contracts.RECOMMENDATIONS."""
        return (root / self.path).read_parquet()

    def read_beside(self, root: Folder, name: str) -> DataFrame | None:
        """A table beside the lists; None where there is none of that name."""
        return (root / self.tables[name]).read_parquet() if name in self.tables else None

    def as_dict(self) -> dict[str, Any]:
        """What the file says; without `tables` where there are none, as it ever was."""
        said = asdict(self)
        return said if self.tables else {key: said[key] for key in said if key != "tables"}


def current(root: Folder) -> Published:
    """The version that readers take now.

    Raises:
        UsageError: if nothing has been published here.
        InputError: if the pointer is not one that this code understands.
    """
    folder = root / PUBLISHED_PATH
    if not folder.exists(_CURRENT):
        raise UsageError(
            f"{folder.uri}: nothing is published", hint="run `recpipe run`, or `recpipe publish`"
        )
    return _parsed(folder, _CURRENT)


def published(root: Folder, run_id: str) -> Published:
    """The published version of a run, current or earlier.

    Raises:
        UsageError: if that run has no published version, or it has been removed since.
    """
    for version in versions(root):
        if version.run_id == run_id:
            return version
    known = ", ".join(version.run_id for version in versions(root)) or "none"
    raise UsageError(f"{root.uri}: run {run_id!r} is not published", hint=f"published: {known}")


def versions(root: Folder) -> list[Published]:
    """Every version that is or was current and is still there: the current one, then by age."""
    folder = root / PUBLISHED_PATH
    if not folder.exists(_CURRENT):
        return []
    now = current(root)
    history = folder / "history"
    earlier = [_parsed(history, name) for name in history.list() if name.endswith(".json")]
    earlier.sort(key=lambda version: (version.published_at, version.run_id), reverse=True)
    return [now, *[version for version in earlier if version.run_id != now.run_id]]


def was_published(root: Folder, run_id: str) -> bool:
    """Whether a reader may be on this run's version: then its files must not be touched."""
    return any(version.run_id == run_id for version in versions(root))


def shelf_of(table: str) -> str:
    """The folder of all versions of a table, relative to the root."""
    return f"{PUBLISHED_PATH}/{table}"


def place_of(run_id: str, table: str) -> str:
    """The folder of a run's version of a table, relative to the root."""
    return f"{shelf_of(table)}/{run_id}"


def point_to(
    export: Export, *, root: Folder, keep: int, beside: Mapping[str, Export] | None = None
) -> Published:
    """Make an export the current version, in one step, then remove versions beyond `keep`.

    A reader that has read the pointer before finds the files of the version before until the
    pointer has moved once more. Folders that were never pointed to are left alone: another
    process may be writing there.

    Args:
        export: what `export` verified.
        root: of the pipeline.
        keep: versions that stay, the current one included; at least 2.
        beside: the other tables of the version, by their names.

    Returns:
        What CURRENT.json says now. A version that is current already stays as it is.
    """
    folder = root / PUBLISHED_PATH
    before = versions(root)
    if before and before[0].run_id == export.run_id:
        now = before[0]
    else:
        if before:
            # First the history, so that no state of the pointer is ever without a trace.
            (folder / "history").write_json(f"{before[0].run_id}.json", before[0].as_dict())
        now = Published(
            schema_version=SCHEMA_VERSION,
            run_id=export.run_id,
            path=export.path,
            rows=export.rows,
            users=export.users,
            published_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            previous=before[0].run_id if before else None,
            tables={name: table.path for name, table in (beside or {}).items()},
        )
        folder.write_json(_CURRENT, now.as_dict())
    _sweep(root, keep=max(keep, 2))
    return now


def _sweep(root: Folder, *, keep: int) -> None:
    """Remove the oldest versions; the record goes first, so that none is ever half there."""
    now, *earlier = versions(root)
    # The version before the current one is not always the newest of the others: a run can be
    # published again.
    earlier.sort(key=lambda version: version.run_id != now.previous)
    for version in earlier[keep - 1 :]:
        (root / PUBLISHED_PATH / "history").delete(f"{version.run_id}.json")
        for path in (version.path, *version.tables.values()):
            (root / path).delete()


def _parsed(folder: Folder, name: str) -> Published:
    value: Any = folder.read_json(name)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{folder.path(name)}: schema_version is {version}, not {SCHEMA_VERSION}",
            hint="use the recpipe that published it",
        )
    try:
        return Published(**value)
    except TypeError as error:
        raise InputError(
            f"{folder.path(name)} is not a pointer: {error}", hint="restore or remove it"
        ) from error
