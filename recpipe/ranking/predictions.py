"""Predicted ratings of pairs: one way for every model of factors and biases.

Users fall into buckets, which meet the pairs that are asked about in one task each; the items are
those that were sent for lists (`candidates`). Pairs travel in runs (`seen`), factors once a user.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.seen import gathered, runs_of
from recpipe.ranking.user_vectors import KINDS, packed_people, people_of
from recpipe.spark.columns import batch_of
from recpipe.spark.interactions import arrays_of, mapped, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ranking.item_blocks import Candidates
    from recpipe.ranking.scorers import FactorScorer
    from recpipe.ranking.seen import Gathered
    from recpipe.spark.interactions import Interactions, Mapped
    from recpipe.storage import Stored

    Floats = NDArray[np.float64]

PREDICTIONS = "user int, item int, prediction float"
"""The schema of predictions."""

_AT_ONCE = 1 << 16
"""Pairs whose factors are side by side: at rank 64, 64 MiB."""


def predictions(
    users: DataFrame | Stored,
    *,
    candidates: Candidates[FactorScorer],
    pairs: Interactions | Gathered,
    unknown_too: bool,
    present: Callable[[Floats], Floats],
) -> Mapped:
    """PREDICTIONS: a row for each pair, or for each whose user and item are known.

    Scores are summed in float64: they depend on nothing but the pair.

    Args:
        users: (user, factors, bias), distinct.
        candidates: all items.
        pairs: (user, item), or gathered ones.
        unknown_too: whether unknown users and items count, as factors and biases of 0.
        present: from scores to ratings.
    """
    asked, buckets = gathered(pairs)
    predicted = partial(_predicted, candidates=candidates, unknown_too=unknown_too, present=present)
    people = packed_people(users, buckets=buckets)
    return mapped(together([people, asked], buckets=buckets), predicted, PREDICTIONS)


def no_predictions(spark: SparkSession) -> Mapped:
    """PREDICTIONS of a model that makes none."""
    return mapped(spark.range(0, 0, 1, 1), lambda _: iter(()), PREDICTIONS)


def _predicted(
    batches: Iterator[pa.RecordBatch],
    *,
    candidates: Candidates[FactorScorer],
    unknown_too: bool,
    present: Callable[[Floats], Floats],
) -> Iterator[pa.RecordBatch]:
    """The predictions of one bucket."""
    numbers, runs = arrays_of(batches, [KINDS, runs_of])
    if not len(runs.users):
        return
    people = people_of(numbers, width=candidates.width)
    users, items = np.repeat(runs.users, runs.sizes), runs.items.astype(np.int32)
    rows = np.repeat(ids.positions(people.users, runs.users), runs.sizes)
    # The last is for users who are not known, whose row is -1.
    biases = np.append(people.numbers[:, -1], np.float32(0))
    factors = people.numbers[:, :-1]
    scores = biases[rows].astype(np.float64)
    known = np.zeros(len(items), bool)
    for scorer in candidates.scorers():
        at = ids.positions(scorer.items, items)
        mine = np.flatnonzero(at >= 0)
        for start in range(0, len(mine), _AT_ONCE):
            some = mine[start : start + _AT_ONCE]
            scores[some] += scorer.scores(factors, rows[some], at[some])
        known[mine] = rows[mine] >= 0
    scores += scorer.mean
    kept = slice(None) if unknown_too else known
    shown = present(scores[kept]).astype(np.float32)
    yield batch_of(PREDICTIONS, users[kept], items[kept], shown)


__all__ = ["PREDICTIONS", "no_predictions", "predictions"]
