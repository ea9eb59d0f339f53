"""What the names of the files of a folder or an archive say, before any of them is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from recpipe.ingest.formats import delta

_ENDED_WELL = "_SUCCESS"


@dataclass
class Listing:
    """What was noted of the names so far, all relative to the folder.

    Args:
        names: of the files, without what Spark and macOS hide.
        tables: folders that are Delta tables.
        jobs: folders of a job that says that it ended well.
    """

    names: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)

    def add(self, name: str) -> None:
        """Take note of a file."""
        path = PurePosixPath(name)
        if delta.LOG in path.parts:
            self.tables.add("/".join(path.parts[: path.parts.index(delta.LOG)]))
        if path.name == _ENDED_WELL:
            self.jobs.add(str(path.parent))
        if not any(part.startswith(".") or _hidden(part) for part in path.parts):
            self.names.append(name)

    def is_committed(self, name: str) -> bool:
        """Whether a file is of a job that ended well."""
        return any(str(parent) in self.jobs for parent in PurePosixPath(name).parents)


def _hidden(part: str) -> bool:
    """Whether Spark leaves a file or folder of this name out: `_SUCCESS`, but not `_id=1`."""
    return part.startswith("_") and "=" not in part


__all__ = ["Listing"]
