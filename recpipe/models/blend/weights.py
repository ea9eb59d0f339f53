"""The weights of a blend, found on validation by forward selection and evaluated on other users.

Starting from no model, every step adds the model that raises NDCG most, and a model may be added
more than once (Caruana et al. 2004): its share of the steps is its weight. Weights cannot be
negative and few of them are not 0. The first step finds the best single model, so the blend is
never worse than that on the users it was found on.

On other users it may be worse. So users fall into folds, and the weights for each fold are found
without its users: what these then reach is what the blend is worth, and how far the weights of the
folds lie apart is how sure they are. The weights of the blend are their mean, which is better than
any of them where they differ (bagging, in the same paper).

References:
    Rich Caruana, Alexandru Niculescu-Mizil, Geoff Crew and Alex Ksikes. Ensemble Selection from
    Libraries of Models. ICML 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F
from scipy.special import stdtrit

from recpipe.kernels import ids
from recpipe.ranking.pairs import items_by_user, packed_pairs, runs_of
from recpipe.ranking.user_batch import microseconds
from recpipe.spark.columns import arrow_row
from recpipe.spark.interactions import arrays_of, buckets_for, frame_of, together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.models.blend.scorer import BlendItems
    from recpipe.ranking.user_batch import InputShape, UserInputs
    from recpipe.spark.interactions import Interactions

    Batches = Iterator[pa.RecordBatch]

_CANDIDATES = 100
"""The best items of each component among which a blend finds its own best."""
_USERS_AT_ONCE = 64
_MIN_USERS = 2
"""Users from which on a mean has an interval."""
NO_CANDIDATE = -1e30
"""The score in a place without a candidate: below all others, finite so that 0 times it is 0."""

_CANDIDATE_SCORES = "user int, relevant int, hits binary, scores binary"
"""Of a user: how many items are relevant, for each candidate whether it is (bool), and its standard
score by each component (float32). Candidates are in the order of their numbers."""


@dataclass(frozen=True, eq=False)
class ScoredCandidates:
    """What weights are found on.

    Args:
        scores: (users, candidates, components) standard scores; NO_CANDIDATE where a user has
            fewer.
        hits: (users, candidates) whether the candidate is relevant.
        relevant: (users,) how many items are relevant.
    """

    scores: NDArray[np.float32]
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int32]

    def of(self, users: NDArray[np.int64]) -> ScoredCandidates:
        """The candidates of some users, by their places."""
        return ScoredCandidates(self.scores[users], self.hits[users], self.relevant[users])

    def ndcg(self, weights: NDArray[np.float64], *, k: int) -> float:
        """The mean of `ndcg_of_users`."""
        return float(self.ndcg_of_users(weights, k=k).mean())

    def ndcg_of_users(self, weights: NDArray[np.float64], *, k: int) -> NDArray[np.float64]:
        """(users,) the NDCG within k places of the weighted sum of scores."""
        blended = self.scores @ weights.astype(np.float32)
        # Stable: equal scores stay in the order of the numbers of their items.
        best = np.argsort(-blended, axis=1, kind="stable")[:, :k]
        gains = 1 / np.log2(np.arange(2, k + 2))
        found = np.take_along_axis(self.hits, best, axis=1) @ gains[: best.shape[1]]
        ideal = np.cumsum(gains)[np.minimum(self.relevant, k) - 1]
        values: NDArray[np.float64] = found / ideal
        return values


class Estimate(NamedTuple):
    """A mean over users and its 95 % interval, by Student's t; None for fewer than two users."""

    value: float
    ci_low: float | None
    ci_high: float | None

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Estimate:
        """Of a value for each user, at least one."""
        mean, users = float(values.mean()), len(values)
        if users < _MIN_USERS:
            return cls(mean, None, None)
        error = float(values.std(ddof=1)) / np.sqrt(users)
        reach = float(stdtrit(users - 1, 0.975)) * error
        return cls(mean, mean - reach, mean + reach)


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """Weights, and what they are worth on users whom they were not found on.

    Args:
        weights: (components,) the mean of those of the folds, without models to which it gives less
            than half a step; they sum to 1.
        by_fold: (folds, components) found on the users of the other folds.
        blended: (users,) the NDCG of each user by the weights of the user's own fold.
        alone: (users, components) the NDCG of each user by each model alone.
    """

    weights: NDArray[np.float64]
    by_fold: NDArray[np.float64]
    blended: NDArray[np.float64]
    alone: NDArray[np.float64]


def cross_validated(
    candidates: ScoredCandidates, *, folds: int, steps: int, k: int, seed: int
) -> CrossValidated:
    """Weights by `forward_selection`, once without the users of each fold.

    Args:
        candidates: of at least one user.
        folds: how many; with fewer users as many as there are users. A single user has no others,
            so the weights are evaluated on the user whom they were found on.
        steps: of each selection.
        k: places of a list that count.
        seed: of who falls into which fold.
    """
    users, width = candidates.scores.shape[0], candidates.scores.shape[2]
    fold = np.random.default_rng(seed).permutation(users) % min(folds, users)
    by_fold, blended = [], np.empty(users)
    for number in range(min(folds, users)):
        within = np.flatnonzero(fold == number)
        others = np.flatnonzero(fold != number) if users > 1 else within
        by_fold.append(forward_selection(candidates.of(others), steps=steps, k=k))
        blended[within] = candidates.of(within).ndcg_of_users(by_fold[-1], k=k)
    mean = np.mean(by_fold, axis=0)
    kept = np.where(mean >= min(0.5 / steps, mean.max()), mean, 0)
    alone = np.stack([candidates.ndcg_of_users(one, k=k) for one in np.eye(width)], axis=1)
    return CrossValidated(kept / kept.sum(), np.stack(by_fold), blended, alone)


