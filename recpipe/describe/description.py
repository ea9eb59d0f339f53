"""What is said of a table of ratings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recpipe.describe.calendar import Period
from recpipe.describe.distributions import Bin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from recpipe.describe.calendar import Unit
    from recpipe.describe.distributions import Spread


@dataclass(frozen=True)
class Genre:
    """A genre of the source.

    Args:
        name: of it.
        items: that have it.
        ratings: of these items.
        by_year: ratings of these items by the year in which they were made.
    """

    name: str
    items: int
    ratings: int
    by_year: Mapping[int, int]


@dataclass(frozen=True)
class Tags:
    """What people wrote of items.

    Args:
        taggings: rows.
        distinct: different tags, whatever their case.
        most_used: tag and taggings, the most used first.
    """

    taggings: int
    distinct: int
    most_used: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Cold:
    """Who begins at a cutoff or later, so that nothing is known of him before.

    Args:
        cutoff: the instant.
        users: without a rating before it.
        items: without a rating before it.
        ratings: made at it or later.
        ratings_of_cold_users: of these, those of cold users.
        ratings_of_cold_items: of these, those of cold items.
    """

    cutoff: datetime
    users: int
    items: int
    ratings: int
    ratings_of_cold_users: int
    ratings_of_cold_items: int


@dataclass(frozen=True)
class Description:
    """What a table of ratings looks like.

    Args:
        ratings: rows.
        users: with a rating.
        items: with a rating.
        density: the share of all pairs of a user and an item that are rated.
        mean: of the ratings.
        first: instant of the first rating; None where the source has no times.
        last: of the last.
        by_value: ratings by value.
        per_user: how many ratings users have; None without any rating.
        per_item: how many ratings items have.
        popularity: share of the items, the most rated first, and of all ratings that these have.
        unit: of `over_time`; None without times.
        over_time: ratings by period.
        ratings_by_year: all ratings by year: what shares of genres are shares of.
        genres: the most rated first; None where the source has none.
        tags: None where the source has none.
        cold: None without a cutoff.
        refused: what became of the rows of the source: rows, kept, rejected, superseded, unrated,
            later, and reasons; empty where that is not known.
    """

    ratings: int
    users: int
    items: int
    density: float
    mean: float | None
    first: datetime | None
    last: datetime | None
    by_value: Sequence[Bin]
    per_user: Spread | None
    per_item: Spread | None
    popularity: Sequence[tuple[float, float]]
    unit: Unit | None
    over_time: Sequence[Period]
    ratings_by_year: Mapping[int, int]
    genres: Sequence[Genre] | None
    tags: Tags | None
    cold: Cold | None
    refused: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The whole as data.json has it: objects, lists, numbers, texts; instants as ISO 8601."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Bin | Period):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


__all__ = ["Cold", "Description", "Genre", "Tags"]
