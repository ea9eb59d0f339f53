"""The tables under a root: written together, seen together.

`tables/CURRENT.json` names the version of every table. It is replaced last and in one step, so a
reader sees all tables of one ingest or all of the one before.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from recpipe.errors import InputError, UsageError
from recpipe.storage.folder import Format
from recpipe.storage.paths import absolute, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from recpipe.contracts import Table
    from recpipe.errors import RecpipeError
    from recpipe.storage.folder import Folder
    from recpipe.storage.stored import Stored

_CURRENT = "CURRENT.json"


class Tables:
    """Reads and replaces the tables under a root.

    Args:
        root: the folder given by `--root`; its format is that of new tables.
    """

    def __init__(self, root: Folder) -> None:
        self.folder = root / "tables"

    def exist(self) -> bool:
        """Whether an ingest has ever been committed here."""
        return self.folder.exists(_CURRENT)

    def current(self) -> dict[str, object]:
        """What CURRENT.json says: `format`, `ingested_at`, `source`, `tables` {name: version}.

        Raises:
            UsageError: if there are no tables yet.
            InputError: if it is damaged.
        """
        if not self.exist():
            raise UsageError(
                f"{self.folder.uri}: no tables",
                hint="make them with `recpipe ingest`, or run with --input or --dataset",
            )
        value = self.folder.read_json(_CURRENT)
        if not isinstance(value, dict) or not {"format", "source", "tables"} <= value.keys():
            raise _damaged(self.folder.path(_CURRENT), "format, source or tables is missing")
        return value

    def versions(self) -> dict[str, int]:
        """The current version of every table.

        Raises:
            UsageError: if there are no tables yet.
            InputError: if CURRENT.json is damaged.
        """
        tables = self.current()["tables"]
        if not isinstance(tables, dict) or not all(isinstance(v, int) for v in tables.values()):
            raise _damaged(self.folder.path(_CURRENT), "`tables` names no version of each table")
        return tables

    def has(self, name: str) -> bool:
        return self.exist() and name in self.versions()

    def keeps(self, name: str, *, version: int) -> bool:
        """Whether a version of a table is still there: of Parquet's, two are kept."""
        if self.current()["format"] == "delta":
            return True
        return (self.folder / name).has_table(_folder_name(version))

    def read(self, name: str, *, version: int | None = None) -> DataFrame:
        """A table at its current version, or at one that a run is pinned to.

        Raises:
            UsageError: if it is not there.
        """
        return self.stored(name, version=version).frame

    def stored(self, name: str, *, version: int | None = None) -> Stored:
        """`read`, as a handle: the rows of the table, or its files for tasks to decode."""
        if version is None:
            version = self.versions().get(name)
        if version is None:
            raise UsageError(
                f"{self.folder.uri}: no table {name}", hint="the source that was ingested had none"
            )
        if self.current()["format"] == "delta":
            return self.folder.stored(name, version=version)
        return (self.folder / name).stored(_folder_name(version))

    def location(self, name: str) -> str:
        """The folder of a Parquet table at its current version, relative to that of all tables."""
        return f"{name}/{_folder_name(self.versions()[name])}"

    def check_format(self) -> None:
        """Raise UsageError if the tables already here are of the other format."""
        if self.exist() and self.current()["format"] != self.folder.format:
            raise UsageError(
                f"{self.folder.uri} holds {self.current()['format']} tables",
                hint=f"use --format {self.current()['format']} or another root",
            )

    @contextmanager
    def replace(self, *, source: Mapping[str, object] | None = None) -> Iterator[Replacement]:
        """Write new versions of tables; they become current together when the `with` ends.

        Whatever ends the `with` early leaves the old versions current and the new ones removed
        (Delta: restored). Tables that its body does not write stay as they are, unless it
        drops them.

        Args:
            source: kept in CURRENT.json: where the rows came from (path, format, fingerprint);
                the body may `describe` more.

        Raises:
            UsageError: if the tables already there are of the other format.
        """
        self.check_format()
        before = self.versions() if self.exist() else {}
        replacement = Replacement(self.folder, before, source=dict(source or {}))
        try:
            yield replacement
        except BaseException:
            replacement.undo()
            raise
        try:
            self.folder.write_json(
                _CURRENT,
                {
                    "format": self.folder.format,
                    "ingested_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "source": replacement.source,
                    "tables": replacement.versions,
                },
            )
        except BaseException:
            # An interrupt may come after the pointer was replaced: then the new versions stand.
            if not self.exist() or self.versions() != replacement.versions:
                replacement.undo()
            raise
        replacement.sweep()

    @contextmanager
    def provisional(self, *others: type[RecpipeError]) -> Iterator[None]:
        """Take back what an ingest in the `with` has made current if its input proves unusable.

        For what shows only later than the ingest itself, such as an empty split: an InputError
        that leaves the `with` leaves the tables as they were before it.

        Args:
            others: errors that do so as well.
        """
        undone_by: tuple[type[RecpipeError], ...] = (InputError, *others)
        before = self.current() if self.exist() else None
        try:
            yield
        except undone_by:
            self._revert(before)
            raise

    def _revert(self, before: dict[str, object] | None) -> None:
        if not self.exist() or self.current() == before:
            return
        now = self.versions()
        # The pointer first: no reader may be sent to what is about to go.
        if before is None:
            self.folder.delete(_CURRENT)
            then: dict[str, int] = {}
        else:
            self.folder.write_json(_CURRENT, before)
            then = self.versions()
        written = {name: v for name, v in now.items() if then.get(name) != v}
        Replacement(self.folder, then, written=written, begun=set(written)).undo()


