"""How the lines of one file are laid out, told from its beginning.

A header decides where there is one; otherwise the shape of most of the first lines does.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

HEAD_BYTES = 1 << 16
"""How much of a file is looked at."""

Kind = Literal[
    "ratings", "movies", "tags", "links", "genome_scores", "genome_tags", "users", "genres"
]
TimeUnit = Literal["seconds", "milliseconds", "text"]


_BOM = "\ufeff"
_PARQUET = b"PAR1"

_DELIMITERS = ("::", "\t", ",", ";", "|")
_SAMPLED_LINES = 1000
_ALIKE = 0.5
"""The share of sampled lines that must have the shape of a kind: a broken file is still known."""
_FIRST_MILLISECOND = 100_000_000_000
"""Seconds since 1970 from which a number is a time in milliseconds: the year 5138."""

# The names that columns go by, in the order of preference; compared in lower case, letters only.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("userid", "user", "uid", "reviewerid", "customerid", "memberid"),
    "item": (
        "movieid", "itemid", "item", "movie", "iid", "parentasin", "asin", "productid", "product",
        "bookid", "trackid",
    ),
    "rating": ("rating", "overall", "stars", "starrating", "score"),
    "timestamp": ("timestamp", "ratedat", "unixreviewtime", "taggedat", "datetime", "time", "date"),
    "tag": ("tag",),
    "tag_id": ("tagid",),
    "title": ("title", "movietitle"),
    "genres": ("genres", "genre"),
    "imdb_id": ("imdbid",),
    "tmdb_id": ("tmdbid",),
    "relevance": ("relevance",),
}  # fmt: skip
RATING_COLUMNS = ("user", "item", "rating", "timestamp")
_HEADERS: Mapping[Kind, tuple[str, ...]] = {
    "ratings": RATING_COLUMNS,
    "genome_scores": ("item", "tag_id", "relevance"),
    "genome_tags": ("tag_id", "tag"),
    "tags": ("user", "item", "tag", "timestamp"),
    "movies": ("item", "title", "genres"),
    "links": ("item", "imdb_id", "tmdb_id"),
}

_FLAGS = 19
_ITEM_FIELDS = 5 + _FLAGS
_USER_FIELDS = 5


@dataclass(frozen=True)
class Sample:
    """The beginning of one file of a source.

    Args:
        path: relative to the source, with `/`.
        head: its first `HEAD_BYTES` bytes, or all of a shorter file.
    """

    path: str
    head: bytes

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are to be read.

    Args:
        columns: field name to its position in a line.
        width: fields in a line; 0 for Parquet, which names its columns.
        delimiter: what separates them; empty for Parquet.
        header: the header line, which is no row; None where there is none.
        time: how `timestamp` is written.
        parquet: whether the file is Parquet.
    """

    columns: Mapping[str, int] = field(default_factory=dict)
    width: int = 0
    delimiter: str = ""
    header: str | None = None
    time: TimeUnit = "seconds"
    parquet: bool = False

    @property
    def quotes(self) -> bool:
        """Whether fields may stand in quotes: so in CSV, not in the files of 100k, 1m and 10m."""
        return self.delimiter in {",", ";"} or (self.delimiter == "\t" and self.header is not None)

    @property
    def is_movielens_csv(self) -> bool:
        """Whether the columns have the names of MovieLens' own ratings.csv."""
        names = _fields(self.header or "", self.delimiter)
        return sorted(names) == ["movieId", "rating", "timestamp", "userId"]


def columns_of(names: Iterable[str], wanted: Sequence[str]) -> dict[str, int] | None:
    """The position of each wanted field among columns of these names; None if one is missing."""
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    columns = {}
    for field_name in wanted:
        match = next((n for n in _NAMES[field_name] if n in plain), None)
        if match is None:
            return None
        columns[field_name] = plain.index(match)
    return columns


