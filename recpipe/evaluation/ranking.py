"""How good the first k places of every user's list are.

Lists and relevant items go to their users' bucket as a few large arrays, whatever the number of
models. One kernel finds which places hold a relevant item, each metric makes values of that
(`metrics`), and what leaves a task is sums.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recpipe.errors import ContractError
from recpipe.evaluation.metrics import RANKING
from recpipe.evaluation.metrics.base import RankedLists
from recpipe.evaluation.packing import PairSource, bucketed
from recpipe.evaluation.rows import MetricRow, rounded
from recpipe.spark.columns import arrow_schema
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import Kinds, Value, arrays_of, frame_of, is_liked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, Row

    from recpipe.evaluation.metrics.base import RankingMetric
    from recpipe.kernels.ranking import Hits
    from recpipe.spark.interactions import Interactions

_TOTALS = (
    "model int, users long, rows long, repeats long, repeats_user int, misranked long,"
    " misranked_user int, high binary, low binary"
)
"""Of one model in one bucket. `high` and `low` are sums of `kernels.ranking.totals`, as int64
arrays of metrics x ks."""

_PLACES = 1 << 16
"""Places of lists that metrics work on at once: their arrays stay in a core's own cache."""


def ranking_metrics(
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
    split: str,
    fold: int | None = None,
    users: int | None = None,
    metrics: Sequence[RankingMetric] = RANKING,
) -> list[MetricRow]:
    """Every ranking metric at every k of every model: one query, one pass over the lists.

    A user with relevant items and no list scores 0, a user without relevant items does not count,
    a list shorter than k has no hits beyond its end. The sums are exact, so values do not depend
    on partitions.

    Args:
        lists: by model, (user, item, rank, ...) with ranks from 1; longer lists are cut at max(ks).
        held_out: (user, item, rating, ...), one row a pair.
        ks: the places that count, distinct.
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.
        users: how many there are in `lists` and `held_out` at most, where that is known.
        metrics: those that are wanted.

    Returns:
        Rows in the order of `lists`, metrics, ks; none if no user has a relevant item.

    Raises:
        ContractError: if a list has an item twice or its ranks are not 1, 2, ...
        ValueError: if a k is below 1 or repeats.
    """
    if not ks or min(ks) < 1 or len(set(ks)) != len(ks):
        raise ValueError(f"ks must be distinct numbers from 1, not {list(ks)}")
    wanted = _Wanted(tuple(metrics), tuple(ks))
    together = _together(lists, held_out, relevance_threshold, users=users)
    found: dict[int, list[Row]] = {}
    with narrow_rows(together.sparkSession):
        measure = partial(_measure, models=len(lists), wanted=wanted)
        for row in together.mapInArrow(measure, _TOTALS).collect():
            found.setdefault(row["model"], []).append(row)
    rows: list[MetricRow] = []
    for place, model in enumerate(lists):
        totals = found.get(place, [])
        _refuse_faults(totals, model=model, split=split)
        rows += _rows(totals, model, wanted, split=split, fold=fold)
    return rows


def evaluated_users(held_out: Interactions, *, relevance_threshold: float | None) -> DataFrame:
    """(user): the users who count, distinct: those with a relevant item in `held_out`.

    Args:
        held_out: (user, item, rating, ...).
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
    """
    return frame_of(_relevant(held_out, relevance_threshold)).select("user").distinct()


def _relevant(held_out: Interactions, threshold: float | None) -> Interactions:
    if threshold is None:
        # The stored table itself: tasks can then decode its files.
        return held_out
    return frame_of(held_out).where(is_liked(threshold))


class _Wanted(NamedTuple):
    """The numbers that are wanted of each model."""

    metrics: tuple[RankingMetric, ...]
    ks: tuple[int, ...]


