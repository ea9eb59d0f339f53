"""A model whose scores depend on the instant that is asked about, and on nothing else.

In a module of its own, which Python workers can import: scorers are sent to them by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.models.base import FittedModel
from recpipe.models.baselines.popularity import Popularity
from recpipe.ranking.engine import Scoring
from recpipe.ranking.item_blocks import ItemBlocks
from recpipe.ranking.scorer import DenseScorer
from recpipe.ranking.user_batch import UserInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pyspark.sql import SparkSession

    from recpipe.ranking.scorer import Pairs, Scorer
    from recpipe.ranking.user_batch import UserBatch

_HOUR = 3600 * 1_000_000


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    # In whole numbers: a float has no room for the microseconds of a time.
    past = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86400 + past.seconds) * 1_000_000 + past.microseconds


@dataclass(frozen=True, eq=False)
class ClockScorer(DenseScorer):
    """An item is an hour of the day, the better the nearer it is to the instant's own.

    Args:
        items: (I,) hours, ascending.
    """

    items: NDArray[np.int32]

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        assert batch.instant is not None
        hour = batch.instant // _HOUR % 24
        scores = -np.abs(self.items - hour).astype(np.float32)
        return np.tile(scores, (len(batch.users), 1))

    def score(self, batch: UserBatch, pairs: Pairs) -> NDArray[np.float64]:
        """Hours since 1970; of even items microseconds past ten seconds: float32 has all digits."""
        assert batch.instant is None
        assert pairs.instants is not None
        even = self.items[np.maximum(pairs.columns, 0)] % 2 == 0
        return np.where(even, pairs.instants % 10_000_000, pairs.instants // _HOUR).astype(float)


@dataclass(frozen=True, eq=False, kw_only=True)
class Clock(FittedModel):
    """Knows some hours and nobody; it scores everybody.

    Args:
        session: of its tables, of which there are none.
        hours: its items, ascending, in blocks.
    """

    session: SparkSession
    hours: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, session: SparkSession, *hours: tuple[int, ...]) -> Clock:
        """A clock of blocks of hours."""
        return cls(name="clock", refit_config=Popularity(), session=session, hours=hours)

    @property
    def spark(self) -> SparkSession:
        return self.session

    @property
    def predicts_ratings(self) -> bool:
        return True

    def _scoring(self) -> Scoring:
        return Scoring(self._send, UserInputs(instants=True), everyone=True)

    def _send(self) -> ItemBlocks:
        scorers: list[Scorer] = [ClockScorer(np.array(h, np.int32)) for h in self.hours]
        blocks = tuple(map(self.session.sparkContext.broadcast, scorers))
        return ItemBlocks(blocks, sum(map(len, self.hours)))

    def info(self) -> Mapping[str, Any]:
        return {}
