"""Scorers: they score items for users in a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpipe.kernels.best import LeftOut, Top
    from recpipe.ranking.user_batch import UserBatch

    Ints = NDArray[np.int32]

_CELLS = 1 << 22
"""Scores that are held at once where a scorer makes all of them: 16 MiB."""


class Pairs(NamedTuple):
    """Pairs of a user and an item that are to be scored.

    Args:
        rows: (n,) the place of each pair's user in the batch.
        columns: (n,) the place of each pair's item among the items of the scorer; -1 for an item
            that the model does not know.
        instants: (n,) the instant that each pair is asked for, in microseconds since 1970 (int64);
            None where the model does not ask for it.
    """

    rows: Ints
    columns: Ints
    instants: NDArray[np.int64] | None = None


class Scorer(Protocol):
    """Scores items for users: arrays and scalars only, since it is sent to the workers.

    The score of a pair depends on the pair alone: not on the other users of the batch, and not on
    the block that its item fell into.
    """

    @property
    def items(self) -> Ints:
        """The candidates, ascending: all items of the model, or a block of them."""
        ...

    def update_top(self, batch: UserBatch, left_out: LeftOut, top: Top) -> None:
        """Score the items that each user may get, and keep those that are among the user's best.

        Args:
            batch: the users, a row of `top` each.
            left_out: what each row may not take.
            top: the best so far, from items with lower numbers; changed in place.
        """
        ...

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        """(users, items) the score of every item for every user of a small batch."""
        ...

    def score(self, batch: UserBatch, pairs: Pairs) -> NDArray[np.float64]:
        """(n,) the score of each pair."""
        ...

    def shown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores that lists show: a non-decreasing function of the score."""
        ...

    def ratings(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The predicted ratings that scores stand for, on the scale of the ratings."""
        ...


class DenseScorer:
    """What a scorer that computes all scores of a user at once need not write itself.

    A subclass has `items` and `score_all`, and `ratings` only if scores are not ratings already.
    """

    items: Ints

    def score_all(self, batch: UserBatch) -> NDArray[np.float32]:
        raise NotImplementedError

    def update_top(self, batch: UserBatch, left_out: LeftOut, top: Top) -> None:
        from recpipe.kernels.topn import best_of_scores

        for rows in batch.slices(_CELLS // max(1, len(self.items))):
            scores = self.score_all(batch.at(rows))
            best_of_scores(scores, self.items, left_out, top, first=rows.start)

    def score(self, batch: UserBatch, pairs: Pairs) -> NDArray[np.float64]:
        """(n,) the score of each pair; NaN for an item that the model does not know."""
        found = np.full(len(pairs.rows), np.nan)
        known = pairs.columns >= 0
        for rows in batch.slices(_CELLS // max(1, len(self.items))):
            here = known & (pairs.rows >= rows.start) & (pairs.rows < rows.stop)
            if here.any():
                scores = self.score_all(batch.at(rows))
                found[here] = scores[pairs.rows[here] - rows.start, pairs.columns[here]]
        return found

    def shown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores

    def ratings(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return scores


__all__ = ["DenseScorer", "Pairs", "Scorer"]
