"""Scores at an instant: those of a model of factors, with the vectors that users have then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.kernels.time_biases import deviation
from recpipe.ranking.scorer import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.kernels import topn as kernel
    from recpipe.ranking.factor_scorer import FactorScorer
    from recpipe.ranking.user_batch import UserBatch

    Longs = NDArray[np.int64]

DAY = 86_400_000_000
"""Microseconds of a day. Days are numbered from 1970 on, in UTC."""


class Calendar(NamedTuple):
    """The days of the fit, in periods.

    Args:
        first: day with a rating.
        last: day with a rating.
        bins: periods of equal length.
        power: of `deviation`.
    """

    first: int
    last: int
    bins: int
    power: float

    def bin_of(self, days: Longs) -> Longs:
        """The period of each day; the first or the last of days outside."""
        found: Longs = (days - self.first) * self.bins // (self.last - self.first + 1)
        return np.clip(found, 0, self.bins - 1)


@dataclass(frozen=True, eq=False)
class TimeScorer:
    """At an instant the model is one of factors: an item has a further factor for each period.

    A user comes with the numbers rank factors, drift, mean day, bias, and with a history that has
    the days on which the user has rated in place of items, and what is added to the bias on each.
    Days count from the first of the fit, since float32 has digits for parts of a day then. `_at`
    makes the user's vector of a day: the factors, 1 for the period and 0 for the others, the bias.

    Args:
        inner: scores by rank + bins factors.
        calendar: of the fit.
    """

    inner: FactorScorer
    calendar: Calendar

    @property
    def items(self) -> NDArray[np.int32]:
        return self.inner.items

    def update_top(self, batch: UserBatch, left_out: kernel.LeftOut, top: kernel.Top) -> None:
        self.inner.update_top(self._now(batch), left_out, top)

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        return self.inner.score_all(self._now(batch))

    def score(self, batch: UserBatch, pairs: Pairs) -> NDArray[np.float64]:
        assert pairs.instants is not None  # noqa: S101 - its inputs ask for them
        then = self._at(batch, pairs.rows, pairs.instants // DAY)
        return self.inner.score(
            then, Pairs(np.arange(len(pairs.rows), dtype=np.int32), pairs.columns)
        )

    def shown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.inner.shown(scores)

    def ratings(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.inner.ratings(scores)

    def _now(self, batch: UserBatch) -> UserBatch:
        """The users at the instant that lists are made for, or else on the last day of the fit."""
        day = self.calendar.last if batch.instant is None else batch.instant // DAY
        count = len(batch.users)
        return self._at(batch, np.arange(count), np.full(count, day))

    def _at(self, batch: UserBatch, rows: NDArray[np.integer], days: Longs) -> UserBatch:
        """Users, each on a day; their vectors are those of `inner`."""
        assert batch.vectors is not None  # noqa: S101 - its inputs have some
        assert batch.histories is not None  # noqa: S101 - its inputs have some
        offsets, known, values = batch.histories
        vectors, bins = batch.vectors[rows], self.calendar.bins
        rank = vectors.shape[1] - 3
        drift, centre, bias = vectors[:, rank:].astype(np.float64).T
        since = days - self.calendar.first
        bias = bias + drift * deviation(since - centre, self.calendar.power)
        if len(known):
            # Days fit into 32 bits: a row and a day are one number.
            owners = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
            there, asked = (owners << 32) + known, (rows.astype(np.int64) << 32) + since
            places = np.minimum(np.searchsorted(there, asked), len(there) - 1)
            bias = bias + np.where(there[places] == asked, values[places], 0)
        now = np.zeros((len(rows), rank + bins + 1), np.float32)
        now[:, :rank] = vectors[:, :rank]
        now[np.arange(len(rows)), rank + self.calendar.bin_of(days)] = 1
        now[:, -1] = bias
        return replace(
            batch,
            users=batch.users[rows],
            known=batch.known[rows],
            vectors=now,
            histories=None,
        )


__all__ = ["DAY", "Calendar", "TimeScorer"]
