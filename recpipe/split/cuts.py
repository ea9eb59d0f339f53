"""Where the ratings of each user are cut: a few places of each user's own order of time.

Only pairs and instants move, as arrays, and what comes back is a row a user: the ratings themselves
are neither shuffled nor sorted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.spark.columns import batch_of
from recpipe.spark.held import cached, narrow_rows
from recpipe.spark.interactions import (
    Kinds,
    Value,
    arrays_of,
    buckets_for,
    frame_of,
    packed,
    together,
    unpaired,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

    from recpipe.spark.interactions import Interactions

    Places = Callable[[int], Sequence[int | None]]


def cuts_of(
    ratings: Interactions,
    places: Places,
    *,
    cuts: int,
    until: int | None = None,
    moved: bool = False,
) -> tuple[DataFrame, int]:
    """(user, _first, _cut0, _item0, _cut1, ...), persisted, and how many users there are.

    `_first` is a user's first instant, `_cut<i>` and `_item<i>` are those of the user's row at
    place i; null where there is none.

    Args:
        ratings: (user, item, rated_at, ...); one row a pair.
        places: from the number of a user's ratings to `cuts` places, counted from 0 by instant,
            then item.
        cuts: how many places it gives.
        until: only ratings before this instant, in microseconds since 1970, are there; a user
            without one has no row. None: all are.
        moved: whether a place at the user's first instant moves to the first row of the next one;
            there is none where the user has no other.
    """
    spark = frame_of(ratings).sparkSession
    buckets = buckets_for(spark)
    pairs = packed(ratings, buckets=buckets, value=Value("rated_at", "micros"))
    met = together([pairs], buckets=buckets)
    cut = partial(_cut, places=places, cuts=cuts, until=until, moved=moved)
    found = cached(met.mapInArrow(cut, _schema(cuts)))
    try:
        with narrow_rows(spark):
            return found, found.count()
    except BaseException:
        found.unpersist()
        raise


def _schema(cuts: int) -> str:
    each = [f"_cut{i} timestamp, _item{i} int" for i in range(cuts)]
    return ", ".join(["user int, _first timestamp", *each])


def _cut(
    batches: Iterator[pa.RecordBatch],
    *,
    places: Places,
    cuts: int,
    until: int | None,
    moved: bool,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    ((pairs, time),) = arrays_of(batches, [Kinds(np.int64, np.int64)])
    if until is not None:
        pairs, time = pairs[time < until], time[time < until]
    users, items = unpaired(pairs)
    order = np.lexsort((items, time, users))
    users, items, time = users[order], items[order], time[order]
    starts = np.flatnonzero(np.diff(users, prepend=users[:1] - 1))
    counts = np.diff(starts, append=len(users))
    rows, which = np.unique(counts, return_inverse=True)
    wanted = [[-1 if p is None else p for p in places(count)] for count in rows.tolist()]
    place = np.array(wanted, np.int64).reshape(-1, cuts)[which]
    if moved and len(starts):
        at_first = time == np.repeat(time[starts], counts)
        after_first = np.add.reduceat(at_first, starts, dtype=np.int64)[:, None]
        place = np.where(place < 0, -1, np.maximum(place, after_first))
        place[place >= counts[:, None]] = -1
    at = starts[:, None] + place
    columns = [pa.array(users[starts]), _instants(time[starts])]
    for i in range(cuts):
        none = place[:, i] < 0
        columns += [_instants(time[at[:, i]], mask=none), pa.array(items[at[:, i]], mask=none)]
    yield batch_of(_schema(cuts), *columns)


def _instants(micros: NDArray[np.int64], *, mask: NDArray[np.bool_] | None = None) -> pa.Array:
    import pyarrow as pa

    return pa.array(micros, mask=mask).cast(pa.timestamp("us", "UTC"))
