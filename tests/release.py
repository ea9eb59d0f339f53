"""A small release in MovieLens' shape, for tests that need a source and not a particular one."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FIRST_SECOND = 1_500_000_000
_SPAN_SECONDS = 50_000_000


def write(folder: Path, *, users: int = 80, items: int = 60, seed: int = 7) -> Path:
    """ratings.csv, movies.csv, links.csv and tags.csv: planted tastes, times mixed over all users.

    Every user rates a quarter of the items, so that nobody is cold and nobody has seen all.
    User ids are 1, 4, 7, ... and item ids 10, 20, ..., so that an index taken for an id shows.
    """
    random = np.random.default_rng(seed)
    tastes, traits = random.normal(size=(users, 3)), random.normal(size=(items, 3))
    stars = np.clip(np.round((3.5 + tastes @ traits.T) * 2) / 2, 0.5, 5.0)
    ratings = [
        (1 + 3 * user, 10 * (1 + item), stars[user, item],
         _FIRST_SECOND + int(random.integers(_SPAN_SECONDS)))
        for user in range(users)
        for item in np.sort(random.choice(items, items // 4, replace=False))
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "ratings.csv", "userId,movieId,rating,timestamp", ratings)
    ids = [10 * (1 + item) for item in range(items)]
    films = [(i, f"Film, The {i} ({1950 + i % 70})", "Comedy|Drama" if i % 20 else "") for i in ids]
    _save(folder / "movies.csv", "movieId,title,genres", films)
    _save(folder / "links.csv", "movieId,imdbId,tmdbId", [(i, f"{i:07}", i) for i in ids])
    _save(folder / "tags.csv", "userId,movieId,tag,timestamp", [(1, 10, "été", _FIRST_SECOND)])
    return folder


def _save(path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)