def local_format(root: str) -> Format | None:
    """The format of the tables under a local root, known before there is a session; else None.

    A session needs Delta's jars from its start, and only local files can be read without one.
    """
    folder = local_path(absolute(root))
    current = folder / "tables" / _CURRENT if folder else None
    if current is None or not current.is_file():
        return None
    try:
        said = json.loads(current.read_text(encoding="utf-8"))
        found: Format = said["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(str(current), repr(error)) from error
    if found not in get_args(Format):
        raise _damaged(str(current), f"format {found!r}")
    return found


def _damaged(path: str, what: str) -> InputError:
    return InputError(f"{path} is damaged: {what}", hint="restore it, or ingest into another root")


@dataclass
class Replacement:
    """New versions of tables on their way; see `Tables.replace`."""

    folder: Folder
    before: dict[str, int]
    source: dict[str, object] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    @property
    def versions(self) -> dict[str, int]:
        """The version of every table once the `with` has ended."""
        kept = {name: v for name, v in self.before.items() if name not in self.dropped}
        return {**kept, **self.written}

    def describe(self, facts: Mapping[str, object]) -> None:
        """Add to what CURRENT.json says about the source."""
        self.source.update(facts)

    def write(self, contract: Table, frame: DataFrame) -> DataFrame:
        """Write a new version of the contract's table and return it as read back.

        The schema is checked before, the whole contract by whoever knows that it is cheap.
        """
        name = contract.name
        contract.check_schema(frame)
        self.begun.add(name)
        if self.folder.format == "delta":
            self.folder.write_table(name, frame)
            self.written[name] = self.folder.table_version(name)
            return self.folder.read_table(name, version=self.written[name])
        return (self.folder / name).write_table(self._next_version(name), frame)

    def write_encoded(self, contract: Table, files: DataFrame, *, ids: DataType) -> DataFrame:
        """`write`, of Parquet files that were encoded by tasks; see `Folder.write_encoded`.

        Args:
            contract: of the table.
            files: `encoded.WRITTEN_FILES`; what is in them, only a reader of them can check.
            ids: the type of its ids.
        """
        name = contract.name
        self.begun.add(name)
        version = self._next_version(name)
        return (self.folder / name).write_encoded(version, files, contract.schema(ids=ids))

    def _next_version(self, name: str) -> str:
        version = max([self.before.get(name, 0), *self._versions(name)]) + 1
        self.written[name] = version
        return _folder_name(version)

    def drop(self, name: str) -> None:
        """Leave a table out of the next state: this source has none."""
        self.dropped.add(name)

    def _versions(self, name: str) -> list[int]:
        return [int(n) for n in (self.folder / name).list() if n.isdecimal()]

    def undo(self) -> None:
        """Take back what was written, what was written in part included."""
        for name in sorted(self.begun):
            if name not in self.before:
                self.folder.delete(name)
            elif self.folder.format == "parquet":
                if name in self.written:
                    (self.folder / name).delete(_folder_name(self.written[name]))
            elif self.folder.table_version(name) != self.before[name]:
                self.folder.spark.sql(
                    f"RESTORE TABLE delta.`{self.folder.path(name)}`"
                    f" TO VERSION AS OF {self.before[name]}"
                )
        if not self.before and not self.folder.list():
            self.folder.delete()

    def sweep(self) -> None:
        """Remove Parquet versions that are neither current nor those before.

        A reader may still be on the one before, also of a table that was dropped.
        """
        if self.folder.format != "parquet":
            return
        for name in self.folder.list():
            if name == _CURRENT:
                continue
            oldest = self.before.get(name, self.versions.get(name))
            for version in self._versions(name):
                if oldest is None or version < oldest:
                    (self.folder / name).delete(_folder_name(version))
            if oldest is None:
                self.folder.fs.delete_empty(self.folder.path(name))


def _folder_name(version: int) -> str:
    return f"{version:06d}"
