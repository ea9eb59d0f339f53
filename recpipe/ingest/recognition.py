"""Which release or table a source is, told from the beginning of each of its files.

Content decides, names help: a renamed file or a release inside another folder is recognised all
the same; where several files look alike (100k ships its ratings again as ten splits), the
release's own file name tells which is meant. No file is passed over in silence: each is read, or
ignored with a reason, or, if it may hold ratings and cannot be read, the source is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from recpipe.errors import InputError
from recpipe.feedback import Scale
from recpipe.ingest.dialect import is_wide
from recpipe.ingest.formats import FORMATS, GivenColumns, Look
from recpipe.ingest.formats.text import DATA
from recpipe.ingest.names import is_count, known_names, plain
from recpipe.ingest.selection import (
    OWN_NAMES,
    SHOWN,
    Seen,
    check_given,
    choose,
    choose_ratings,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recpipe.ingest.layout import Kind, Layout, Sample

WHOLE_STARS = Scale(min=1.0, max=5.0, step=1.0)
HALF_STARS = Scale(min=0.5, max=5.0, step=0.5)

_SUPPORTED = (
    "a MovieLens release, or CSV, TSV, JSON lines, Parquet or Delta of user, item and, where"
    " there are, rating and time"
)
_MAGIC = (
    (b"PK\x03\x04", "a zip"), (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"), (b"7z\xbc\xaf", "a 7z archive"), (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0", "an Office document"), (b"SQLite format", "an SQLite database"),
    (b"ORC", "ORC"), (b"Obj\x01", "Avro"), (b"\x89HDF", "HDF5"),
)  # fmt: skip
_TAR = slice(257, 262)
_HARMLESS = frozenset({
    ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".html", ".htm", ".md", ".py", ".sh", ".pl",
    ".c", ".java", ".ipynb", ".crc", ".md5", ".sha256", ".ico", ".rst", ".r", ".m",
})  # fmt: skip
_SHEETS = frozenset({".xlsx", ".xls", ".ods"})


@dataclass(frozen=True)
class Part:
    """The files of one kind, in the order in which they are read, each with its layout."""

    kind: Kind
    files: tuple[tuple[str, Layout], ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for path, _ in self.files)

    @property
    def layout(self) -> Layout:
        """Of the first file, and of all but those of ratings."""
        return self.files[0][1]

    @property
    def groups(self) -> list[tuple[Layout, list[int]]]:
        """The layouts, each with the places in `files` of those that have it."""
        found: list[tuple[Layout, list[int]]] = []
        for place, (_, layout) in enumerate(self.files):
            for known, places in found:
                if known == layout:
                    places.append(place)
                    break
            else:
                found.append((layout, [place]))
        return found

    def completed(self, layouts: Mapping[int, Layout]) -> Part:
        """The same files, some of them with another layout, by their place."""
        files = [(path, layouts.get(at, known)) for at, (path, known) in enumerate(self.files)]
        return replace(self, files=tuple(files))


@dataclass(frozen=True)
class RecognisedSource:
    """A recognised source.

    Args:
        name: what it is, as said to the user.
        scale: its valid ratings; None where they are told from the values.
        parts: one for each kind of file that is read.
        values: how often each rating is among the first ones of every file.
        counts: whether the name of the rating column says that it counts.
        columns: the names of the columns of the ratings, by field.
        ignored: the files that are not read, and why.
    """

    name: str
    scale: Scale | None
    parts: Mapping[Kind, Part]
    values: Mapping[float, int] = field(default_factory=dict)
    counts: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)

    def ratings_only(self) -> RecognisedSource:
        """The same without the tables beside its ratings, which are then ignored."""
        beside = {
            path: f"{kind}, which are read beside train alone"
            for kind, part in self.parts.items()
            if kind != "ratings"
            for path in part.paths
        }
        ratings: dict[Kind, Part] = {"ratings": self.parts["ratings"]}
        return replace(self, parts=ratings, ignored={**self.ignored, **beside})


def look_at(sample: Sample, given: GivenColumns) -> Look:  # noqa: PLR0911 - one for each thing it can be
    """What a file is, by the first format that knows it."""
    if sample.fault:
        return Look(None, reason=sample.fault, may_rate=True)
    if not sample.head.strip():
        return _empty(sample)
    for known in FORMATS:
        look = known.look(sample, given)
        if look is not None:
            return look
    if sample.suffix in _SHEETS:
        return Look(None, reason="is a spreadsheet: save it as CSV first", may_rate=True)
    for magic, what in _MAGIC:
        if sample.head.startswith(magic):
            hint = "a zip in a zip" if sample.compressed and what == "a zip" else what
            return Look(None, reason=f"is {hint}: unpack it first", may_rate=True)
    if sample.head[_TAR] == b"ustar":
        return Look(None, reason="is a tar archive: unpack it first", may_rate=True)
    if encoding := is_wide(sample.head):
        return Look(None, reason=f"is {encoding.upper()}: convert it to UTF-8", may_rate=True)
    harmless = sample.suffix in _HARMLESS
    return Look(None, reason="is neither text nor Parquet", may_rate=not harmless)


def _empty(sample: Sample) -> Look:
    """A part of a job that had no rows for it is empty; any other table of 0 bytes was cut off."""
    if sample.head:
        return Look(None, reason="has no rows")
    cut = sample.suffix in DATA and (not sample.committed or sample.suffix in {".parquet", ".pq"})
    return Look(None, reason="has 0 bytes", may_rate=cut)


def recognise(
    samples: Sequence[Sample], *, source: str, given: GivenColumns | None = None
) -> RecognisedSource:
    """The source that files with these beginnings make up.

    Args:
        samples: of every file of the source.
        source: what to call it in errors.
        given: what the settings say about the columns.

    Raises:
        InputError: if no file holds ratings, several do that cannot belong together, or one that
            may hold ratings cannot be read.
    """
    given = given or GivenColumns()
    seen = [Seen(s, look_at(s, given)) for s in sorted(samples, key=lambda s: s.path)]
    rated = [one for one in seen if one.look.kind == "ratings"]
    if not rated:
        raise _not_recognised(seen, source, given)
    ratings, ignored = choose_ratings(rated, source)
    for one in ratings:
        check_given(one, source, given)
    for one in seen:
        if one.look.kind is None and one.look.may_rate:
            raise _unreadable(one, source)
    parts: dict[Kind, Part] = {"ratings": _part("ratings", ratings)}
    home = str(PurePosixPath(ratings[0].sample.path).parent)
    for kind in OWN_NAMES:
        near = [one for one in seen if one.look.kind == kind and one.sample.folder == home]
        if kind != "ratings" and near:
            parts[kind] = _part(kind, choose(kind, near, source=source))
    read = {path for part in parts.values() for path in part.paths}
    for one in seen:
        if one.sample.path not in read:
            held = one.look.kind
            beside = f"{held}, not read beside these ratings" if held else one.look.reason
            ignored.setdefault(one.sample.path, beside)
    values = _values(ratings)
    name, scale = _family(parts, ratings[0], half_stars=any(v % 1 == 0.5 for v in values))  # noqa: PLR2004 - half a star
    columns = _names(ratings[0].look)
    return RecognisedSource(
        name=name,
        scale=scale,
        parts=parts,
        values=values,
        counts=is_count(columns.get("rating", "")),
        columns=columns,
        ignored=ignored,
    )


def _part(kind: Kind, chosen: Sequence[Seen]) -> Part:
    """The part that these files are; one without rows takes the layout of one with its header."""
    full = [one for one in chosen if one.look.rows or kind != "ratings"]
    files = []
    for one in chosen:
        layout = one.look.layout
        if not one.look.rows:
            like = [o.look.layout for o in full if o.look.layout.header == layout.header]
            layout = like[0] if like else layout
        files.append((one.sample.path, layout))
    return Part(kind, tuple(files))


def _values(ratings: Sequence[Seen]) -> Counter[float]:
    return Counter(number for one in ratings for number in map(as_number, one.look.values)
                   if number is not None)  # fmt: skip


def as_number(text: str) -> float | None:
    """A rating as text to a number, with a decimal point or comma; None if it is none."""
    flags = {"true": 1.0, "false": 0.0}
    text = text.strip()
    if text.lower() in flags:
        return flags[text.lower()]
    if not re.fullmatch(r"[-+]?[0-9]*[.,]?[0-9]*([eE][-+]?[0-9]+)?", text):
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _names(look: Look) -> dict[str, str]:
    layout = look.layout
    named = {name: look.names[at] for name, at in layout.columns.items() if at < len(look.names)}
    return {**named, **layout.folders}


def _family(
    parts: Mapping[Kind, Part], first: Seen, *, half_stars: bool
) -> tuple[str, Scale | None]:
    """What the release is called, and its scale: the wider one where both would fit."""
    layout = first.look.layout
    fields = "/".join(_shown_fields(layout))
    if layout.format != "text":
        return f"{layout.format} of {fields}", None
    dates = ", timestamps as dates" if layout.time == "text" else ""
    four = len(layout.fields) == len(("user", "item", "rating", "timestamp"))
    if layout.delimiter == "::" and layout.header is None and four:
        first_release = "users" in parts and not half_stars
        name, scale = ("1m", WHOLE_STARS) if first_release else ("10m", HALF_STARS)
        return f"MovieLens {name} (.dat{dates})", scale
    if layout.header is None and layout.delimiter == "\t" and not half_stars and four:
        return f"MovieLens 100k (u.data{dates})", WHOLE_STARS
    movielens = ["movieid", "rating", "timestamp", "userid"]
    if layout.delimiter == "," and sorted(map(plain, first.look.names)) == movielens:
        return f"MovieLens 20m, 25m, 32m or latest (.csv{dates})", HALF_STARS
    kind = {"\t": "TSV", " ": "Text with blanks between its fields"}.get(layout.delimiter, "CSV")
    header = "a header" if layout.header is not None else "no header"
    with_what = "with" if layout.header is not None else "and"
    return f"{kind} {with_what} {header}: {fields}{dates}", None


def _shown_fields(layout: Layout) -> list[str]:
    ours = {"timestamp": "time"}
    order = ("user", "item", "rating", "timestamp")
    return [ours.get(name, name) for name in order if name in layout.fields]


def _unreadable(one: Seen, source: str) -> InputError:
    names = f"; its columns are {', '.join(one.look.names[:30])}" if one.look.names else ""
    return InputError(
        f"{source}: {one.sample.path} {_as_clause(one.look.reason)}{names}",
        hint="it may hold ratings: mend it, name its columns by ingest.columns, or move it out of"
        " the source",
    )


def _as_clause(reason: str) -> str:
    return reason if reason.startswith(("is ", "has ", "cannot ")) else f"cannot be read: {reason}"


def _not_recognised(seen: Sequence[Seen], source: str, given: GivenColumns) -> InputError:
    if not any(one.sample.head.strip() or one.sample.fault for one in seen):
        return InputError(f"{source} is empty", hint=f"give {_SUPPORTED}")
    for one in seen:
        if one.look.may_rate and not one.look.names:
            return _unreadable(one, source)
    named = [one for one in seen if one.look.names and one.look.kind in {None, "ratings"}]
    named.sort(key=lambda one: not one.look.may_rate)
    if named:
        one = named[0]
        asked = ""
        if given.columns:
            wanted = ", ".join(f"{k}={v!r}" for k, v in given.columns.items())
            asked = f" (ingest.columns asks for {wanted})"
        return InputError(
            f"{source}: no ratings in {one.sample.path}: {one.look.reason}{asked}; its columns are"
            f" {', '.join(one.look.names[:30])}",
            hint="name them by ingest.columns={user=..., item=..., rating=..., time=...}, or number"
            f" them from 1 where there is no header; known names are {known_names()}",
        )
    more = " ..." if len(seen) > SHOWN else ""
    return InputError(
        f"{source}: no ratings in {listed(seen)}{more}", hint=f"expected {_SUPPORTED}"
    )
