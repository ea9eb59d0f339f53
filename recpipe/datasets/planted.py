"""A planted world of users, movies and ratings, whose best possible prediction is known.

The score that user u would give item i at time t is

    mean + b_u(t) + b_i(t) + p_u . q_i + noise,        noise ~ N(0, sigma^2)

and the rating is that score rounded to half a star and clipped to 0.5 .. 5. What u rates is drawn
without replacement with weights popularity_i * sigmoid(taste * z_ui - _RESERVE), where z_ui is
p_u . q_i in standard deviations: users rate what they like more often. The weights do not know the
noise, so E[rating | factors, time] is the same for what was rated as for what was not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

START = int(datetime(2014, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
LAST_YEAR = 2019
_DAY = 86_400
_YEAR = 365.25 * _DAY

STARS = 10
"""Ratings go from half a star to five in this many steps."""

GENRES = (
    "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War",
    "Western",
)  # fmt: skip
_GENRE_WEIGHTS = np.array([9, 6, 3, 3, 17, 6, 4, 25, 4, 1, 6, 2, 3, 10, 5, 10, 2, 1], np.float64)
_MAX_GENRES = 3

_MEAN = 3.05
_USER_BIAS, _ITEM_BIAS, _QUALITY, _FACTORS = 0.38, 0.30, 0.22, 0.55
"""Standard deviations: of the biases, of the part of an item's that follows its popularity, and
of p_u . q_i."""
_SPECTRUM = 0.45
"""Variance of a taste over that of the one before: the first matter most, as in real ratings."""
_GENRE_SHARE = 0.6
"""Share of the variance of an item's factors that its genres explain."""
_USER_DRIFT, _ITEM_DRIFT = 0.05, 0.25
"""Standard deviations of the change of a bias: of a user's a year, of an item's in all years."""

MIN_ACTIVITY = 20
"""Ratings of the least active user."""
MAX_ACTIVITY_SHARE = 0.4
"""The share of all items that the most active user has rated at most."""
_ACTIVITY_SIGMA = 1.2
_ZIPF_EXPONENT, _ZIPF_OFFSET_SHARE = 1.1, 0.005
_RESERVE = 1.0
_SESSIONS, _MAX_SESSIONS, _SINGLE = 12.0, 40, 0.3
"""Sessions of a user who comes back (mean, most) and the share of those who do not."""
_GAP_DAYS = 100.0
_SAME_SECOND, _SECONDS_A_RATING = 0.15, 12.0

_BLOCK_RATINGS = 200_000
_ROUNDS = 12

# One stream of random numbers a purpose, so that none shifts another.
_ITEMS, _USERS, _RATINGS = 0, 1, 2


@dataclass(frozen=True)
class Shape:
    """How large a world is and how hard to predict.

    Args:
        ratings: number of ratings, exactly.
        users: number of users; each has at least MIN_ACTIVITY ratings, and so must the mean.
        items: number of movies, some of which may be left without a rating; the mean number of
            ratings of a user is at most MAX_ACTIVITY_SHARE of them.
        seed: of everything.
        rank: number of planted factors.
        sigma: standard deviation of the noise, in stars.
        taste: how much more often users rate what they like; 0: popularity alone decides.
    """

    ratings: int
    users: int
    items: int
    seed: int
    rank: int
    sigma: float
    taste: float


@dataclass(frozen=True)
class Block:
    """The ratings of some successive users, by user and then item.

    Args:
        user: (n,) number of the user, from 0.
        item: (n,) number of the item, from 0.
        time: (n,) seconds since 1970.
        steps: (n,) the rating in half stars, 1 to 10.
        expected: (n,) E[rating | factors, time] in stars.
        variance: (n,) Var[rating | factors, time].
    """

    user: Ints
    item: Ints
    time: Ints
    steps: Ints
    expected: Floats
    variance: Floats


