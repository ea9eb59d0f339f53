"""How much the lists of one cutoff are those of the cutoff before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

PERSISTENCE = 0.9
"""p of rank-biased overlap: the first ten places have 86 % of the weight."""

_OVERLAPS = "users long, rbo double, kept double"


class Stability(NamedTuple):
    """Means over the users who have a list at both cutoffs.

    Args:
        users: how many there are.
        rbo: rank-biased overlap, extrapolated from the depth of the longer list: 1 for equal lists,
            0 for lists with nothing in common (Webber, Moffat and Zobel, A similarity measure for
            indefinite rankings, 2010).
        churn: the share of the places of the longer list whose item is not in the other.
    """

    users: int
    rbo: float
    churn: float


def list_stability(before: DataFrame, after: DataFrame, *, k: int) -> Stability | None:
    """How much lists have changed from one cutoff to the next; None where nobody has both.

    What a user has rated between the two cannot be in the second list, and so counts as changed.

    Args:
        before: (user, item, rank, ...) of one model at the earlier cutoff.
        after: the same at the later one.
        k: the places that count, where a list has as many.
    """
    both = _lists(before, k, "before").join(_lists(after, k, "after"), "user")
    parts = both.select("before", "after").mapInArrow(partial(_overlaps, k=k), _OVERLAPS).collect()
    users = sum(part.users for part in parts)
    if not users:
        return None
    rbo, kept = (sum(part[name] for part in parts) / users for name in ("rbo", "kept"))
    return Stability(users, round(rbo, 12), round(1 - kept, 12))


def _lists(rows: DataFrame, k: int, name: str) -> DataFrame:
    """(user, items in their order), one row a user."""
    places = F.sort_array(F.collect_list(F.struct("rank", "item")))
    listed = rows.where(F.col("rank") <= k).groupBy("user").agg(places.alias("places"))
    return listed.select("user", F.col("places.item").alias(name))


def _overlaps(batches: Iterator[pa.RecordBatch], *, k: int) -> Iterator[pa.RecordBatch]:
    """In a task: sums over its users."""
    from recpipe.spark.columns import batch_of

    users, rbo, kept = 0, 0.0, 0.0
    for batch in batches:
        pairs = (batch.column(name).to_pylist() for name in ("before", "after"))
        for one, other in zip(*pairs, strict=True):
            shared = overlaps(one, other, k=k)
            users += 1
            rbo += extrapolated(shared)
            kept += shared[-1] / len(shared)
    yield batch_of(_OVERLAPS, [users], [rbo], [kept])


def overlaps(one: list[int], other: list[int], *, k: int) -> NDArray[np.int64]:
    """(D,) how many items the first 1, 2, ..., D places of two lists have in common.

    D is the length of the longer list, up to k: nothing is known of places that neither has.
    """
    depth = min(k, max(len(one), len(other)))
    first = dict.fromkeys(range(depth), 0)
    place_in_other = {item: place for place, item in enumerate(other[:k])}
    for place, item in enumerate(one[:k]):
        if item in place_in_other:
            first[max(place, place_in_other[item])] += 1
    return np.cumsum(list(first.values()))


def extrapolated(shared: NDArray[np.int64]) -> float:
    """Rank-biased overlap, from how many items the first d places have in common.

    A(D) p^D + (1 - p) / p * sum over d of A(d) p^d, with A(d) the share of the first d places:
    beyond the last place D lists go on agreeing as they do there.
    """
    depth = np.arange(1, len(shared) + 1)
    agreement = shared / depth
    weights = PERSISTENCE**depth
    rest = (1 - PERSISTENCE) / PERSISTENCE * (agreement * weights).sum()
    return float(agreement[-1] * weights[-1] + rest)


__all__ = ["PERSISTENCE", "Stability", "extrapolated", "list_stability", "overlaps"]