def forward_selection(candidates: ScoredCandidates, *, steps: int, k: int) -> NDArray[np.float64]:
    """(components,) the weights that reached the best NDCG on the way; they sum to 1.

    Args:
        candidates: of at least one user.
        steps: models that are added, one after the other.
        k: places of a list that count.
    """
    width = candidates.scores.shape[2]
    counts, best, reached = np.zeros(width), np.zeros(width), -1.0
    for step in range(1, steps + 1):
        # As shares: in float32 their sums may tie where those of counts do not.
        shares = [(counts + added) / step for added in np.eye(width)]
        tried = [candidates.ndcg(weights, k=k) for weights in shares]
        chosen = int(np.argmax(tried))
        counts[chosen] += 1
        if tried[chosen] > reached:
            best, reached = shares[chosen], tried[chosen]
    return best


def scored_candidates(
    items: BlendItems,
    inputs: UserInputs,
    *,
    relevant: DataFrame,
    seen: Interactions,
    max_users: int,
    seed: int,
    instant: datetime,
) -> ScoredCandidates | None:
    """The candidates of validation users and their scores by each component; None without users.

    A user's candidates are the best items of each component and the relevant ones, none of them
    seen.

    Args:
        items: of the blend.
        inputs: of the blend.
        relevant: (user int, item int), one row a pair.
        seen: (user int, item int, ...) pairs that are no candidates.
        max_users: how many users are drawn at most.
        seed: of the draw.
        instant: that the components are asked for.
    """
    spark = relevant.sparkSession
    users = relevant.select("user").distinct()
    drawn = users.orderBy(F.xxhash64("user", F.lit(seed)), "user").limit(max_users)
    asked = relevant.join(F.broadcast(drawn), "user", "left_semi")
    left_out = frame_of(seen).join(F.broadcast(drawn), "user", "left_semi")
    buckets = buckets_for(spark, users=max_users)
    frames = [
        packed_pairs(frame.select("user", "item"), users=max_users).rows
        for frame in (asked, left_out)
    ]
    work = partial(_asked, items=items, shape=inputs.shape, instant=microseconds(instant))
    rows = (
        together([*frames, *inputs.packed(buckets=buckets)], buckets=buckets)
        .mapInArrow(work, _CANDIDATE_SCORES)
        .collect()
    )
    if not rows:
        return None
    rows.sort(key=lambda row: row["user"])
    width = len(inputs.components)
    places = max(len(row["hits"]) for row in rows)
    scores = np.full((len(rows), places, width), NO_CANDIDATE, np.float32)
    hits = np.zeros((len(rows), places), bool)
    for at, row in enumerate(rows):
        own = np.frombuffer(row["scores"], np.float32).reshape(-1, width)
        scores[at, : len(own)] = own
        hits[at, : len(own)] = np.frombuffer(row["hits"], bool)
    return ScoredCandidates(scores, hits, np.array([row["relevant"] for row in rows], np.int32))


def _asked(batches: Batches, *, items: BlendItems, shape: InputShape, instant: int) -> Batches:
    """_CANDIDATE_SCORES of the users of one bucket."""
    wanted, left_out, *arrays = arrays_of(batches, [runs_of, runs_of, *shape.readers()])
    batch = shape.batch(ids.distinct(wanted.users), arrays, instant=instant)
    scorer, width = items.scorer, len(shape.components)
    relevant, seen = (items_by_user(batch.users, runs) for runs in (wanted, left_out))
    for rows in batch.slices(_USERS_AT_ONCE):
        some = batch.at(rows)
        scores = np.stack([scorer.standard_scores(some, p) for p in range(width)], axis=2)
        for row in range(rows.start, rows.stop):
            liked = relevant.items[relevant.offsets[row] : relevant.offsets[row + 1]]
            known = seen.items[seen.offsets[row] : seen.offsets[row + 1]]
            own = scores[row - rows.start]
            own[np.isin(scorer.items, known)] = -np.inf
            hits = np.isin(scorer.items, liked)
            chosen = _candidates(own, hits)
            yield arrow_row(
                _CANDIDATE_SCORES, batch.users[row], len(liked), hits[chosen], own[chosen]
            )


def _candidates(scores: NDArray[np.float32], hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of the best items of each component and of the hits, ascending; none seen."""
    chosen = hits.copy()
    few = min(_CANDIDATES, len(scores))
    for own in scores.T:
        chosen[np.argpartition(-own, few - 1)[:few]] = True
    return np.flatnonzero(chosen & np.isfinite(scores).all(axis=1))


__all__ = [
    "NO_CANDIDATE", "CrossValidated", "Estimate", "ScoredCandidates", "cross_validated",
    "forward_selection", "scored_candidates",
]  # fmt: skip
