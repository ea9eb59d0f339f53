"""What an ingest did, for the log, the manifest and CURRENT.json."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recpipe.feedback import Scale


@dataclass(frozen=True)
class FileReport:
    """One raw file that was read.

    Args:
        name: relative to the source.
        kind: what it holds.
        size: bytes.
        sha256: hex digest of its bytes.
        rows: lines that are rows, refused ones included.
    """

    name: str
    kind: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a table's files: rows = kept + rejected + superseded.

    Args:
        rows: in the source.
        kept: in the table.
        rejected: refused.
        superseded: valid, but not the latest of their key.
        reasons: refused rows by reason.
    """

    rows: int
    kept: int
    rejected: int
    superseded: int
    reasons: Mapping[str, int]

    @property
    def add_up(self) -> bool:
        return self.rows == self.kept + self.rejected + self.superseded


@dataclass(frozen=True)
class IdCounts:
    """Ids of users or items: their type, those new in this source, and all."""

    type: str
    new: int
    total: int


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Args:
        source: the URI that was given.
        format: what it was recognised as.
        rating_scale: the valid ratings.
        files: what was read.
        ratings: what became of the ratings.
        others: what became of the rows of the other tables, by name.
        users: ids of users.
        items: ids of items.
        versions: the current version of every table.
    """

    source: str
    format: str
    rating_scale: Scale
    files: tuple[FileReport, ...]
    ratings: RowCounts
    others: Mapping[str, RowCounts]
    users: IdCounts
    items: IdCounts
    versions: Mapping[str, int]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the kinds and digests of the files: the same bytes, the same input."""
        lines = sorted(f"{file.kind} {file.sha256}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """What CURRENT.json and the manifest keep, without the versions that they have anyway."""
        return {
            "path": self.source,
            "format": self.format,
            "fingerprint": self.fingerprint,
            "rating_scale": self.rating_scale.model_dump(),
            "files": [asdict(file) for file in self.files],
            "ratings": _counts(self.ratings),
            "others": {name: _counts(counts) for name, counts in self.others.items()},
            "users": asdict(self.users),
            "items": asdict(self.items),
        }

    def summary(self) -> str:
        """One line for the log."""
        r = self.ratings
        return (
            f"{self.format}: {r.kept:,} ratings of {self.users.total:,} users"
            f" ({self.users.new:,} new) and {self.items.total:,} items ({self.items.new:,} new);"
            f" {r.rows:,} rows = {r.kept:,} kept + {r.rejected:,} rejected"
            f" + {r.superseded:,} superseded"
        )


def _counts(counts: RowCounts) -> dict[str, Any]:
    return {**asdict(counts), "reasons": dict(counts.reasons)}