def _together(
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    threshold: float | None,
    *,
    users: int | None = None,
) -> DataFrame:
    """The relevant pairs and the places of every list, for `_measure`."""
    # A rank that is missing is as wrong as one below 1.
    places = [PairSource(rows, Value("rank", "int", missing=0)) for rows in lists.values()]
    return bucketed([PairSource(_relevant(held_out, threshold)), *places], users=users)


def _measure(
    batches: Iterator[pa.RecordBatch], *, models: int, wanted: _Wanted
) -> Iterator[pa.RecordBatch]:
    """In a task: _TOTALS of one bucket, one row a model."""
    import pyarrow as pa

    from recpipe.kernels import ranking as kernel

    relevant, *lists = arrays_of(batches, [Kinds(np.int64, np.int32)] * (1 + models))
    places = [kernel.Places(*arrays) for arrays in lists]
    found = kernel.find_hits(relevant.keys, places, depth=max(wanted.ks))
    if not len(found.users):
        return
    rows: list[dict[str, Any]] = []
    for model in range(models):
        high, low = np.sum(
            [kernel.totals(values) for values in _values(found, model, wanted)], axis=0
        )
        row = {"model": model, "high": high.tobytes(), "low": low.tobytes()}
        row |= {"users": np.count_nonzero(found.relevant), "rows": found.relevant.sum()}
        for name, fault in (("repeats", kernel.REPEATS), ("misranked", kernel.MISRANKED)):
            users = found.users[found.faults[model] & fault > 0]
            row |= {name: len(users), f"{name}_user": users[0] if len(users) else None}
        rows.append(row)
    yield pa.RecordBatch.from_pylist(rows, arrow_schema(_TOTALS))


def _values(found: Hits, model: int, wanted: _Wanted) -> Iterator[NDArray[np.float64]]:
    """(metrics, ks, users) of one model, some users with relevant items at a time.

    Raises:
        ValueError: if a metric gives a value outside of its range.
    """
    ks, order = np.unique(np.asarray(wanted.ks, np.int64), return_inverse=True)
    step = max(1, _PLACES // len(found.hits[model]))
    for start in range(0, len(found.users), step):
        some = slice(start, start + step)
        counted = found.relevant[some] > 0
        hits = found.hits[model][:, some][:, counted].astype(np.float64)
        lists = RankedLists(hits, found.relevant[some][counted])
        values = np.empty((len(wanted.metrics), len(ks), len(lists.relevant)))
        for place, metric in enumerate(wanted.metrics):
            values[place] = metric.values(lists, ks)
            lowest, highest = metric.range
            if not ((values[place] >= lowest) & (values[place] <= highest)).all():
                raise ValueError(f"metric {metric.name}: a value is not in {metric.range}")
        yield values[:, order]


def _refuse_faults(totals: Sequence[Row], *, model: str, split: str) -> None:
    for fault, rule in {
        "repeats": "have an item more than once",
        "misranked": "have ranks other than 1, 2, ...",
    }.items():
        faults = sum(row[fault] for row in totals)
        if faults:
            user = min(row[f"{fault}_user"] for row in totals if row[fault])
            raise ContractError(
                f"model {model}: {faults} lists on {split} {rule}, such as that of user {user}"
            )


def _rows(
    totals: Sequence[Row], model: str, wanted: _Wanted, *, split: str, fold: int | None
) -> list[MetricRow]:
    from recpipe.kernels.ranking import mean

    users = sum(row["users"] for row in totals)
    if not users:
        return []
    high, low = (
        np.sum([np.frombuffer(row[part], np.int64) for row in totals], axis=0).tolist()
        for part in ("high", "low")
    )
    means = iter([rounded(mean(*sums, users)) for sums in zip(high, low, strict=True)])
    rows = sum(row["rows"] for row in totals)
    return [
        MetricRow(
            model, metric.name, k, next(means), users=users, rows=rows, split=split, fold=fold
        )
        for metric in wanted.metrics
        for k in wanted.ks
    ]
