"""How good the first k places of every user's list are.

Lists and relevant items go to their users' bucket as a few large arrays, whatever the number of
models, and one kernel gives every metric at every cut-off from them. What leaves a task is sums.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, IntegerType, StringType, StructField, StructType

from recpipe.errors import ContractError
from recpipe.evaluation.packing import Source, bucketed
from recpipe.evaluation.rows import RANKING_METRICS, MetricRow, settled
from recpipe.spark.columns import arrow_schema
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import Kinds, Value, arrays_of, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame, Row

    from recpipe.kernels.ranking import Judged
    from recpipe.spark.interactions import Interactions

_TOTALS = (
    "model int, users long, rows long, repeats long, repeats_user int, misranked long,"
    " misranked_user int, high binary, low binary"
)
"""Of one model in one bucket. `high` and `low` are sums of `kernels.ranking.totals`, as int64
arrays of metrics x ks."""


def ranking_metrics(
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
    split: str,
    fold: int | None = None,
    users: int | None = None,
) -> list[MetricRow]:
    """Every ranking metric at every k of every model: one query, one pass over the lists.

    The definitions are `rows.DEFINITIONS`: a user with relevant items and no list scores 0, a user
    without relevant items does not count, a list shorter than k still divides by k. The sums are
    exact, so values do not depend on partitions.

    Args:
        lists: by model, (user, item, rank, ...) with ranks from 1; longer lists are cut at max(ks).
        held_out: (user, item, rating, ...), one row a pair.
        ks: the places that count.
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.
        users: how many there are in `lists` and `held_out` at most, where that is known.

    Returns:
        Rows in the order of `lists`, metrics, ks; none if no user has a relevant item.

    Raises:
        ContractError: if a list has an item twice or its ranks are not 1, 2, ...
        ValueError: if a k is below 1.
    """
    judging = _judging(_totals, lists, ks)
    together = _together(lists, held_out, relevance_threshold, users=users)
    found: dict[int, list[Row]] = {}
    with narrow_rows(together.sparkSession):
        for row in together.mapInArrow(judging, _TOTALS).collect():
            found.setdefault(row["model"], []).append(row)
    rows: list[MetricRow] = []
    for place, model in enumerate(lists):
        totals = found.get(place, [])
        _refuse_faults(totals, model=model, split=split)
        rows += _rows(totals, model, ks=ks, split=split, fold=fold)
    return rows


def ranking_by_user(
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
) -> DataFrame:
    """(model, user, relevant, `precision@5`, ...): the values whose means are the metrics.

    One row a model and a user with relevant items. The arguments are those of `ranking_metrics`,
    which also checks the lists; this does not.

    Raises:
        ValueError: if a k is below 1.
    """
    judging = _judging(_by_user, lists, ks)
    together = _together(lists, held_out, relevance_threshold)
    known = [("model", StringType()), ("user", IntegerType()), ("relevant", IntegerType())]
    values = [(name, DoubleType()) for name in _names(ks)]
    schema = StructType([StructField(*field) for field in (*known, *values)])
    return together.mapInArrow(judging, schema)


def judged_users(held_out: Interactions, *, relevance_threshold: float | None) -> DataFrame:
    """(user): the users who count, distinct: those with a relevant item in `held_out`.

    Args:
        held_out: (user, item, rating, ...).
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
    """
    return frame_of(_relevant(held_out, relevance_threshold)).select("user").distinct()


def _relevant(held_out: Interactions, threshold: float | None) -> Interactions:
    if threshold is None:
        return held_out
    # Compared as floats: the float 3.3 is below the double 3.3.
    return frame_of(held_out).where(F.col("rating") >= F.lit(threshold).cast("float"))


def _together(
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    threshold: float | None,
    *,
    users: int | None = None,
) -> DataFrame:
    """The relevant pairs and the places of every list, for `_judge`."""
    # A rank that is missing is as wrong as one below 1.
    places = [Source(rows, Value("rank", "int", missing=0)) for rows in lists.values()]
    return bucketed([Source(_relevant(held_out, threshold)), *places], users=users)


def _judging(
    shape: Callable[..., Iterator[pa.RecordBatch]],
    lists: Mapping[str, Interactions],
    ks: Sequence[int],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What `mapInArrow` does with what is packed: `shape` says what becomes of what is judged."""
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be numbers from 1, not {list(ks)}")
    return partial(_judge, shape=shape, models=list(lists), ks=list(ks))


def _judge(
    batches: Iterator[pa.RecordBatch],
    *,
    shape: Callable[..., Iterator[pa.RecordBatch]],
    models: list[str],
    ks: list[int],
) -> Iterator[pa.RecordBatch]:
    from recpipe.kernels import ranking as kernel

    relevant, *lists = arrays_of(batches, [Kinds(np.int64, np.int32)] * (1 + len(models)))
    judged = kernel.judge(relevant.keys, [kernel.Places(*places) for places in lists], ks=ks)
    if len(judged.users):
        yield from shape(judged, models=models, ks=ks)


def _totals(judged: Judged, *, models: list[str], ks: list[int]) -> Iterator[pa.RecordBatch]:
    """_TOTALS, one row a model."""
    del ks
    import pyarrow as pa

    from recpipe.kernels import ranking as kernel

    rows: list[dict[str, Any]] = []
    for place in range(len(models)):
        high, low = kernel.totals(judged.values[place])
        row = {"model": place, "high": high.tobytes(), "low": low.tobytes()}
        row |= {"users": np.count_nonzero(judged.relevant), "rows": judged.relevant.sum()}
        for name, fault in (("repeats", kernel.REPEATS), ("misranked", kernel.MISRANKED)):
            users = judged.users[judged.faults[place] & fault > 0]
            row |= {name: len(users), f"{name}_user": users[0] if len(users) else None}
        rows.append(row)
    yield pa.RecordBatch.from_pylist(rows, arrow_schema(_TOTALS))


def _by_user(judged: Judged, *, models: list[str], ks: list[int]) -> Iterator[pa.RecordBatch]:
    """The columns of `ranking_by_user`."""
    import pyarrow as pa

    counted = judged.relevant > 0
    users, relevant = judged.users[counted], judged.relevant[counted]
    for place, model in enumerate(models):
        values = judged.values[place][counted]
        columns = values.transpose(0, 2, 1).reshape(len(users), -1).T
        yield pa.RecordBatch.from_arrays(
            [pa.array([model] * len(users), pa.string()), pa.array(users), pa.array(relevant)]
            + [pa.array(column) for column in columns],
            names=["model", "user", "relevant", *_names(ks)],
        )


def _names(ks: Sequence[int]) -> list[str]:
    """Of the values of a user, in the order of `ranking_by_user`."""
    return [f"{metric}@{k}" for k in ks for metric in RANKING_METRICS]


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
    totals: Sequence[Row], model: str, *, ks: Sequence[int], split: str, fold: int | None
) -> list[MetricRow]:
    from recpipe.kernels.ranking import mean

    users = sum(row["users"] for row in totals)
    if not users:
        return []
    high, low = (
        np.sum([np.frombuffer(row[part], np.int64) for row in totals], axis=0).tolist()
        for part in ("high", "low")
    )
    means = iter([settled(mean(*sums, users)) for sums in zip(high, low, strict=True)])
    rows = sum(row["rows"] for row in totals)
    return [
        MetricRow(model, metric, k, next(means), users=users, rows=rows, split=split, fold=fold)
        for metric in RANKING_METRICS
        for k in ks
    ]
