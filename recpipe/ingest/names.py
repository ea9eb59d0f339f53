"""The names that columns go by in public data sets, in the order of preference.

Names are compared in lower case, letters only, and without RecBole's types (`user_id:token`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RATING_COLUMNS = ("user", "item", "rating", "timestamp")

COUNTS = (
    "weight", "plays", "playcount", "listencount", "listens", "count", "counts", "hours",
    "hoursplayed", "playhours", "playtime", "playtimeforever", "quantity", "views", "clicks",
    "interactions", "frequency", "purchases", "appreciates",
)  # fmt: skip
"""Names of columns that count or measure, and are no ratings whatever their values."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        "userid", "user", "uid", "reviewerid", "customerid", "memberid", "visitorid", "profileid",
        "accountid", "personid", "clientid", "shopperid", "steamid", "msno", "username",
        "reviewprofilename", "profilename",
    ),
    "item": (
        "movieid", "itemid", "item", "movie", "iid", "parentasin", "asin", "productid", "product",
        "bookid", "trackid", "animeid", "isbn", "artistid", "songid", "recipeid", "gameid", "appid",
        "businessid", "articleid", "beerid", "jokeid", "venueid", "locationid", "poiid", "placeid",
        "newsid", "videoid", "filmid", "showid", "courseid", "projectid", "workid", "sku",
        "mangaid",
    ),
    "rating": (
        "rating", "overall", "stars", "starrating", "score", "bookrating", "reviewoverall",
        "userrating", "ratingvalue", "ratingscore", "reviewrating", "reviewscore", *COUNTS,
        "isrecommended",
    ),
    "timestamp": (
        "timestamp", "ratedat", "unixreviewtime", "taggedat", "datetime", "time", "date",
        "reviewdate", "ratingdate", "tdat", "checkintime", "eventtime", "createdat", "ts",
        "unixtime", "timestamps", "reviewtime", "dateadded", "orderdate",
    ),
    "tag": ("tag",),
    "tag_id": ("tagid",),
    "title": ("title", "movietitle"),
    "genres": ("genres", "genre"),
    "imdb_id": ("imdbid",),
    "tmdb_id": ("tmdbid",),
    "relevance": ("relevance",),
}  # fmt: skip


def plain(name: str) -> str:
    """A name as it is compared."""
    untyped = re.sub(r":(token|float)(_seq)?$", "", name.strip())
    return re.sub(r"[^a-z]", "", untyped.lower())


def columns_of(names: Iterable[str], wanted: Sequence[str]) -> dict[str, int] | None:
    """The position of each wanted field among columns of these names; None if one is missing."""
    found = known_columns(names, wanted)
    return found if len(found) == len(wanted) else None


def known_columns(names: Iterable[str], wanted: Sequence[str] = RATING_COLUMNS) -> dict[str, int]:
    """The positions of those wanted fields that are among columns of these names."""
    compared = [plain(name) for name in names]
    columns = {}
    for field in wanted:
        match = next((known for known in _NAMES[field] if known in compared), None)
        if match is not None:
            columns[field] = compared.index(match)
    return columns


def chosen_columns(
    names: Sequence[str], given: Mapping[str, str | int], *, header: bool = True
) -> dict[str, int]:
    """`known_columns`, where the settings name some of them; those that are not there are left out.

    Args:
        names: of the columns.
        given: field to a column's name, its number from 1, or an empty name for none.
        header: whether `names` are names at all; otherwise only numbers count.
    """
    columns = known_columns(names) if header else {}
    for field, column in given.items():
        columns.pop(field, None)
        place = place_of(names, column, header=header)
        if place is not None:
            columns[field] = place
    return columns


def place_of(names: Sequence[str], column: str | int, *, header: bool) -> int | None:
    """The position of a column that the settings name or number from 1; None if it is not there.

    Args:
        names: of the columns.
        column: its name, or its number.
        header: whether `names` are names at all; otherwise only numbers count.
    """
    if isinstance(column, int):
        return column - 1 if 1 <= column <= len(names) else None
    if not header or not column:
        return None
    stripped = [re.sub(r":(token|float)(_seq)?$", "", name.strip()) for name in names]
    for candidates, wanted in (
        ([name.strip() for name in names], column),
        (stripped, column),
        ([name.lower() for name in stripped], column.lower()),
    ):
        if wanted in candidates:
            return candidates.index(wanted)
    return None


def is_count(name: str) -> bool:
    """Whether a column of this name counts or measures."""
    return plain(name) in COUNTS


def known_names() -> str:
    """The known names of the columns of ratings, for a message."""
    ours = {"timestamp": "time"}
    shown = (f"{ours.get(field, field)}: {', '.join(_NAMES[field])}" for field in RATING_COLUMNS)
    return "; ".join(shown)
