"""How close predicted ratings are to the held-out ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recpipe.errors import ContractError
from recpipe.evaluation.metrics import RATING
from recpipe.evaluation.metrics.base import UserErrors
from recpipe.evaluation.packing import PairSource, bucketed
from recpipe.evaluation.rows import COMMON, MetricRow, Sample, rounded
from recpipe.evaluation.subgroups import in_groups, subgroup_rows
from recpipe.kernels import groups as grouping
from recpipe.kernels import rating as kernel
from recpipe.kernels.moments import SUMS, moments_of
from recpipe.spark.columns import arrow_row
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import Kinds, Value, arrays_of, unpaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Row

    from recpipe.evaluation.metrics.base import RatingMetric
    from recpipe.evaluation.subgroups import Groups, Subgroups
    from recpipe.kernels.groups import GroupSums
    from recpipe.kernels.rating import Compared, ErrorSums
    from recpipe.spark.interactions import Interactions

_FAULTS = {
    kernel.STRAY: "a pair that is not held out",
    kernel.REPEATED: "a pair more than once",
    kernel.INFINITE: "a number that is not finite",
}

_COMPARED = (
    "groups binary, sums binary, repeated long, infinite long, faults binary, worst binary,"
    " moments binary"
)
"""Of one bucket. `sums` is (2, T, M, G): over a model's own and over common pairs, by `_terms`.
`moments` is (M, SUMS, cells): of `kernels.moments`, by `Groups.cells_of_errors`; empty where no
subgroups are wanted."""

_OWN, _SHARED = 0, 1
"""Places in `sums`: over the pairs that a model predicts, and over those that all predict."""


def rating_metrics(
    predictions: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    split: str,
    fold: int | None = None,
    users: int | None = None,
    metrics: Sequence[RatingMetric] = RATING,
    subgroups: Subgroups | None = None,
) -> list[MetricRow]:
    """Every rating metric of every model: one query, one pass over the pairs.

    Each model is evaluated twice: over the pairs that it predicts, and (split `<split>_common`)
    over those that all of them predict. A model that predicts no pair at all is taken for one that
    does not predict ratings: it gets no row and does not empty the common set. Errors over no pair
    have no value, hence no row.

    Args:
        predictions: by model, (user, item, prediction, ...): one row a predicted pair.
        held_out: (user, item, rating, ...), one row a pair.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.
        users: how many there are in `held_out` at most, where that is known.
        metrics: those that are wanted.
        subgroups: is told the errors of each model, over the pairs that it predicts, by groups of
            users and of items.

    Returns:
        Rows in the order of `predictions` and metrics, those over common pairs after the others.

    Raises:
        ContractError: if a model predicts a pair twice, a pair that is not held out or a number
            that is not finite; or if the held-out pairs repeat or have such a rating.
    """
    models = list(predictions)
    if not models:
        return []
    found = _compared(predictions, held_out, metrics=metrics, users=users, subgroups=subgroups)
    _refuse_faults(found, models, split=split)
    if found.by_group is None:
        return []
    predicts = found.by_group.sums[_OWN, 0].any(axis=-1)
    if not predicts.all():
        rest = {m: predictions[m] for m, some in zip(models, predicts, strict=True) if some}
        return rating_metrics(
            rest,
            held_out,
            split=split,
            fold=fold,
            users=users,
            metrics=metrics,
            subgroups=subgroups,
        )
    if subgroups is not None:
        cells = subgroups.groups.cells_of_errors()
        moments = found.moments.reshape(len(models), SUMS, len(cells))
        for model, sums in zip(models, moments, strict=True):
            subgroups.tell(subgroup_rows(sums, cells, model=model, split=split))
    own: list[MetricRow] = []
    common: list[MetricRow] = []
    for place, model in enumerate(models):
        row = MetricRow(model, "", None, 0.0, users=0, rows=0, split=split, fold=fold)
        own += _rows(found.by_group, metrics, place, _OWN, row)
        row = replace(row, split=split + COMMON)
        common += _rows(found.by_group, metrics, place, _SHARED, row)
    return own + common


class _Found(NamedTuple):
    """What all users come to.

    Args:
        by_group: (2, T, M, G), T as `_terms` has them; None where nothing is held out.
        repeated: of `kernels.rating.Compared`, like the rest.
        infinite: likewise.
        faults: likewise.
        worst: likewise.
        moments: as _COMPARED has them, end to end.
    """

    by_group: GroupSums | None
    repeated: int
    infinite: int
    faults: NDArray[np.int64]
    worst: NDArray[np.int64]
    moments: NDArray[np.float64]


def _rows(
    by_group: GroupSums,
    metrics: Sequence[RatingMetric],
    place: int,
    pairs: int,
    row: MetricRow,
) -> Iterator[MetricRow]:
    """The metrics of the model at `place` over its own or common pairs.

    Args:
        by_group: of `_Found`.
        metrics: those that are wanted.
        place: of the model.
        pairs: _OWN or _SHARED.
        row: with all but the metric and what it comes to.
    """
    predicted, reached, *terms = by_group.sums[pairs, :, place]
    row = replace(row, users=int(reached.sum()), rows=int(predicted.sum()))
    waiting = iter(terms)
    for metric in metrics:
        sums = np.array([next(waiting) for _ in range(_width(metric))])
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(metric.value(sums.sum(axis=-1)))
        if np.isfinite(value):
            sample = Sample(by_group._replace(sums=sums), metric.value)
            yield replace(row, metric=metric.name, value=rounded(value), sample=sample)


def _width(metric: RatingMetric) -> int:
    """How many sums a metric is made of."""
    none = np.zeros((1, 1))
    return len(metric.terms(UserErrors(none[0], *[none] * (len(UserErrors._fields) - 1))))


def _refuse_faults(found: _Found, models: Sequence[str], *, split: str) -> None:
    if found.repeated:
        raise ContractError(f"{split}: a held-out pair has more than one row")
    if found.infinite:
        raise ContractError(f"{split}: a held-out rating is not finite")
    for model, faults, worst in zip(models, found.faults, found.worst, strict=True):
        if faults:
            raise ContractError(
                f"model {model}: {faults} predictions on {split} are wrong: it predicts"
                f" {_FAULTS[int(worst)]}"
            )


def _compared(
    predictions: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    metrics: Sequence[RatingMetric],
    users: int | None,
    subgroups: Subgroups | None,
) -> _Found:
    predicted = [
        PairSource(rows, Value("prediction", "float", missing="skip"))
        for rows in predictions.values()
    ]
    in_groups_of = [] if subgroups is None else [PairSource(subgroups.users)]
    sources = [PairSource(held_out, Value("rating", "float")), *predicted, *in_groups_of]
    together = bucketed(sources, users=users)
    each = users is not None and users <= grouping.EACH
    compare = partial(
        _compare,
        models=len(predicted),
        metrics=tuple(metrics),
        each=each,
        subgroups=None if subgroups is None else subgroups.groups,
    )
    with narrow_rows(together.sparkSession):
        # In the order of the partitions, so that sums are always the same.
        rows = together.mapInArrow(compare, _COMPARED).collect()
    read = [_read(row, models=len(predicted), each=each) for row in rows if row["groups"]]
    none = np.zeros(len(predicted), np.int64)
    return _Found(
        grouping.added(read) if read else None,
        repeated=sum(row["repeated"] for row in rows),
        infinite=sum(row["infinite"] for row in rows),
        faults=np.sum([none, *(np.frombuffer(row["faults"], np.int64) for row in rows)], axis=0),
        worst=np.max([none, *(np.frombuffer(row["worst"], np.int64) for row in rows)], axis=0),
        moments=np.sum([np.frombuffer(row["moments"]) for row in rows], axis=0),
    )


def _compare(
    batches: Iterator[pa.RecordBatch],
    *,
    models: int,
    metrics: Sequence[RatingMetric],
    each: bool,
    subgroups: Groups | None,
) -> Iterator[pa.RecordBatch]:
    """In a task: one row of _COMPARED."""
    held, *predicted, of_groups = arrays_of(batches, [Kinds(np.int64, np.float32)] * (2 + models))
    found = kernel.compare(kernel.Rated(*held), [kernel.Rated(*rows) for rows in predicted])
    values = np.stack([_terms(found.pairs, sums, metrics) for sums in (found.own, found.common)])
    users = grouping.groups_of(found.users, each=each)
    groups, sums, _ = grouping.by_group(users, values, each=each)
    told = np.empty(0) if subgroups is None else _moments(found, of_groups.keys, subgroups)
    faults = found.faults, found.worst
    yield arrow_row(_COMPARED, groups, sums, found.repeated, found.infinite, *faults, told)


def _moments(found: Compared, users: NDArray[np.int64], groups: Groups) -> NDArray[np.float64]:
    """`moments` of _COMPARED.

    Args:
        found: errors of pairs.
        users: pairs of `groups_of_users`.
        groups: of items.
    """
    of_pair, items = unpaired(found.held)
    of_users = in_groups(found.users, users)[:, np.searchsorted(found.users, of_pair)]
    both = np.concatenate([of_users, groups.items[:, items]])
    return np.stack(
        [
            moments_of(np.stack([error * error, np.abs(error)]), of_pair, both).reshape(SUMS, -1)
            for error in found.errors
        ]
    )


def _terms(
    pairs: NDArray[np.float64], sums: ErrorSums, metrics: Sequence[RatingMetric]
) -> NDArray[np.float64]:
    """(T, M, U): predicted pairs, whether there are any, and the terms of each metric."""
    errors = UserErrors(pairs, *sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = [term for metric in metrics for term in metric.terms(errors)]
    shape = errors.predicted.shape
    return np.stack(
        [np.broadcast_to(term, shape) for term in (sums.predicted, sums.predicted > 0, *terms)]
    )


def _read(row: Row, *, models: int, each: bool) -> GroupSums:
    groups = np.frombuffer(row["groups"], np.int64)
    sums = np.frombuffer(row["sums"], np.float64)
    return grouping.GroupSums(groups, sums.reshape(2, -1, models, len(groups)), each)
