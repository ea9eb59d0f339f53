"""Synthetic releases: what they promise to whoever compares a model with the truth."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpipe.datasets.planted import END, GENRES, START, Block, Rounding, Shape, World
from recpipe.datasets.synthetic import Truth, synthesize
from recpipe.datasets.titles import TAGS, titles
from recpipe.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def whole(world: World) -> Block:
    blocks = list(world.blocks())
    return Block(*(np.concatenate([getattr(b, name) for b in blocks]) for name in vars(blocks[0])))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("synthetic") / "release"
    return folder, synthesize(folder, ratings=20_000, seed=7)


@pytest.fixture(scope="module")
def world() -> tuple[World, Block]:
    shape = Shape(ratings=300_000, users=1800, items=2200, seed=3, rank=8, sigma=0.8, taste=2.5)
    world = World(shape)
    return world, whole(world)


# -- the files ----------------------------------------------------------------------------------


def test_a_release_has_the_files_and_headers_of_ml_latest(release: tuple[Path, Truth]) -> None:
    folder, _ = release
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.txt", "links.csv", "movies.csv", "ratings.csv", "tags.csv", "truth.json",
    ]  # fmt: skip
    first = {p.name: p.read_text(encoding="utf-8").split("\n", 1)[0] for p in folder.iterdir()}
    assert first["ratings.csv"] == "userId,movieId,rating,timestamp"
    assert first["movies.csv"] == "movieId,title,genres"
    assert first["tags.csv"] == "userId,movieId,tag,timestamp"
    assert first["links.csv"] == "movieId,imdbId,tmdbId"
    assert "Nobody rated" in (folder / "README.txt").read_text()


def test_the_ratings_are_as_many_as_asked_for_sorted_and_without_duplicates(
    release: tuple[Path, Truth],
) -> None:
    rows = read(release[0] / "ratings.csv")
    pairs = [(int(row["userId"]), int(row["movieId"])) for row in rows]
    assert len(rows) == 20_000
    assert pairs == sorted(set(pairs))


def test_every_user_has_twenty_ratings_or_more(release: tuple[Path, Truth]) -> None:
    folder, truth = release
    users = [int(row["userId"]) for row in read(folder / "ratings.csv")]
    counts = np.bincount(users)[1:]
    assert len(counts) == truth.users
    assert counts.min() >= 20


def test_ratings_are_half_stars_and_times_lie_in_the_planted_years(
    release: tuple[Path, Truth],
) -> None:
    rows = read(release[0] / "ratings.csv")
    assert {row["rating"] for row in rows} <= {f"{step / 2:.1f}" for step in range(1, 11)}
    assert all(START <= int(row["timestamp"]) < END for row in rows)


def test_every_rated_movie_is_in_movies_and_links(release: tuple[Path, Truth]) -> None:
    folder, truth = release
    movies = [row["movieId"] for row in read(folder / "movies.csv")]
    assert len(set(movies)) == len(movies) == truth.items
    assert [row["movieId"] for row in read(folder / "links.csv")] == movies
    rated = {row["movieId"] for row in read(folder / "ratings.csv")}
    assert rated <= set(movies)
    assert len(rated) == truth.rated_items


def test_genres_are_those_of_movielens_in_its_order(release: tuple[Path, Truth]) -> None:
    for row in read(release[0] / "movies.csv"):
        genres = row["genres"].split("|")
        assert genres == ["(no genres listed)"] or (
            genres == sorted(set(genres)) and set(genres) <= set(GENRES)
        )


def test_tags_are_of_rated_pairs_after_the_rating_and_of_the_genre(
    release: tuple[Path, Truth],
) -> None:
    folder, truth = release
    rated = {(r["userId"], r["movieId"]): r["timestamp"] for r in read(folder / "ratings.csv")}
    genres = {r["movieId"]: r["genres"].split("|") for r in read(folder / "movies.csv")}
    of_genres = {tag for tags in TAGS.values() for tag in tags}
    tags = read(folder / "tags.csv")
    assert len(tags) == truth.tags > 100
    for row in tags:
        assert int(row["timestamp"]) > int(rated[row["userId"], row["movieId"]])
        if row["tag"] in of_genres:
            assert any(row["tag"] in TAGS.get(genre, ()) for genre in genres[row["movieId"]])


def test_titles_are_unique_and_hold_what_makes_parsing_hard() -> None:
    made = list(titles(np.random.default_rng(1), [1990 + n % 30 for n in range(3000)]))
    assert len(set(made)) == 3000
    assert any(", The (" in title for title in made)
    assert any('"' in title for title in made)
    assert any("::" in title for title in made)
    assert any("é" in title for title in made)
    assert any(ord(title[0]) > 0x3000 for title in made)
    assert any(" II" in title for title in made)
    assert 0 < sum(not title.endswith(")") for title in made) < 60


def test_the_truth_is_in_the_release_and_agrees_with_the_files(
    release: tuple[Path, Truth],
) -> None:
    folder, truth = release
    assert Truth(**json.loads((folder / "truth.json").read_text())) == truth
    ratings = [float(row["rating"]) for row in read(folder / "ratings.csv")]
    assert truth.ratings == len(ratings)
    assert truth.mean == pytest.approx(np.mean(ratings))


# -- repeatable ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesize(tmp_path / name, ratings=2000, seed=seed)
    same, other = digest(tmp_path / "a"), digest(tmp_path / "c")
    assert digest(tmp_path / "b") == same
    assert not set(other.values()) & set(same.values())


def test_a_block_depends_on_no_block_before_it() -> None:
    shape = Shape(ratings=450_000, users=2500, items=3000, seed=5, rank=4, sigma=0.8, taste=1.0)
    first, second, *_ = World(shape).blocks()
    assert len(first.user) <= 200_000 < len(first.user) + len(second.user)
    assert first.user[-1] < second.user[0]
    again = World(shape)
    rng = np.random.default_rng([5, 2, int(second.user[0])])
    alone = again._draw(rng, np.arange(second.user[0], second.user[-1] + 1))  # noqa: SLF001
    for name, values in vars(second).items():
        np.testing.assert_array_equal(getattr(alone, name), values)


# -- the noise floor ----------------------------------------------------------------------------


@given(score=st.floats(-2, 8), sigma=st.floats(0.2, 1.5))
@settings(max_examples=25, deadline=None)
def test_the_moments_of_a_rounded_rating_are_those_of_its_distribution(
    score: float, sigma: float
) -> None:
    def below(edge: float) -> float:
        return math.erfc((score - edge) / (sigma * math.sqrt(2))) / 2

    edges = [-math.inf, *(step / 2 + 0.25 for step in range(1, 10)), math.inf]
    stars = np.arange(1, 11) / 2
    share = np.diff([below(edge) for edge in edges])
    mean, variance = Rounding(sigma).moments(np.array([score]))
    assert mean[0] == pytest.approx(share @ stars, abs=1e-5)
    assert variance[0] == pytest.approx(share @ stars**2 - (share @ stars) ** 2, abs=1e-4)


def test_the_noise_floor_is_the_error_of_the_planted_expectation(
    world: tuple[World, Block],
) -> None:
    _, block = world
    error = block.steps / 2 - block.expected
    # Unbiased everywhere: overall, and where the expectation is low or high.
    for part in (block.expected < 2.5, block.expected > 4.3, block.expected > 0):
        assert abs(error[part].mean()) < 5 / math.sqrt(part.sum())
    assert np.mean(error**2) == pytest.approx(block.variance.mean(), rel=0.01)


def test_no_other_prediction_from_the_score_beats_the_floor(world: tuple[World, Block]) -> None:
    planted, block = world
    score = planted._score(block.user, block.item, block.time)  # noqa: SLF001
    stars = block.steps / 2
    floor = np.mean((stars - block.expected) ** 2)
    assert np.mean((stars - score) ** 2) > floor
    assert np.mean((stars - np.clip(score, 0.5, 5)) ** 2) > floor


def test_more_noise_raises_the_floor(tmp_path: Path) -> None:
    low = synthesize(tmp_path / "low", ratings=2000, sigma=0.4).noise_floor
    high = synthesize(tmp_path / "high", ratings=2000, sigma=1.0).noise_floor
    assert low < 0.45
    assert high > 0.8


# -- the planted structure ----------------------------------------------------------------------


def test_popularity_and_activity_are_skewed(world: tuple[World, Block]) -> None:
    _, block = world
    items = np.sort(np.bincount(block.item, minlength=2200))[::-1]
    users = np.bincount(block.user)
    assert items[:220].sum() > 0.3 * items.sum()
    assert items[0] > 10 * np.median(items)
    assert np.median(users) < 0.75 * users.mean()


def test_users_rate_what_they_like_more_often(world: tuple[World, Block]) -> None:
    planted, block = world
    liked = planted._affinity(block.user, block.item).mean()  # noqa: SLF001
    shuffled = np.random.default_rng(0).permutation(block.item)
    by_chance = planted._affinity(block.user, shuffled).mean()  # noqa: SLF001
    assert liked > by_chance + 0.2


def test_without_taste_popularity_alone_decides() -> None:
    shape = Shape(ratings=50_000, users=300, items=1200, seed=3, rank=8, sigma=0.8, taste=0.0)
    planted = World(shape)
    block = whole(planted)
    assert abs(planted._affinity(block.user, block.item).mean()) < 0.05  # noqa: SLF001


def test_genres_predict_taste(world: tuple[World, Block]) -> None:
    planted, block = world
    known = planted.genres[block.item, 0] >= 0
    user, item = block.user[known], block.item[known]
    residual = block.steps[known] / 2
    for side in (item, user):
        residual -= (np.bincount(side, residual) / np.maximum(np.bincount(side), 1))[side]
    # Of one user, the ratings of one genre deviate together.
    cell = user * len(GENRES) + planted.genres[item, 0]
    count = np.bincount(cell)
    mean = np.bincount(cell, residual) / np.maximum(count, 1)
    chance = np.random.default_rng(0).permutation(residual)
    by_chance = np.bincount(cell, chance) / np.maximum(count, 1)
    many = count >= 40
    assert mean[many].var() > 1.5 * by_chance[many].var()


def test_biases_drift_with_time(world: tuple[World, Block]) -> None:
    planted, block = world
    late = block.time > (START + END) // 2
    stars = block.steps / 2
    sums = [np.bincount(block.item[p], stars[p], minlength=2200) for p in (~late, late)]
    counts = [np.bincount(block.item[p], minlength=2200) for p in (~late, late)]
    enough = (counts[0] > 100) & (counts[1] > 100)
    change = sums[1][enough] / counts[1][enough] - sums[0][enough] / counts[0][enough]
    assert np.corrcoef(change, planted.item_drift[enough])[0, 1] > 0.4


def test_nothing_is_rated_before_it_is_released(world: tuple[World, Block]) -> None:
    planted, block = world
    assert (planted.released > START).mean() > 0.2
    assert (block.time >= planted.released[block.item]).all()


def test_users_arrive_over_time_so_that_a_global_cut_has_cold_and_warm_users(
    world: tuple[World, Block],
) -> None:
    _, block = world
    cut = np.sort(block.time)[int(0.9 * len(block.time))]
    before, after = (set(block.user[p].tolist()) for p in (block.time < cut, block.time >= cut))
    assert len(after & before) >= 100
    assert len(after - before) >= 50


def test_users_rate_in_sessions_with_many_ties(world: tuple[World, Block]) -> None:
    _, block = world
    order = np.lexsort((block.time, block.user))
    gap = np.diff(block.time[order])[np.diff(block.user[order]) == 0]
    assert 0.1 < (gap == 0).mean() < 0.25
    assert (gap < 60).mean() > 0.6
    assert (gap > DAY).sum() > 1800


def test_planted_factors_are_recovered_by_a_fit(world: tuple[World, Block]) -> None:
    """A plain regression on the planted factors finds each user's own taste again."""
    planted, block = world
    heavy = np.argsort(np.bincount(block.user))[-20:]
    found, truth = [], []
    for user in heavy:
        rows = block.user == user
        factors = planted.item_factors[block.item[rows]]
        offset = planted.item_bias[block.item[rows]][:, None]
        design = np.hstack([factors, offset, np.ones_like(offset)])
        fitted, *_ = np.linalg.lstsq(design, block.steps[rows] / 2, rcond=None)
        found.extend(fitted[:3])
        truth.extend(planted.user_factors[user, :3])
    assert np.corrcoef(found, truth)[0, 1] > 0.9


