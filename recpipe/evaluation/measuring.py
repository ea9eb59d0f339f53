"""In a task: the metrics of every list of one bucket of users, as sums for the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.evaluation.exposure import SHOWN, shown_in
from recpipe.evaluation.metrics.base import Candidates, RankedLists
from recpipe.evaluation.subgroups import in_groups
from recpipe.kernels import groups as grouping
from recpipe.kernels import ids
from recpipe.kernels.moments import SUMS, moments_of
from recpipe.ranking.pairs import runs_of
from recpipe.spark.columns import arrow_schema
from recpipe.spark.interactions import Arrays, Kinds, arrays_of, paired, pieces, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.evaluation.metrics.base import ItemFacts, RankingMetric
    from recpipe.evaluation.subgroups import Groups
    from recpipe.kernels.ranking import Hits

TOTALS = (
    "model int, users long, rows long, repeats long, repeats_user int, misranked long,"
    " misranked_user int, high binary, low binary, groups binary, sums binary, moments binary"
)
"""Of one model in one bucket, T numbers (metrics x ks) of each user. `high` and `low` are (T,) sums
of `kernels.ranking.totals`, as int64. `sums` is (2 T, G): sums over the users of a group, then how
many of them count. `moments` is (SUMS, cells): of `kernels.moments`, by `Groups.cells_of_lists`."""

OF_USERS = "model int, numbers binary, relevant binary, values binary"
"""Beside TOTALS, where the values of each user are wanted: the users' numbers, how many items are
relevant to each, and (T, U)."""

MEASURED = TOTALS + "".join(part.removeprefix("model int") for part in (SHOWN, OF_USERS))

_PLACES = 1 << 16
"""Places of lists that metrics work on at once: their arrays stay in a core's own cache."""


class Wanted(NamedTuple):
    """The numbers that are wanted of each model.

    Args:
        metrics: of each user's list.
        ks: at which each is wanted.
        facts: what is known of items.
        each: whether each user is a group (`kernels.groups`).
        of_users: whether the values of each user are wanted.
        exposure: whether it is wanted how often items are shown.
        subgroups: those for which sums are wanted.
    """

    metrics: tuple[RankingMetric, ...]
    ks: tuple[int, ...]
    facts: ItemFacts | None
    each: bool
    of_users: bool
    exposure: bool
    subgroups: Groups | None = None

    def named(self) -> Iterator[tuple[str, int]]:
        """Each number by metric and k, in their order."""
        yield from ((metric.name, k) for metric in self.metrics for k in self.ks)


def measure(
    batches: Iterator[pa.RecordBatch], *, models: int, wanted: Wanted
) -> Iterator[pa.RecordBatch]:
    """MEASURED of one bucket, one row a model.

    Args:
        batches: of the relevant pairs, of the lists of each model, of `groups_of_users` where
            subgroups are wanted, and of `seen_of_users`.
        models: how many there are.
        wanted: of each.
    """
    import pyarrow as pa

    from recpipe.kernels import ranking as kernel

    pairs = [Kinds(np.int64, np.int32)] * (1 + models + (wanted.subgroups is not None))
    held_out, *lists, seen = arrays_of(batches, [*pairs, Kinds(np.int32, np.int32)])
    places = [kernel.Places(*arrays) for arrays in lists[:models]]
    found = kernel.find_hits(held_out.keys, places, depth=max(wanted.ks))
    if not len(found.users):
        return
    evaluated = found.relevant > 0
    users, relevant = found.users[evaluated], found.relevant[evaluated]
    candidates = None
    if wanted.facts is not None:
        candidates = _candidates(found.users, held_out.keys, seen, wanted.facts)
    group = grouping.groups_of(users, each=wanted.each)
    rows: list[dict[str, Any]] = []
    of_models: list[NDArray[np.float64]] = []
    for model in range(models):
        values = np.concatenate(list(_values(found, model, wanted, candidates)), axis=-1)
        values = values.reshape(len(list(wanted.named())), len(users))
        counts = ~np.isnan(values)
        counted = np.where(counts, values, 0.0)
        high, low = kernel.totals(counted)
        groups, sums, _ = grouping.by_group(
            group, np.concatenate([counted, counts]), each=wanted.each
        )
        row: dict[str, Any] = {"model": model, "users": len(users), "rows": relevant.sum()}
        arrays: dict[str, NDArray[Any]] = {
            "high": high, "low": low, "groups": groups, "sums": sums,
        }  # fmt: skip
        if wanted.exposure:
            shown, times_shown = shown_in(found.items[model][:, evaluated], wanted.ks)
            arrays |= {"shown": shown, "times_shown": times_shown}
        if wanted.of_users:
            arrays |= {"numbers": users, "relevant": relevant, "values": values}
        row |= {name: array.tobytes() for name, array in arrays.items()}
        for name, fault in (("repeats", kernel.REPEATS), ("misranked", kernel.MISRANKED)):
            theirs = found.users[found.faults[model] & fault > 0]
            row |= {name: len(theirs), f"{name}_user": theirs[0] if len(theirs) else None}
        rows.append(row)
        of_models.append(values)
    if wanted.subgroups is not None:
        at_k = [k == wanted.subgroups.k for _, k in wanted.named()]
        by_model = [values[at_k] for values in of_models]
        moments = _moments(found, by_model, held_out.keys, lists[models].keys, wanted.subgroups)
        for row, of_model in zip(rows, moments, strict=True):
            row["moments"] = of_model.tobytes()
    yield pa.RecordBatch.from_pylist(rows, arrow_schema(MEASURED))