class World:
    """Everything that is planted: O(users + items) numbers. Ratings are drawn block by block."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._plant_items(np.random.default_rng([shape.seed, _ITEMS]))
        self._plant_users(np.random.default_rng([shape.seed, _USERS]))

    def _plant_items(self, rng: np.random.Generator) -> None:
        items, rank = self.shape.items, self.shape.rank
        age = np.minimum(rng.exponential(14.0, items), 95.0).astype(np.int64)
        self.year = LAST_YEAR - age
        self.genres = _draw_genres(rng, items)
        self.item_factors = _item_factors(rng, self.genres, self.year, rank)
        place = rng.permutation(items)
        self.popularity = (place + 1 + _ZIPF_OFFSET_SHARE * items) ** -_ZIPF_EXPONENT
        quality = np.log(self.popularity)
        quality = (quality - quality.mean()) / (quality.std() or 1.0)
        self.item_bias = _ITEM_BIAS * rng.standard_normal(items) + _QUALITY * quality
        self.item_drift = _ITEM_DRIFT * rng.standard_normal(items)
        opened = (self.year - 1970).astype("datetime64[Y]").astype("datetime64[s]")
        within = (rng.random(items) * 365 * _DAY).astype(np.int64)
        # What is older than the service was there from its first day.
        released = opened.astype(np.int64) + within
        self.released = np.where(released < START, 0, released)
        # Early users must find enough to rate, however few movies there are.
        self.released[np.argsort(self.year, kind="stable")[: -(-items // 2)]] = 0

    def _plant_users(self, rng: np.random.Generator) -> None:
        users, rank = self.shape.users, self.shape.rank
        spectrum = _SPECTRUM ** np.arange(rank)
        scale = _FACTORS * np.sqrt(spectrum / spectrum.sum())
        self.user_factors = rng.standard_normal((users, rank)) * scale
        self.user_bias = _USER_BIAS * rng.standard_normal(users)
        self.user_drift = _USER_DRIFT * rng.standard_normal(users)
        self.arrived = START + (rng.random(users) * (END - _DAY - START)).astype(np.int64)
        self.activity = _activity(rng, self.shape)

    @cached_property
    def _draws(self) -> Floats:
        return np.asarray(np.cumsum(self.popularity) / self.popularity.sum())

    @cached_property
    def _rounding(self) -> Rounding:
        return Rounding(self.shape.sigma)

    def blocks(self) -> Iterator[Block]:
        """All ratings, by user; which users a block has, and its draws, follow from the world."""
        number = (np.cumsum(self.activity) - 1) // _BLOCK_RATINGS
        edges = np.flatnonzero(np.diff(number, prepend=-1, append=number[-1] + 1))
        for first, last in pairwise(edges):
            rng = np.random.default_rng([self.shape.seed, _RATINGS, int(first)])
            yield self._draw(rng, np.arange(first, last))

    def _draw(self, rng: np.random.Generator, users: Ints) -> Block:
        starts, sessions = self._sessions(rng, users)
        row, item = self._choose(rng, users, last=starts[np.arange(len(users)), sessions - 1])
        user = users[row]
        time = self._times(rng, row, item, starts=starts, sessions=sessions)
        score = self._score(user, item, time)
        noisy = score + self.shape.sigma * rng.standard_normal(len(score))
        steps = np.clip(np.rint(2 * noisy), 1, STARS).astype(np.int64)
        expected, variance = self._rounding.moments(score)
        return Block(user, item, time, steps, expected, variance)

    def _score(self, user: Ints, item: Ints, time: Ints) -> Floats:
        """What a rating would be without noise, before it is rounded."""
        elapsed = (time - START) / (END - START) - 0.5
        since = (time - self.arrived[user]) / _YEAR
        bias = self.user_bias[user] + self.user_drift[user] * since
        bias += self.item_bias[item] + self.item_drift[item] * elapsed
        return np.asarray(_MEAN + bias + self._affinity(user, item))

    def _affinity(self, user: Ints, item: Ints) -> Floats:
        factors = self.user_factors[user], self.item_factors[item]
        return np.asarray(np.einsum("nk,nk->n", *factors))

    def _sessions(self, rng: np.random.Generator, users: Ints) -> tuple[Ints, Ints]:
        """(u, most) starts of every session, ascending, and (u,) how many count."""
        count = len(users)
        wished = 1 + rng.geometric(1 / _SESSIONS, count) * (rng.random(count) >= _SINGLE)
        gaps = (rng.exponential(_GAP_DAYS * _DAY, (count, _MAX_SESSIONS))).astype(np.int64)
        gaps[:, 0] = 0
        starts = self.arrived[users, None] + np.cumsum(gaps, axis=1)
        places = np.arange(_MAX_SESSIONS)
        return starts, ((places < wished[:, None]) & (starts < END - _DAY)).sum(axis=1)

    def _choose(self, rng: np.random.Generator, users: Ints, *, last: Ints) -> tuple[Ints, Ints]:
        """Distinct items for each user: rows of `users` and items, sorted by both.

        Drawing with replacement and leaving out what came before is drawing without replacement;
        proposals by popularity that are accepted by taste are draws by their product. Users who
        need most of what there is would draw for ever: the rest of theirs is an exponential race
        (Efraimidis and Spirakis 2006), which has the same distribution.

        Args:
            rng: of the block.
            users: (u,) of the block.
            last: (u,) start of the last session: what is released later is out of reach.
        """
        items = self.shape.items
        need = self.activity[users].copy()
        taken = np.empty(0, np.int64)
        for _ in range(_ROUNDS):
            rows = np.flatnonzero(need)
            if not len(rows):
                break
            row = np.repeat(rows, 4 * need[rows] + 16)
            item = np.searchsorted(self._draws, rng.random(len(row)), side="right")
            item = np.minimum(item, items - 1)
            wanted = rng.random(len(row)) < self._appeal(users[row], item)
            keep = wanted & (self.released[item] <= last[row])
            # The first draw of a pair counts, in the order of draws.
            key, at = np.unique(row[keep] * items + item[keep], return_index=True)
            fresh = ~np.isin(key, taken, assume_unique=True)
            key = key[fresh][np.argsort(at[fresh])]
            row = key // items
            place = np.arange(len(row)) - np.searchsorted(row, row)
            key = key[place < need[row]]
            taken = np.sort(np.concatenate([taken, key]))
            need -= np.bincount(key // items, minlength=len(users))
        for left in np.flatnonzero(need):
            own = taken[taken // items == left] % items
            weight = self.popularity * self._appeal(np.full(items, users[left]), np.arange(items))
            weight[self.released > last[left]] = 0
            weight[own] = 0
            with np.errstate(divide="ignore"):
                arrival = rng.standard_exponential(items) / weight
            chosen = np.argpartition(arrival, need[left] - 1)[: need[left]]
            taken = np.concatenate([taken, left * items + chosen])
        taken = np.sort(taken)
        return taken // items, taken % items

    def _appeal(self, user: Ints, item: Ints) -> Floats:
        """How likely a user is to rate an item that was noticed."""
        z = self._affinity(user, item) / _FACTORS
        return np.asarray(1 / (1 + np.exp(_RESERVE - self.shape.taste * z)))

    def _times(
        self, rng: np.random.Generator, row: Ints, item: Ints, *, starts: Ints, sessions: Ints
    ) -> Ints:
        """When each rating was given: within a session one after the other, often at once."""
        session = (rng.random(len(row)) * sessions[row]).astype(np.int64)
        early = self.released[item] > starts[row, session]
        session = np.where(early, sessions[row] - 1, session)
        order = np.lexsort((rng.random(len(row)), session, row))
        gap = np.ceil(rng.exponential(_SECONDS_A_RATING, len(row))).astype(np.int64)
        gap[rng.random(len(row)) < _SAME_SECOND] = 0
        passed = np.cumsum(gap)
        group = row[order] * _MAX_SESSIONS + session[order]
        passed -= passed[np.searchsorted(group, group)]
        time = np.empty(len(row), np.int64)
        time[order] = starts[row[order], session[order]] + passed
        return time


class Rounding:
    """Mean and variance of a rating whose score is m plus noise, once rounded and clipped.

    A rating is at least (k + 1) / 2 stars where the score passes k / 2 + 1/4, so the moments are
    sums over those edges of the normal distribution. They are smooth in m: a fine grid and linear
    interpolation keep them to about 1e-6.
    """

    _STEP = 1 / 512

    def __init__(self, sigma: float) -> None:
        reach = 8 * sigma
        self._grid = np.arange(-reach, 6 + reach, self._STEP)
        step = np.arange(2, STARS + 1)
        edges = step / 2 - 0.25
        z = (edges - self._grid[:, None]) / (sigma * math.sqrt(2))
        beyond = np.array([[math.erfc(x) / 2 for x in row] for row in z])
        self._mean = 0.5 + 0.5 * beyond.sum(axis=1)
        # E[s^2] for s = 1 .. 10 half stars is 1 + the sum of (2s - 1) P(at least s).
        squares = 0.25 * (1 + beyond @ (2 * step - 1))
        self._variance = squares - self._mean**2

    def moments(self, score: Floats) -> tuple[Floats, Floats]:
        """(n,) E[rating | score] in stars and (n,) Var[rating | score]."""
        return (
            np.interp(score, self._grid, self._mean),
            np.interp(score, self._grid, self._variance),
        )


def _draw_genres(rng: np.random.Generator, items: int) -> Ints:
    """(items, 3) numbers of genres, no two the same, -1 where an item has fewer."""
    race = rng.standard_exponential((items, len(GENRES))) / _GENRE_WEIGHTS
    genres = np.argsort(race, axis=1)[:, :_MAX_GENRES]
    count = rng.choice(_MAX_GENRES + 1, items, p=[0.01, 0.39, 0.35, 0.25])
    return np.where(np.arange(_MAX_GENRES) < count[:, None], genres, -1)


def _item_factors(rng: np.random.Generator, genres: Ints, year: Ints, rank: int) -> Floats:
    """(items, rank) factors of unit variance that genres and, on the first axis, years explain."""
    directions = rng.standard_normal((len(GENRES), rank))
    shared = np.zeros((len(genres), rank))
    for column in genres.T:
        shared[column >= 0] += directions[column[column >= 0]]
    shared[:, 0] += 0.5 * (year - year.mean()) / (year.std() or 1.0)
    shared = (shared - shared.mean(axis=0)) / np.maximum(shared.std(axis=0), 1e-9)
    own = rng.standard_normal(shared.shape)
    return np.asarray(math.sqrt(_GENRE_SHARE) * shared + math.sqrt(1 - _GENRE_SHARE) * own)


def _activity(rng: np.random.Generator, shape: Shape) -> Ints:
    """(users,) ratings of each user: log-normal above the least, in sum exactly `ratings`."""
    weight = rng.lognormal(0.0, _ACTIVITY_SIGMA, shape.users)
    left = float(shape.ratings - MIN_ACTIVITY * shape.users)
    extra = np.zeros(shape.users)
    open_ = np.ones(shape.users, bool)
    limit = MAX_ACTIVITY_SHARE * shape.items - MIN_ACTIVITY
    # What does not fit under the limit goes to the others, until all of it fits.
    while left > 0 and open_.any():
        share = left / weight[open_].sum() * weight
        full = open_ & (share >= limit)
        extra[open_] = share[open_]
        if not full.any():
            break
        extra[full] = limit
        left -= limit * int(full.sum())
        open_ &= ~full
    # Rounded along the sum, so that the whole stays what it is.
    edges = np.rint(np.cumsum(extra)).astype(np.int64)
    edges[-1] = shape.ratings - MIN_ACTIVITY * shape.users
    return MIN_ACTIVITY + np.diff(edges, prepend=0)