# -- sizes and errors ---------------------------------------------------------------------------


@given(
    ratings=st.integers(400, 6000),
    users=st.integers(1, 40),
    items=st.integers(60, 400),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_any_sizes_that_go_together_are_met_exactly(
    ratings: int, users: int, items: int, seed: int
) -> None:
    ratings = int(np.clip(ratings, 20 * users, int(0.4 * items) * users))
    shape = Shape(ratings, users, items, seed=seed, rank=2, sigma=0.8, taste=2.5)
    block = whole(World(shape))
    pairs = np.unique(block.user * items + block.item)
    assert len(block.user) == len(pairs) == ratings
    counts = np.bincount(block.user, minlength=users)
    assert len(counts) == users
    assert counts.min() >= 20
    assert counts.max() <= 0.4 * items + 1
    assert block.item.max() < items


@pytest.mark.parametrize(
    ("ratings", "users", "items"),
    [(100_000, 620, 1_700), (1_000_000, 6_040, 3_700), (25_000_000, 162_541, 59_000)],
)
def test_default_sizes_are_those_of_movielens(ratings: int, users: int, items: int) -> None:
    from recpipe.datasets import synthetic

    assert synthetic._as_movielens(ratings, synthetic._USERS) == users  # noqa: SLF001
    assert synthetic._as_movielens(ratings, synthetic._ITEMS) == items  # noqa: SLF001


def test_sizes_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1,000 ratings of 100 users are 10\.0 each.*20 to"):
        synthesize(tmp_path / "few", ratings=1000, users=100)
    with pytest.raises(UsageError, match=r"with 100 items it must be 20 to 40\.0"):
        synthesize(tmp_path / "many", ratings=1000, users=20, items=100)
    with pytest.raises(UsageError, match="sigma"):
        synthesize(tmp_path / "sharp", ratings=1000, sigma=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        synthesize(tmp_path, ratings=1000)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "release", ratings=1000, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_progress_ends_at_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    synthesize(tmp_path, ratings=1000, progress=lambda *now: told.append(now))
    assert told[-1] == (1000, 1000)
    assert len(list(csv.reader(io.StringIO((tmp_path / "ratings.csv").read_text())))) == 1001
