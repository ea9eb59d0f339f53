"""What an ingest did, for the log, the manifest and CURRENT.json."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from recpipe.feedback import Meaning, Scale, Times

_OURS = {"timestamp": "time"}


@dataclass(frozen=True)
class FileReport:
    """One raw file that was read.

    Args:
        name: relative to the source; of a source that is one of several parts, after its part.
        kind: what it holds; of ratings in parts, the part.
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
    """What became of the rows of a table's files.

    rows = kept + rejected + superseded + unrated + later.

    Args:
        rows: in the source.
        kept: in the table.
        rejected: refused.
        superseded: valid, but not the latest of their key.
        reasons: refused rows by reason.
        unrated: of ratings, seen but not rated.
        later: of ratings, made after the run date.
    """

    rows: int
    kept: int
    rejected: int
    superseded: int
    reasons: Mapping[str, int]
    unrated: int = 0
    later: int = 0

    @property
    def add_up(self) -> bool:
        parts = self.kept, self.rejected, self.superseded, self.unrated, self.later
        return self.rows == sum(parts)

    @classmethod
    def total(cls, counts: Sequence[RowCounts]) -> RowCounts:
        """What became of the rows of all of them together."""
        reasons: Counter[str] = Counter()
        for each in counts:
            reasons.update(each.reasons)
        return cls(
            rows=sum(each.rows for each in counts),
            kept=sum(each.kept for each in counts),
            rejected=sum(each.rejected for each in counts),
            superseded=sum(each.superseded for each in counts),
            reasons=dict(reasons),
            unrated=sum(each.unrated for each in counts),
            later=sum(each.later for each in counts),
        )


@dataclass(frozen=True)
class IdCounts:
    """Ids of users or items: their type, those new in this source, and all."""

    type: str
    new: int
    total: int


def fingerprint_of(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the kinds and digests of the files: the same bytes, the same input."""
    lines = sorted(f"{kind} {sha256}\n" for kind, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class PartReport:
    """One of the sources of ratings that come in parts.

    Args:
        source: the URI that was given.
        format: what it was recognised as.
        ratings: what became of its ratings.
    """

    source: str
    format: str
    ratings: RowCounts

    def as_dict(self) -> dict[str, Any]:
        """Its entry in the manifest."""
        return {"path": self.source, "format": self.format, "ratings": _counts(self.ratings)}


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Where ratings come in parts, `source`, `format` and `columns` are those of train.

    Args:
        source: the URI that was given.
        format: what it was recognised as.
        meaning: what the values are, and the valid ratings.
        repeated: what became of several rows of a pair.
        times: what the instants are.
        columns: the names of the columns of the ratings, by field.
        ignored: files that were not read, and why.
        files: what was read.
        ratings: what became of the ratings.
        others: what became of the rows of the other tables, by name.
        users: ids of users.
        items: ids of items.
        versions: the current version of every table.
        parts: train, test and maybe validation, where ratings come in parts.
    """

    source: str
    format: str
    meaning: Meaning
    repeated: str
    times: Times
    columns: Mapping[str, str]
    ignored: Mapping[str, str]
    files: tuple[FileReport, ...]
    ratings: RowCounts
    others: Mapping[str, RowCounts]
    users: IdCounts
    items: IdCounts
    versions: Mapping[str, int]
    parts: Mapping[str, PartReport] = field(default_factory=dict)

    @property
    def rating_scale(self) -> Scale | None:
        """The valid ratings; None with implicit feedback."""
        return self.meaning.scale

    @property
    def fingerprint(self) -> str:
        """See `fingerprint_of`.

        A part is a kind, so that train and test in each other's place are another input.
        """
        return fingerprint_of((file.kind, file.sha256) for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """What CURRENT.json and the manifest keep, without the versions that they have anyway."""
        return {
            "path": self.source,
            "format": self.format,
            "fingerprint": self.fingerprint,
            "feedback": self.meaning.feedback,
            "feedback_reason": self.meaning.reason,
            "rating_scale": None if self.rating_scale is None else self.rating_scale.model_dump(),
            "repeated": self.repeated,
            "times": self.times,
            "columns": {_OURS.get(name, name): column for name, column in self.columns.items()},
            "ignored": [{"name": n, "reason": why} for n, why in self.ignored.items()],
            "files": [asdict(file) for file in self.files],
            "ratings": _counts(self.ratings),
            "parts": {name: part.as_dict() for name, part in self.parts.items()},
            "others": {name: _counts(counts) for name, counts in self.others.items()},
            "users": asdict(self.users),
            "items": asdict(self.items),
        }

    def summary(self) -> str:
        """One line for the log."""
        r = self.ratings
        more = [(r.unrated, "not rated"), (r.later, "later than the run date")]
        counted = "".join(f" + {count:,} {what}" for count, what in more if count)
        times = {"none": ", without times", "one_instant": ", all at one instant"}
        what = "ratings" if self.meaning.feedback == "explicit" else "likings"
        scale = "" if self.rating_scale is None else f" from {self.rating_scale}"
        ignored = f"; {len(self.ignored)} files not read" if self.ignored else ""
        given = [f"{part.ratings.kept:,} in {name}" for name, part in self.parts.items()]
        parts = f", given as {', '.join(given)}" if given else ""
        return (
            f"{self.format}: {r.kept:,} {what} of {self.users.total:,} users"
            f" ({self.users.new:,} new) and {self.items.total:,} items ({self.items.new:,} new)"
            f"{scale}{times.get(self.times, '')}{parts};"
            f" {r.rows:,} rows = {r.kept:,} kept + {r.rejected:,} rejected"
            f" + {r.superseded:,} superseded{counted}{ignored}"
        )


def _counts(counts: RowCounts) -> dict[str, Any]:
    return {**asdict(counts), "reasons": dict(counts.reasons)}
