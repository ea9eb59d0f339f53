"""How rows of text without known names are recognised: by width and by the look of their cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recpipe.ingest.names import RATING_COLUMNS
from recpipe.ingest.times import DAY_FIRST, is_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recpipe.ingest.formats.base import GivenColumns
    from recpipe.ingest.layout import Kind

_FLAGS = 19
_ITEM_FIELDS = 5 + _FLAGS
_USER_FIELDS = 5

RATINGS = (
    RATING_COLUMNS,
    ("user", "item", "timestamp"),
    ("user", "item", "rating"),
)
"""The columns of files without a header, which are known by their shape alone."""


def is_rating(row: Sequence[str], columns: Sequence[str], given: GivenColumns) -> bool:
    """Whether a row can be a rating with these columns in their order."""
    if len(row) != len(columns) or not row[0].strip() or not row[1].strip():
        return False
    cell = dict(zip(columns, row, strict=True))
    if "rating" in cell and _number(cell["rating"]) is None:
        # Seen and not rated: the instant says that these are ratings all the same.
        unrated = not cell["rating"].strip()
        return unrated and is_instant(cell.get("timestamp", ""))
    if "timestamp" not in cell:
        return True
    if "rating" not in cell:
        return is_instant(cell["timestamp"])
    time = cell["timestamp"]
    return (
        _number(time) is not None
        or is_instant(time)
        or bool(DAY_FIRST.fullmatch(time))
        or bool(given.time_format and time.strip())
    )


def is_dat(row: list[str]) -> bool:
    """Whether a row can be of any `::` file of MovieLens: an id first, and two cells more."""
    return len(row) >= 3 and _integer(row[0]) is not None  # noqa: PLR2004 - id, title, genres


def is_dat_user(row: list[str]) -> bool:
    """Whether a row is of users.dat: id, gender, age, occupation, zip code."""
    return len(row) == _USER_FIELDS and row[1] in {"M", "F"}


def is_tag(row: list[str]) -> bool:
    """Whether a row is of tags.dat: user, item, tag (which may hold `::`), time."""
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
PIPED = (
    _Shape("movies", _ITEM_FIELDS, _is_item, ("item", "title")),
    _Shape("users", _USER_FIELDS, _is_user, ("user", "age", "gender", "occupation", "zip")),
    _Shape("genres", 2, _is_genre, ("genre", "number")),
)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ".", 1))
    except ValueError:
        return None


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text) else None
