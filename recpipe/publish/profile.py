"""One person's history and list, with titles, from the rows that speak of this person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    import pyarrow as pa

LISTED = ("user_id", "rank", "item_id", "score", "source", "run_date")
RATED = ("user_id", "item_id", "rating", "rated_at")
EXPLAINED = ("user_id", "rank", "reason", "because_item_id")


@dataclass(frozen=True)
class Rated:
    """An item that a person rated; no title where the source has none.

    Args:
        item_id: as the source has it.
        title: of the item.
        rating: None where the person has seen the item and not rated it.
        rated_at: None where the source has no times.
    """

    item_id: str
    title: str | None
    rating: float | None
    rated_at: datetime | None


@dataclass(frozen=True)
class Recommended:
    """A place of a person's list; no title where the source has none.

    Args:
        rank: from 1.
        item_id: as the source has it.
        title: of the item.
        score: of the model, or of what fills lists up.
        source: which of these.
        because: titles, or ids, of the items of the history that spoke most for it, the first the
            most; empty where the run was not asked for reasons.
    """

    rank: int
    item_id: str
    title: str | None
    score: float
    source: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A person's history and list.

    Args:
        user_id: as the source has it.
        ratings: how many there are.
        best: the best rated, of equal ratings the latest first.
        latest: the latest rated; empty where the source has no times.
        recommendations: by rank; empty for a user who came after the table was published.
        run_date: the day that the list is for, if there is one.
    """

    user_id: str
    ratings: int
    best: tuple[Rated, ...]
    latest: tuple[Rated, ...]
    recommendations: tuple[Recommended, ...]
    run_date: date | None


def profiles(
    user_ids: Sequence[str],
    *,
    listed: pa.Table,
    rated: pa.Table | None,
    titles: Mapping[str, str],
    history: int,
    explained: pa.Table | None = None,
) -> list[Profile]:
    """What is known of these people, in their order; who has neither list nor rating is left out.

    Args:
        user_ids: as the source has them.
        listed: the rows of their lists: `LISTED`.
        rated: the rows of their ratings: `RATED`; None where there is no such table.
        titles: by item id.
        history: how many of the best and of the latest ratings.
        explained: the rows that say why their places are there: `EXPLAINED`; None for none.
    """
    lists, ratings, reasons = _by_user(listed), _by_user(rated), _by_user(explained)
    return [
        _profile(
            user_id,
            lists.get(user_id, []),
            ratings.get(user_id, []),
            reasons.get(user_id, []),
            titles,
            history,
        )
        for user_id in dict.fromkeys(user_ids)
        if user_id in lists or user_id in ratings
    ]


def _by_user(table: pa.Table | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in [] if table is None else table.to_pylist():
        found.setdefault(str(row["user_id"]), []).append(row)
    return found


def _profile(
    user_id: str,
    listed: Sequence[Mapping[str, Any]],
    rated: Sequence[Mapping[str, Any]],
    explained: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    history: int,
) -> Profile:
    def shown(rows: Sequence[Mapping[str, Any]]) -> tuple[Rated, ...]:
        return tuple(
            Rated(
                item_id=str(row["item_id"]),
                title=titles.get(str(row["item_id"])),
                rating=row["rating"],
                rated_at=row["rated_at"],
            )
            for row in rows[:history]
        )

    # Of equals the lowest id, and before that the latest: sorts keep the order of equals.
    by_item = sorted(rated, key=lambda row: row["item_id"])
    timed = [row for row in by_item if row["rated_at"] is not None]
    untimed = [row for row in by_item if row["rated_at"] is None]
    latest = sorted(timed, key=lambda row: row["rated_at"], reverse=True)
    best = sorted(
        (row for row in (*latest, *untimed) if row["rating"] is not None),
        key=lambda row: row["rating"],
        reverse=True,
    )
    because: dict[int, list[str]] = {}
    for row in sorted(explained, key=lambda row: (row["rank"], row["reason"])):
        item_id = str(row["because_item_id"])
        because.setdefault(row["rank"], []).append(titles.get(item_id) or item_id)
    places = sorted(listed, key=lambda row: row["rank"])
    return Profile(
        user_id=user_id,
        ratings=len(rated),
        best=shown(best),
        latest=shown(latest),
        recommendations=tuple(
            Recommended(
                rank=row["rank"],
                item_id=str(row["item_id"]),
                title=titles.get(str(row["item_id"])),
                score=row["score"],
                source=row["source"],
                because=tuple(because.get(row["rank"], ())),
            )
            for row in places
        ),
        run_date=places[0]["run_date"] if places else None,
    )
