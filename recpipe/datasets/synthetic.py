"""Synthetic releases in MovieLens's own format, with the error that no model can go below."""

from __future__ import annotations

import csv
import json
import math
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from recpipe.datasets.planted import (
    GENRES,
    MAX_ACTIVITY_SHARE,
    MIN_ACTIVITY,
    STARS,
    Block,
    Ints,
    Shape,
    World,
)
from recpipe.datasets.titles import tag_words, titles
from recpipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Sizes of real releases (100k, 1m, 10m, 25m) and guesses beyond them: between, on a log scale.
_RATINGS = (1e3, 1e4, 1e5, 1e6, 1e7, 2.5e7, 1e8)
_USERS = (12, 80, 620, 6_040, 69_878, 162_541, 650_000)
_ITEMS = (250, 700, 1_700, 3_700, 10_680, 59_000, 120_000)

_TITLES, _IDS, _TAGS = 10, 11, 12
"""Streams of random numbers, apart from those of the world."""
_TAGGERS, _TAGGED = 0.08, 0.4
"""Share of users who tag, and of their ratings that get a tag."""
_WITHOUT_TMDB = 0.01
_NO_GENRES = "(no genres listed)"

_README = """\
Summary
=======

A synthetic release in the format of MovieLens's ml-latest: {ratings} ratings and {tags} tags of
{items} movies by {users} users, made by `recpipe data synthesize` from seed {seed}. Nobody rated
these movies, and the movies do not exist: titles, tags and the ids in links.csv are invented.

Files
=====

ratings.csv, movies.csv, tags.csv, links.csv   as in MovieLens
truth.json   what was planted. `noise_floor` is the RMSE of the best possible prediction,
             E[rating | factors, biases, time], over all ratings: no model goes below it but by
             chance. `expected_noise_floor` is the same before the noise was drawn.
"""


@dataclass(frozen=True)
class Truth:
    """What was planted, as truth.json has it.

    Args:
        ratings: number of ratings.
        users: number of users.
        items: number of movies.
        rated_items: number of movies with a rating.
        tags: number of tags.
        seed: of everything.
        rank: number of planted factors.
        sigma: standard deviation of the noise before rounding, in stars.
        taste: how much more often users rate what they like.
        mean: mean rating.
        noise_floor: RMSE of E[rating | factors, biases, time] over all ratings.
        expected_noise_floor: square root of the mean of Var[rating | factors, biases, time].
    """

    ratings: int
    users: int
    items: int
    rated_items: int
    tags: int
    seed: int
    rank: int
    sigma: float
    taste: float
    mean: float
    noise_floor: float
    expected_noise_floor: float


def synthesize(  # noqa: PLR0913 - what a person may want to set, by keyword
    folder: Path,
    *,
    ratings: int,
    users: int | None = None,
    items: int | None = None,
    seed: int = 42,
    rank: int = 8,
    sigma: float = 0.8,
    taste: float = 2.5,
    progress: Callable[[int, int | None], None] | None = None,
) -> Truth:
    """Write a release of ratings.csv, movies.csv, tags.csv, links.csv, README.txt, truth.json.

    Memory is O(users + items): ratings are drawn and written some users at a time. The same
    arguments give the same bytes (with one version of NumPy). The folder appears whole or not.

    Args:
        folder: where; must not exist, or be empty.
        ratings: number of ratings, exactly.
        users: number of users, each with 20 ratings or more; None: as MovieLens has at that size.
        items: number of movies; None: as MovieLens has at that size.
        seed: of everything.
        rank: number of planted factors; the first few carry most of the variance.
        sigma: standard deviation of the noise before rounding, in stars.
        taste: how much more often users rate what they like; 0: popularity alone decides.
        progress: is told the ratings that are written and those in all.

    Raises:
        UsageError: for a folder that is not empty, or sizes that do not go together.
    """
    shape = Shape(
        ratings=ratings,
        users=_as_movielens(ratings, _USERS) if users is None else users,
        items=_as_movielens(ratings, _ITEMS) if items is None else items,
        seed=seed,
        rank=rank,
        sigma=sigma,
        taste=taste,
    )
    _check(shape)
    with _whole(folder) as place:
        world = World(shape)
        movie_ids = _movie_ids(shape)
        words = _write_movies(place / "movies.csv", world, movie_ids)
        _write_links(place / "links.csv", shape, movie_ids)
        sums, tags = _write_ratings(place, world, movie_ids, words, progress)
        truth = Truth(
            **asdict(shape),
            rated_items=int(np.count_nonzero(sums.rated)),
            tags=tags,
            mean=sums.stars / ratings,
            noise_floor=math.sqrt(sums.squared_error / ratings),
            expected_noise_floor=math.sqrt(sums.variance / ratings),
        )
        (place / "truth.json").write_text(json.dumps(asdict(truth), indent=2) + "\n")
        (place / "README.txt").write_text(_README.format(**asdict(truth)))
    return truth


def _as_movielens(ratings: int, sizes: tuple[int, ...]) -> int:
    return round(math.exp(np.interp(math.log(max(ratings, 1)), np.log(_RATINGS), np.log(sizes))))


