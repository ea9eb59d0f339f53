"""Lists of the best items of every user, and predictions of pairs: one engine for every model.

Users are divided into buckets. One task gets the users of a bucket, what the scorer needs to know
of them and what they have seen; the items are sent to the workers once (`item_blocks`). Only the
best scores are kept: there is no frame of users x items, nothing on the driver grows with ratings
or users, and a worker holds one bucket at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.kernels import ids
from recpipe.ranking.pairs import PackedPairs, buckets_of, packed_pairs, runs_of
from recpipe.ranking.rules import ListRules, left_out_of
from recpipe.ranking.scorer import Pairs
from recpipe.ranking.user_batch import microseconds
from recpipe.ranking.user_vectors import VECTOR_KINDS, packed_users
from recpipe.runtime.parallel import run_all
from recpipe.spark.columns import batch_of
from recpipe.spark.interactions import (
    Kinds,
    Value,
    arrays_of,
    mapped,
    packed,
    together,
    unpaired,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.ranking.item_blocks import Items
    from recpipe.ranking.user_batch import InputShape, UserInputs
    from recpipe.spark.interactions import Interactions, Mapped, Reader

LISTS = "user int, item int, rank int, score float"
"""The schema of lists."""

PREDICTIONS = "user int, item int, prediction float"
"""The schema of predictions."""

_PAIRS_AT_ONCE = 1 << 16
"""Pairs that a scorer is given at once: at rank 64 their factors take 64 MiB."""

_INSTANT_KINDS = Kinds(np.int64, np.int64)


@dataclass(frozen=True, eq=False)
class Scoring:
    """What the engine needs of a fitted model.

    Args:
        items: sends the scorers of all items to the workers; asked by every query, while the
            rest of it is planned.
        inputs: what the scorers need to know of users.
        everyone: whether users and items of whom the model knows nothing get scores as well.
        users: how many users the model knows, where it does not score everyone.
    """

    items: Callable[[], Items]
    inputs: UserInputs
    everyone: bool = False
    users: int | None = None


def top_n(
    scoring: Scoring,
    users: DataFrame | None,
    *,
    n: int,
    seen: Interactions | PackedPairs,
    instant: datetime | None = None,
    rules: ListRules | None = None,
) -> Mapped:
    """LISTS: the n best items of every user that the user has not seen.

    Order is total: score descending, then item ascending. Equal inputs give equal lists, however
    users fall into buckets and items into blocks. Write the lists within `held.narrow_rows`.

    Args:
        scoring: of the model.
        users: (user int, ...), distinct, who get a list; None: all whom the model knows. Users of
            whom it knows nothing get none unless `scoring.everyone`.
        n: how many items each user gets. Where fewer items are left the list is shorter.
        seen: (user, item) pairs to leave out; repeated pairs and unknown users and items do no
            harm.
        instant: that the lists are made for, for scorers that ask for it.
        rules: what may be in lists; None: anything.

    Raises:
        ValueError: if n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    rules = rules or ListRules()
    # `users` is a frame of unknown size: what the model knows bounds how many get a list.
    max_users = None if scoring.everyone else scoring.users
    buckets = buckets_of(seen, users=max_users)

    def frames() -> list[DataFrame]:
        known = [*rules.packed(buckets=buckets), *scoring.inputs.packed(buckets=buckets)]
        return known if users is None else [*known, packed_users(users, buckets=buckets)]

    work: list[Callable[[], Any]] = [
        scoring.items,
        lambda: rules.with_blocked(packed_pairs(seen, users=max_users).rows, buckets=buckets),
        frames,
    ]
    items, seen_pairs, known = run_all(work)
    lists = partial(
        _lists,
        items=items,
        shape=scoring.inputs.shape,
        wanted=_Wanted(
            n=n,
            asked=users is not None,
            everyone=scoring.everyone,
            instant=None if instant is None else microseconds(instant),
            restricted=rules.only is not None,
            never=rules.never,
        ),
    )
    return mapped(together([seen_pairs, *known], buckets=buckets), lists, LISTS)


@dataclass(frozen=True)
class _Wanted:
    """What is asked of each task.

    Args:
        n: places of a list.
        asked: whether the users who get one come with the batches; else all whom the model knows.
        everyone: whether users of whom the model knows nothing get one as well.
        instant: that lists are made for.
        restricted: whether some users get some items alone, which come with the batches.
        never: items that are in no list.
    """

    n: int
    asked: bool
    everyone: bool
    instant: int | None
    restricted: bool
    never: NDArray[np.int32]