def time_unit(values: Iterable[str]) -> TimeUnit:
    """How a column of timestamps is written, by the majority of some of its values."""
    numbers = [_integer(v) for v in values]
    known = sorted(n for n in numbers if n is not None)
    if len(known) * 2 < len(numbers):
        return "text"
    return "milliseconds" if known and known[len(known) // 2] >= _FIRST_MILLISECOND else "seconds"


def classify(sample: Sample) -> tuple[Kind, Layout] | None:
    """What kind of file this is and how to read it; None for one that ingest does not read."""
    if sample.head.startswith(_PARQUET):
        return "ratings", Layout(parquet=True)
    if is_wide(sample.head) or b"\0" in sample.head:
        return None
    lines = _lines(sample.head)
    if not lines:
        return None
    return _by_header(lines) or _by_shape(sample.name, lines)


def _lines(head: bytes) -> list[str]:
    """The lines of a head that are not blank, without its last one where that may be cut short."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    lines = text.removeprefix(_BOM).removeprefix(_BOM.encode().decode("latin-1")).split("\n")
    if len(head) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()
    return [line.rstrip("\r") for line in lines if line.strip()][:_SAMPLED_LINES]


def _fields(line: str, delimiter: str) -> list[str]:
    if len(delimiter) > 1:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _by_header(lines: list[str]) -> tuple[Kind, Layout] | None:
    for delimiter in _DELIMITERS:
        names = _fields(lines[0], delimiter)
        for kind, wanted in _HEADERS.items():
            columns = columns_of(names, wanted)
            if columns is None:
                continue
            rows = [_fields(line, delimiter) for line in lines[1:]]
            at = columns.get("timestamp", 0)
            unit = time_unit(r[at] for r in rows if len(r) == len(names))
            return kind, Layout(
                columns=columns,
                width=len(names),
                delimiter=delimiter,
                header=lines[0],
                time=unit if "timestamp" in columns and rows else "seconds",
            )
    return None


def _by_shape(name: str, lines: list[str]) -> tuple[Kind, Layout] | None:
    if _share(lines, "::", _is_dat) >= _ALIKE:
        return _dat(name, lines)
    for shape in _PIPED:
        if _share(lines, "|", shape.fits) >= _ALIKE:
            positions = {name: i for i, name in enumerate(shape.columns)}
            return shape.kind, Layout(columns=positions, width=shape.width, delimiter="|")
    for delimiter in ("\t", ",", ";", "|"):
        if _share(lines, delimiter, _is_rating) >= _ALIKE:
            return "ratings", _rating_layout(lines, delimiter)
    return None


def _dat(name: str, lines: list[str]) -> tuple[Kind, Layout] | None:
    """One of the `::` files of 1m and 10m; titles and tags may hold `::` themselves."""

    def layout(*columns: str) -> Layout:
        positions = {c: i for i, c in enumerate(columns)}
        return Layout(columns=positions, width=len(columns), delimiter="::")

    # A file of tags that are all years has the shape of ratings: there the name decides.
    if _share(lines, "::", _is_rating) >= _ALIKE and not name.lower().startswith("tag"):
        return "ratings", _rating_layout(lines, "::")
    if _share(lines, "::", _is_dat_user) >= _ALIKE:
        return "users", layout("user", "gender", "age", "occupation", "zip")
    if _share(lines, "::", _is_tag) >= _ALIKE:
        return "tags", layout("user", "item", "tag", "timestamp")
    return "movies", layout("item", "title", "genres")


def _rating_layout(lines: list[str], delimiter: str) -> Layout:
    rows = [row for row in (_fields(line, delimiter) for line in lines) if _is_rating(row)]
    return Layout(
        columns={name: i for i, name in enumerate(RATING_COLUMNS)},
        width=len(RATING_COLUMNS),
        delimiter=delimiter,
        time=time_unit(row[3] for row in rows),
    )


def _share(lines: list[str], delimiter: str, fits: Callable[[list[str]], bool]) -> float:
    return sum(fits(_fields(line, delimiter)) for line in lines) / len(lines)


def _is_rating(row: list[str]) -> bool:
    if len(row) != len(RATING_COLUMNS) or not row[0].strip() or not row[1].strip():
        return False
    return _number(row[2]) is not None and (
        _integer(row[3]) is not None or bool(re.match(r"\s*\d{4}-\d{2}-\d{2}", row[3]))
    )


def _is_dat(row: list[str]) -> bool:
    return len(row) >= 3 and _integer(row[0]) is not None  # noqa: PLR2004 - id, title, genres


def _is_dat_user(row: list[str]) -> bool:
    return len(row) == _USER_FIELDS and row[1] in {"M", "F"}


def _is_tag(row: list[str]) -> bool:
    return len(row) >= 4 and _integer(row[1]) is not None and _integer(row[-1]) is not None  # noqa: PLR2004 - user, item, tag, time


def _is_item(row: list[str]) -> bool:
    return len(row) == _ITEM_FIELDS and set(row[-_FLAGS:]) <= {"0", "1"}


def _is_user(row: list[str]) -> bool:
    return len(row) == _USER_FIELDS and row[2] in {"M", "F"}


def _is_genre(row: list[str]) -> bool:
    return len(row) == 2 and _integer(row[1]) is not None  # noqa: PLR2004 - name, number


@dataclass(frozen=True)
class _Shape:
    kind: Kind
    width: int
    fits: Callable[[list[str]], bool]
    columns: tuple[str, ...]


# The files that 100k has beside its ratings.
_PIPED = (
    _Shape("movies", _ITEM_FIELDS, _is_item, ("item", "title")),
    _Shape("users", _USER_FIELDS, _is_user, ("user", "age", "gender", "occupation", "zip")),
    _Shape("genres", 2, _is_genre, ("genre", "number")),
)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text) else None


def has_half_stars(sample: Sample, layout: Layout) -> bool:
    """Whether a rating between two whole stars is among the first ones."""
    if layout.parquet:
        return False
    rows = (_fields(line, layout.delimiter) for line in _lines(sample.head))
    ratings = (_number(r[layout.columns["rating"]]) for r in rows if len(r) == layout.width)
    return any(r is not None and r % 1 == 0.5 for r in ratings)  # noqa: PLR2004 - half a star


def is_wide(head: bytes) -> bool:
    """Whether these bytes are UTF-16 or UTF-32."""
    return head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or (
        head[1:2000:2].count(0) > len(head[:2000]) // 4
        or head[0:2000:2].count(0) > len(head[:2000]) // 4
    )
