"""Two models of two runs, compared over the same users.

The users of a run may be many millions. What is made of their rows is sums: of values, over groups
of users, and digests, by which two runs tell that they speak of the same pairs and users. Rows come
as Arrow's batches, from a task of Spark or from files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.evaluation.confidence import differences
from recpipe.evaluation.rows import MetricRow, Sample, mean_of, rounded
from recpipe.kernels import groups as grouping
from recpipe.kernels.splitmix import GOLDEN, mixed
from recpipe.spark.columns import arrow_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.evaluation.confidence import Difference
    from recpipe.kernels.groups import GroupSums

PAIR_DIGESTS = "pairs long, of_pairs long, relevant long, of_relevant long"
"""How many held-out pairs, a digest of them, how many are relevant, and a digest of these."""

VALUE_SUMS = "users long, of_users long, of_relevant long, each boolean, groups binary, sums binary"
"""How many users, a digest of them, and one of how many items are relevant to each. `sums` is
(2, G): sums of values over the users of a group, then how many of them count."""

_WRAP = 1 << 64


def digest(numbers: NDArray[np.int64]) -> int:
    """64 bits of a set of numbers, whatever their order; those of parts of it add up (`joined`).

    Two sets that differ have the same digest once in 2^64.
    """
    found = mixed(numbers.astype(np.uint64) + GOLDEN).sum(dtype=np.uint64)
    return int(found.astype(np.int64))


def joined(digests: Iterable[int]) -> int:
    """The digest of a set, from those of its parts."""
    return sum(digests) % _WRAP


def pair_digests(
    batches: Iterable[pa.RecordBatch], *, threshold: float | None
) -> Iterator[pa.RecordBatch]:
    """One row of PAIR_DIGESTS.

    Args:
        batches: of held-out pairs: user int, item int, and where there is a threshold the rating.
        threshold: the lowest rating that is relevant; None: every pair is.
    """
    rows = relevant = 0
    of_pairs, of_relevant = [0], [0]
    for batch in batches:
        users, items = (batch.column(at).to_numpy().astype(np.int64) for at in (0, 1))
        pairs = users << 32 | items
        liked = pairs
        if threshold is not None:
            # Compared as floats: the float 3.3 is below the double 3.3.
            liked = pairs[batch.column(2).to_numpy() >= np.float32(threshold)]
        rows, relevant = rows + len(pairs), relevant + len(liked)
        of_pairs.append(digest(pairs))
        of_relevant.append(digest(liked))
    yield arrow_row(PAIR_DIGESTS, rows, _signed(of_pairs), relevant, _signed(of_relevant))


def value_sums(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row of VALUE_SUMS.

    Args:
        batches: of one model: user int, relevant int, and the value, null where the user does not
            count.
    """
    users = 0
    of_users, of_relevant = [0], [0]
    total = _sums(np.empty(0, np.int32), np.empty(0))
    for batch in batches:
        ids, relevant = (batch.column(at).to_numpy().astype(np.int64) for at in (0, 1))
        values = batch.column(2).to_numpy(zero_copy_only=False).astype(np.float64)
        total = _added([total, _sums(ids, values)])
        users += len(ids)
        of_users.append(digest(ids))
        of_relevant.append(digest(ids << 32 | relevant))
    digests = _signed(of_users), _signed(of_relevant)
    yield arrow_row(VALUE_SUMS, users, *digests, total.each, total.groups, total.sums)


def _signed(digests: Iterable[int]) -> int:
    """As a long has it."""
    found = joined(digests)
    return found - _WRAP if found >= _WRAP >> 1 else found


def _sums(users: NDArray[Any], values: NDArray[np.float64]) -> GroupSums:
    counts = ~np.isnan(values)
    both = np.stack([np.where(counts, values, 0.0), counts.astype(np.float64)])
    return grouping.by_group(grouping.groups_of(users, each=True), both, each=True)


def _added(parts: Iterable[GroupSums]) -> GroupSums:
    return grouping.added(grouping.in_same_groups(parts))


class UserSums(NamedTuple):
    """The values of one model, summed over users.

    Args:
        name: of the model, distinct from that of the other.
        users: how many there are.
        of_users: a digest of them.
        of_relevant: a digest of how many items are relevant to each.
        sums: (2, G) of values, and of how many users count.
    """

    name: str
    users: int
    of_users: int
    of_relevant: int
    sums: GroupSums

    @classmethod
    def of(cls, name: str, rows: Iterable[Mapping[str, Any]]) -> UserSums:
        """From rows of VALUE_SUMS, at least one."""
        rows = list(rows)
        parts = []
        for row in rows:
            groups = np.frombuffer(row["groups"], np.int64)
            sums = np.frombuffer(row["sums"], np.float64).reshape(2, -1)
            parts.append(grouping.GroupSums(groups, sums, row["each"]))
        return cls(
            name,
            sum(row["users"] for row in rows),
            joined(row["of_users"] for row in rows),
            joined(row["of_relevant"] for row in rows),
            _added(parts),
        )


def paired(
    one: UserSums, other: UserSums, *, metric: str, split: str, seed: int
) -> Difference | None:
    """By how much `one` is better than `other`, with interval and p, as `differences` has them.

    Args:
        one: a model.
        other: another, with the values of the same users.
        metric: such as `ndcg@10`.
        split: the part that they were evaluated on.
        seed: of draws and swaps.

    Returns:
        None where no user counts for one of them.

    Raises:
        ValueError: if the users are not the same.
    """
    if (one.users, one.of_users) != (other.users, other.of_users):
        raise ValueError(f"{one.name} and {other.name} have other users")
    rows = [_row(values, metric=metric, split=split) for values in (one, other)]
    if not all(row.users for row in rows):
        return None
    (found,) = differences(rows, metric=metric, split=split, seed=seed)
    return found


def _row(of: UserSums, *, metric: str, split: str) -> MetricRow:
    name, _, k = metric.partition("@")
    total, count = of.sums.sums.sum(axis=-1)
    return MetricRow(
        of.name,
        name,
        int(k) if k else None,
        rounded(float(total / count)) if count else 0.0,
        users=int(count),
        rows=0,
        split=split,
        sample=Sample(of.sums, mean_of),
    )


__all__ = [
    "PAIR_DIGESTS", "VALUE_SUMS", "UserSums", "digest", "joined", "pair_digests", "paired",
    "value_sums",
]  # fmt: skip