def _values(
    found: Hits, model: int, wanted: Wanted, candidates: Candidates | None
) -> Iterator[NDArray[np.float64]]:
    """(metrics, ks, users) of one model, some users with relevant items at a time.

    Raises:
        ValueError: if a metric gives a value outside of its range.
    """
    ks, order = np.unique(np.asarray(wanted.ks, np.int64), return_inverse=True)
    step = max(1, _PLACES // len(found.hits[model]))
    for start in range(0, len(found.users), step):
        some = slice(start, start + step)
        evaluated = found.relevant[some] > 0
        hits = found.hits[model][:, some][:, evaluated].astype(np.float64)
        items = found.items[model][:, some][:, evaluated]
        could_hold = None
        if candidates is not None:
            could_hold = Candidates(*(numbers[some][evaluated] for numbers in candidates))
        lists = RankedLists(hits, found.relevant[some][evaluated], items, wanted.facts, could_hold)
        values = np.empty((len(wanted.metrics), len(ks), len(lists.relevant)))
        for place, metric in enumerate(wanted.metrics):
            values[place] = metric.values(lists, ks)
            lowest, highest = metric.range
            within = (values[place] >= lowest) & (values[place] <= highest)
            if not (within | np.isnan(values[place])).all():
                raise ValueError(f"metric {metric.name}: a value is not in {metric.range}")
        yield values[:, order]


def _moments(
    found: Hits,
    values: Sequence[NDArray[np.float64]],
    relevant: NDArray[np.int64],
    grouped: NDArray[np.int64],
    groups: Groups,
) -> Iterator[NDArray[np.float64]]:
    """`moments` of TOTALS, of each model.

    Args:
        found: where relevant items stand.
        values: by model, (metrics, U) at the k of the groups.
        relevant: pairs.
        grouped: pairs of `groups_of_users`.
        groups: of items.
    """
    users = found.users[found.relevant > 0]
    of_users = in_groups(users, grouped)
    pairs = np.unique(relevant)
    of_pair, items = unpaired(pairs)
    of_items = groups.items[:, items]
    for mine, hits, placed in zip(values, found.hits, found.items, strict=True):
        rank, user = np.nonzero(hits[: groups.k])
        listed = paired(found.users[user], placed[rank, user])
        share = np.isin(pairs, listed).astype(np.float64)
        by_user = moments_of(mine, users, of_users).reshape(SUMS, -1)
        yield np.concatenate([by_user, moments_of(share, of_pair, of_items)], axis=1)


def _candidates(
    users: NDArray[np.int32], relevant: NDArray[np.int64], seen: Arrays, facts: ItemFacts
) -> Candidates:
    """What the lists of `users` could hold.

    Args:
        users: (U,) ascending.
        relevant: pairs, none of which the user has seen.
        seen: users, and how many items of train each has seen; more than one number may be of the
            same user.
        facts: what is known of items.
    """
    of, items = unpaired(np.unique(relevant))
    in_train = _in_train(items, facts.raters > 0)
    wanted = np.bincount(ids.positions(users, of[in_train]), minlength=len(users))
    places = ids.positions(users, seen.keys)
    there = places >= 0
    left_out = np.bincount(places[there], seen.values[there], minlength=len(users))
    reachable = wanted.astype(np.float64)
    return Candidates(reachable, facts.catalogue - left_out - reachable)


def _in_train(items: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each item is known to train; items beyond the end of `known` are not."""
    within = items < len(known)
    within[within] = known[items[within]]
    return within


def seen_of_users(
    batches: Iterator[pa.RecordBatch], *, buckets: int, known: NDArray[np.bool_]
) -> Iterator[pa.RecordBatch]:
    """`interactions.PACKED`: users, and how many items of train each has seen.

    Args:
        batches: of `ranking.pairs.PackedPairs`, in buckets of any number.
        buckets: how many there shall be.
        known: (I,) whether an item is one of train.
    """
    for batch in batches:
        keys, values = (batch.column(name).to_pylist() for name in ("keys", "values"))
        runs = runs_of(keys, values)
        ends = np.append(0, np.cumsum(_in_train(runs.items, known), dtype=np.int64))
        stops = np.cumsum(runs.sizes, dtype=np.int64)
        counts = (ends[stops] - ends[stops - runs.sizes]).astype(np.int32)
        bucket = runs.users % buckets
        order = np.argsort(bucket, kind="stable")
        numbers, starts = np.unique(bucket[order], return_index=True)
        parts = zip(numbers, np.split(order, starts[1:]), strict=True) if len(order) else ()
        # Of a key or a value as many bytes as of the other.
        yield pieces(((int(n), runs.users[some], counts[some]) for n, some in parts), width=4)


def user_values(
    batches: Iterator[pa.RecordBatch], *, models: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Of OF_USERS a row a user and model; null where a user does not count for a metric."""
    import pyarrow as pa

    for batch in batches:
        for row in batch.to_pylist():
            users, relevant = (
                np.frombuffer(row[name], np.int32) for name in ("numbers", "relevant")
            )
            values = np.frombuffer(row["values"], np.float64).reshape(len(columns), -1)
            model = pa.array([models[row["model"]]] * len(users), pa.string())
            of_metrics = [pa.array(each, from_pandas=True) for each in values]
            yield pa.RecordBatch.from_arrays(
                [model, pa.array(users), pa.array(relevant), *of_metrics],
                names=["model", "user", "relevant", *columns],
            )


__all__ = ["MEASURED", "OF_USERS", "TOTALS", "Wanted", "measure", "seen_of_users", "user_values"]