def _check(shape: Shape) -> None:
    positive = min(shape.users, shape.items, shape.rank) >= 1 and shape.seed >= 0
    if not positive or not shape.sigma > 0 or not math.isfinite(shape.taste):
        raise UsageError(
            f"users {shape.users}, items {shape.items}, rank {shape.rank}, seed {shape.seed}, "
            f"sigma {shape.sigma}: sizes and sigma must be above 0, the seed not below",
            hint="leave out what you do not need",
        )
    each = shape.ratings / shape.users
    highest = MAX_ACTIVITY_SHARE * shape.items
    if each < MIN_ACTIVITY or each > highest:
        raise UsageError(
            f"{shape.ratings:,} ratings of {shape.users:,} users are {each:,.1f} each; "
            f"with {shape.items:,} items it must be {MIN_ACTIVITY} to {highest:,.1f}",
            hint="change users or items, or leave them out",
        )


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block has ended well."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", hint="give a new folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    place.mkdir()
    try:
        yield place
        place.replace(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


# -- movies -------------------------------------------------------------------------------------


def _movie_ids(shape: Shape) -> Ints:
    """(items,) ids with gaps between them, ascending, as a catalogue that lost some has."""
    rng = np.random.default_rng([shape.seed, _IDS])
    return np.cumsum(rng.geometric(0.6, shape.items))


def _write_movies(path: Path, world: World, movie_ids: Ints) -> list[tuple[str, ...]]:
    """Write movies.csv and return the tags that each movie may get."""
    rng = np.random.default_rng([world.shape.seed, _TITLES])
    genres = [sorted(GENRES[at] for at in row if at >= 0) for row in world.genres.tolist()]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("movieId", "title", "genres"))
        named = titles(rng, world.year.tolist())
        for movie_id, title, of in zip(movie_ids.tolist(), named, genres, strict=True):
            writer.writerow((movie_id, title, "|".join(of) or _NO_GENRES))
    return [tag_words(of) for of in genres]


def _write_links(path: Path, shape: Shape, movie_ids: Ints) -> None:
    rng = np.random.default_rng([shape.seed, _IDS, 1])
    imdb = np.cumsum(rng.integers(1, 80, shape.items))
    tmdb = rng.permutation(4 * shape.items)[: shape.items] + 1
    known = rng.random(shape.items) >= _WITHOUT_TMDB
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write("movieId,imdbId,tmdbId\n")
        for row in zip(movie_ids.tolist(), imdb.tolist(), tmdb.tolist(), known, strict=True):
            stream.write(f"{row[0]},{row[1]:07d},{row[2] if row[3] else ''}\n")


# -- ratings and tags ---------------------------------------------------------------------------


class _Sums:
    """What is added up over all ratings."""

    def __init__(self, items: int) -> None:
        self.stars = self.squared_error = self.variance = 0.0
        self.rated = np.zeros(items, np.int64)

    def add(self, block: Block) -> None:
        stars = block.steps / 2
        self.stars += float(stars.sum())
        self.squared_error += float(np.square(stars - block.expected).sum())
        self.variance += float(block.variance.sum())
        self.rated += np.bincount(block.item, minlength=len(self.rated))


def _write_ratings(
    place: Path,
    world: World,
    movie_ids: Ints,
    words: list[tuple[str, ...]],
    progress: Callable[[int, int | None], None] | None,
) -> tuple[_Sums, int]:
    """Write ratings.csv and tags.csv, and return what was added up and the number of tags."""
    shape = world.shape
    sums, done, tags = _Sums(shape.items), 0, 0
    # Users are numbered by chance: whoever is 1 did not come first.
    with (
        (place / "ratings.csv").open("wb") as rated,
        (place / "tags.csv").open("w", encoding="utf-8", newline="") as tagged,
    ):
        rated.write(b"userId,movieId,rating,timestamp\n")
        writer = csv.writer(tagged, lineterminator="\n")
        writer.writerow(("userId", "movieId", "tag", "timestamp"))
        for number, block in enumerate(world.blocks()):
            pa_csv.write_csv(_table(block, movie_ids), rated, _PLAIN)
            rng = np.random.default_rng([shape.seed, _TAGS, number])
            rows = _tags(rng, block, movie_ids, words)
            writer.writerows(rows)
            sums.add(block)
            tags += len(rows)
            done += len(block.user)
            if progress is not None:
                progress(done, shape.ratings)
    return sums, tags


_PLAIN = pa_csv.WriteOptions(include_header=False, quoting_style="none")
_STARS = pa.array([f"{step / 2:.1f}" for step in range(1, STARS + 1)])


def _table(block: Block, movie_ids: Ints) -> pa.Table:
    columns = [block.user + 1, movie_ids[block.item], _STARS.take(block.steps - 1), block.time]
    return pa.table(columns, names=["userId", "movieId", "rating", "timestamp"])


def _tags(
    rng: np.random.Generator, block: Block, movie_ids: Ints, words: list[tuple[str, ...]]
) -> list[tuple[int, int, str, int]]:
    """Rows of tags.csv: what the block's taggers wrote shortly after they had rated."""
    users, row = np.unique(block.user, return_inverse=True)
    tagger = rng.random(len(users)) < _TAGGERS
    at = np.flatnonzero(tagger[row] & (rng.random(len(row)) < _TAGGED))
    drawn = rng.random(len(at))
    time = block.time[at] + rng.integers(1, 90, len(at))
    items = block.item[at]
    chosen = [words[i][int(x * len(words[i]))] for i, x in zip(items, drawn, strict=True)]
    return list(
        zip(
            (block.user[at] + 1).tolist(),
            movie_ids[items].tolist(),
            chosen,
            time.tolist(),
            strict=True,
        )
    )
