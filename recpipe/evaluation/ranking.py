"""How good, and how various, the first k places of every user's list are.

Lists and relevant items go to their users' bucket as a few large arrays, whatever the number of
models. One kernel finds which places hold a relevant item, each metric makes values of that
(`metrics`), and what leaves a task is sums: over all users, over groups of users for intervals, and
how often each item is shown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql.types import DoubleType, IntegerType, StringType, StructField, StructType

from recpipe.errors import ContractError
from recpipe.evaluation.exposure import SHOWN, added_up, exposure_rows, fits_driver
from recpipe.evaluation.measuring import (
    MEASURED,
    OF_USERS,
    TOTALS,
    Wanted,
    measure,
    seen_of_users,
    user_values,
)
from recpipe.evaluation.metrics import EXPOSURE, RANKING
from recpipe.evaluation.metrics.base import ExposureMetric, RankingMetric
from recpipe.evaluation.packing import PairSource, bucket_count, bucketed
from recpipe.evaluation.rows import MetricRow, Sample, mean_of, rounded
from recpipe.evaluation.subgroups import subgroup_rows
from recpipe.kernels import groups as grouping
from recpipe.kernels.moments import SUMS
from recpipe.spark.columns import arrow_schema
from recpipe.spark.held import cached, narrow_rows
from recpipe.spark.interactions import PACKED, Value, frame_of, is_liked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, Row

    from recpipe.evaluation.metrics.base import ItemFacts
    from recpipe.evaluation.subgroups import Subgroups
    from recpipe.ranking.pairs import PackedPairs
    from recpipe.spark.interactions import Interactions


def ranking_metrics(  # noqa: PLR0913 - what is evaluated, on what, and what is wanted of it
    lists: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    ks: Sequence[int],
    relevance_threshold: float | None,
    split: str,
    fold: int | None = None,
    users: int | None = None,
    seen: PackedPairs | None = None,
    metrics: Sequence[RankingMetric | ExposureMetric] = (*RANKING, *EXPOSURE),
    facts: ItemFacts | None = None,
    keep: Callable[[DataFrame], object] | None = None,
    subgroups: Subgroups | None = None,
) -> list[MetricRow]:
    """Every metric of lists at every k of every model: one query, one pass over the lists.

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
        seen: the pairs that were left out of the lists, each once and none of them in `held_out`;
            None: none were.
        metrics: those that are wanted; what needs facts that are not there is left out.
        facts: what is known of items; None: nothing is.
        keep: called with the values of each user, which are there until it returns: (model, user,
            relevant, ...) with how many items are relevant to the user, and a column for each
            metric and k, such as `ndcg@10`, null where the user does not count for it.
        subgroups: is told the means over groups of users, and what lists hold of the relevant
            pairs of groups of items.

    Returns:
        Rows in the order of `lists`, metrics, ks; none if no user has a relevant item.

    Raises:
        ContractError: if a list has an item twice or its ranks are not 1, 2, ...
        ValueError: if a k is below 1 or repeats.
    """
    if not ks or min(ks) < 1 or len(set(ks)) != len(ks):
        raise ValueError(f"ks must be distinct numbers from 1, not {list(ks)}")
    known = frozenset() if facts is None else facts.known
    possible = [metric for metric in metrics if metric.needs <= known]
    exposures = [metric for metric in possible if isinstance(metric, ExposureMetric)]
    wanted = Wanted(
        tuple(metric for metric in possible if isinstance(metric, RankingMetric)),
        tuple(ks),
        facts,
        each=users is not None and users <= grouping.EACH,
        of_users=keep is not None,
        exposure=bool(exposures) and facts is not None,
        subgroups=None if subgroups is None else subgroups.groups,
    )
    relevant = relevant_pairs(held_out, relevance_threshold)
    of_groups = [] if subgroups is None else [PairSource(subgroups.users)]
    totals, shown = _totals(lists, relevant, of_groups, seen, wanted, users=users, keep=keep)
    rows: list[MetricRow] = []
    for place, model in enumerate(lists):
        of_model = [row for row in totals if row["model"] == place]
        _refuse_faults(of_model, model=model, split=split)
        evaluated = sum(row["users"] for row in of_model)
        if not evaluated:
            continue
        row = MetricRow(model, "", None, 0.0, users=evaluated, rows=0, split=split, fold=fold)
        rows += _of_users(of_model, row, wanted)
        if subgroups is not None:
            cells = subgroups.groups.cells_of_lists(list(wanted.named()))
            moments = np.sum([np.frombuffer(found["moments"]) for found in of_model], axis=0)
            sums = moments.reshape(SUMS, len(cells))
            subgroups.tell(subgroup_rows(sums, cells, model=model, split=split))
        if wanted.exposure and facts is not None:
            rows += exposure_rows(
                [found for found in shown if found["model"] == place],
                row,
                ks=ks,
                metrics=exposures,
                facts=facts,
            )
    return rows


def evaluated_users(held_out: Interactions, *, relevance_threshold: float | None) -> DataFrame:
    """(user): the users who count, distinct: those with a relevant item in `held_out`.

    Args:
        held_out: (user, item, rating, ...).
        relevance_threshold: the lowest rating that is relevant; None: every held-out item is.
    """
    return frame_of(relevant_pairs(held_out, relevance_threshold)).select("user").distinct()


def relevant_pairs(held_out: Interactions, threshold: float | None) -> Interactions:
    """The held-out rows whose items are relevant.

    Args:
        held_out: (user, item, rating, ...).
        threshold: the lowest rating that is; None: every held-out item is.
    """
    if threshold is None:
        # The stored table itself: tasks can then decode its files.
        return held_out
    return frame_of(held_out).where(is_liked(threshold))


def _totals(
    lists: Mapping[str, Interactions],
    relevant: Interactions,
    of_groups: Sequence[PairSource],
    seen: PackedPairs | None,
    wanted: Wanted,
    *,
    users: int | None,
    keep: Callable[[DataFrame], object] | None,
) -> tuple[list[Row], list[Row]]:
    """TOTALS of all buckets and models, and SHOWN of all models."""
    # A rank that is missing is as wrong as one below 1.
    places = [PairSource(rows, Value("rank", "int", missing=0)) for rows in lists.values()]
    sources = [PairSource(relevant), *places, *of_groups]
    buckets = bucket_count(sources, users=users)
    asks = any(metric.asks_candidates for metric in wanted.metrics)
    left_out = []
    if asks and seen is not None and wanted.facts is not None:
        count = partial(seen_of_users, buckets=buckets, known=wanted.facts.raters > 0)
        left_out = [seen.rows.mapInArrow(count, PACKED)]
    together = bucketed(sources, users=users, packed_already=left_out)
    facts = wanted.facts if wanted.exposure else None
    add_up = facts is not None and not fits_driver(buckets, len(lists), facts.catalogue, wanted.ks)
    measured = together.mapInArrow(partial(measure, models=len(lists), wanted=wanted), MEASURED)
    with narrow_rows(together.sparkSession):
        if keep is None and not add_up:
            totals = measured.collect()
            return totals, totals
        # What is asked twice is measured once.
        measured = cached(measured)
        try:
            both = dict.fromkeys([*_names(TOTALS), *([] if add_up else _names(SHOWN))])
            totals = shown = measured.select(*both).collect()
            if add_up:
                shown = added_up(measured.select(*_names(SHOWN)), wanted.ks).collect()
            if keep is not None:
                keep(_user_values(measured, list(lists), wanted))
        finally:
            measured.unpersist()
        return totals, shown


def _names(schema: str) -> list[str]:
    return list(arrow_schema(schema).names)


def _user_values(measured: DataFrame, models: Sequence[str], wanted: Wanted) -> DataFrame:
    """(model, user, relevant, ...): the values of each user, from what tasks made of them."""
    columns = [f"{name}@{k}" for name, k in wanted.named()]
    fields = [("model", StringType()), ("user", IntegerType()), ("relevant", IntegerType())]
    fields += [(name, DoubleType()) for name in columns]
    schema = StructType([StructField(name, kind) for name, kind in fields])
    packed = measured.select(*_names(OF_USERS))
    return packed.mapInArrow(partial(user_values, models=models, columns=columns), schema)


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


def _of_users(totals: Sequence[Row], row: MetricRow, wanted: Wanted) -> Iterator[MetricRow]:
    """The means over users of one model; `row` has all but metric, k and what they come to."""
    from recpipe.kernels.ranking import mean

    high, low = (
        np.sum([np.frombuffer(found[part], np.int64) for found in totals], axis=0).tolist()
        for part in ("high", "low")
    )
    relevant = sum(found["rows"] for found in totals)
    numbers = len(high)
    parts = [_sums(found, 2 * numbers, each=wanted.each) for found in totals if found["users"]]
    by_group = grouping.added(parts)
    summed, counted = by_group.sums[:numbers], by_group.sums[numbers:]
    for place, (name, k) in enumerate(wanted.named()):
        users = round(counted[place].sum())
        if users:
            yield replace(
                row,
                metric=name,
                k=k,
                value=rounded(mean(high[place], low[place], users)),
                users=users,
                rows=relevant,
                sample=Sample(
                    by_group._replace(sums=np.stack([summed[place], counted[place]])), mean_of
                ),
            )


def _sums(found: Row, width: int, *, each: bool) -> grouping.GroupSums:
    groups = np.frombuffer(found["groups"], np.int64)
    sums = np.frombuffer(found["sums"], np.float64).reshape(width, len(groups))
    return grouping.GroupSums(groups, sums, each)