def _lists(
    batches: Iterator[pa.RecordBatch],
    *,
    items: Items,
    shape: InputShape,
    wanted: _Wanted,
) -> Iterator[pa.RecordBatch]:
    """The lists of the users of one bucket."""
    readers: list[Reader] = [runs_of, *([runs_of] if wanted.restricted else []), *shape.readers()]
    readers += [VECTOR_KINDS] if wanted.asked else []
    seen, *arrays = arrays_of(batches, readers)
    only = arrays.pop(0) if wanted.restricted else None
    users = ids.distinct(arrays.pop().keys) if wanted.asked else shape.known_users(arrays)
    batch = shape.batch(users, arrays, instant=wanted.instant)
    if wanted.asked and not wanted.everyone:
        batch = batch.where(batch.known)
    if not len(batch.users):
        return
    from recpipe.kernels import topn as kernel

    left_out = left_out_of(batch.users, seen, only, wanted.never)
    top = kernel.Top.empty(len(batch.users), min(wanted.n, items.count))
    for scorer in items.scorers():
        scorer.update_top(batch, left_out, top)
    row, listed, scores = top.filled()
    shown = scorer.shown(scores)
    if shown is not scores:
        # What people see may tie where the scores did not: order such items by number.
        order = np.lexsort((listed, -shown, row))
        listed, shown = listed[order], shown[order]
    starts = np.cumsum(top.sizes) - top.sizes
    ranks = np.arange(1, len(row) + 1) - np.repeat(starts, top.sizes)
    yield batch_of(LISTS, batch.users[row], listed, ranks.astype(np.int32), shown)


def predict(scoring: Scoring, pairs: Interactions | PackedPairs) -> Mapped:
    """PREDICTIONS: a row for each pair whose user and item the model knows, or for each pair.

    A prediction depends on nothing but the pair and, if the model asks for it, its instant. A pair
    that is asked for twice is predicted twice.

    Args:
        scoring: of a model that predicts ratings.
        pairs: (user int, item int, ...), with rated_at where the model asks for instants.
    """
    buckets = buckets_of(pairs)
    instants = scoring.inputs.instants
    if instants:
        # Pairs that are packed have left their instants behind.
        source = pairs.source if isinstance(pairs, PackedPairs) else pairs
        asked = packed(source, buckets=buckets, value=Value("rated_at", "micros"))
    else:
        asked = packed_pairs(pairs).rows
    frames = [asked, *scoring.inputs.packed(buckets=buckets)]
    predicted = partial(
        _predicted,
        items=scoring.items(),
        shape=scoring.inputs.shape,
        everyone=scoring.everyone,
        instants=instants,
    )
    return mapped(together(frames, buckets=buckets), predicted, PREDICTIONS)


def _predicted(
    batches: Iterator[pa.RecordBatch],
    *,
    items: Items,
    shape: InputShape,
    everyone: bool,
    instants: bool,
) -> Iterator[pa.RecordBatch]:
    """The predictions of one bucket."""
    first = _INSTANT_KINDS if instants else runs_of
    pairs, *arrays = arrays_of(batches, [first, *shape.readers()])
    at: NDArray[np.int64] | None = None
    if instants:
        (asked, wanted), at = unpaired(pairs.keys), pairs.values
    else:
        asked, wanted = np.repeat(pairs.users, pairs.sizes), pairs.items.astype(np.int32)
    if not len(asked):
        return
    batch = shape.batch(ids.distinct(asked), arrays, instant=None)
    rows = ids.positions(batch.users, asked)
    scores = np.full(len(asked), np.nan)
    unknown = np.ones(len(asked), bool)
    for scorer in items.scorers():
        columns = ids.positions(scorer.items, wanted)
        for some in _pieces(np.flatnonzero(columns >= 0)):
            scores[some] = scorer.score(batch, _of(rows, columns, at, some))
        unknown &= columns < 0
    # Every scorer says the same of an item that the model does not know: the last one is asked.
    columns = np.full(len(asked), -1, np.int32)
    for some in _pieces(np.flatnonzero(unknown)) if everyone else ():
        scores[some] = scorer.score(batch, _of(rows, columns, at, some))
    kept = ~np.isnan(scores)
    if not everyone:
        kept &= batch.known[rows]
    ratings = scorer.ratings(scores[kept]).astype(np.float32)
    yield batch_of(PREDICTIONS, asked[kept], wanted[kept], ratings)


def _pieces(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(places), _PAIRS_AT_ONCE):
        yield places[start : start + _PAIRS_AT_ONCE]


def _of(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    instants: NDArray[np.int64] | None,
    some: NDArray[np.int64],
) -> Pairs:
    return Pairs(rows[some], columns[some], None if instants is None else instants[some])


def no_predictions(spark: SparkSession) -> Mapped:
    """PREDICTIONS of a model that predicts no ratings: no row."""
    return mapped(spark.range(0, 0, 1, 1), _nothing, PREDICTIONS)


def _nothing(_batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return iter(())


__all__ = ["LISTS", "PREDICTIONS", "Scoring", "no_predictions", "predict", "top_n"]
