"""How close predicted ratings are to the held-out ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import ContractError
from recpipe.evaluation.metrics import RATING
from recpipe.evaluation.metrics.base import PairSums
from recpipe.evaluation.packing import PairSource, bucketed
from recpipe.evaluation.rows import COMMON, MetricRow, rounded
from recpipe.kernels import rating as kernel
from recpipe.kernels.rating import Compared
from recpipe.spark.columns import arrow_row
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import Kinds, Value, arrays_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Row

    from recpipe.evaluation.metrics.base import RatingMetric
    from recpipe.kernels.rating import Terms
    from recpipe.spark.interactions import Interactions

_FAULTS = {
    kernel.STRAY: "a pair that is not held out",
    kernel.REPEATED: "a pair more than once",
    kernel.INFINITE: "a number that is not finite",
}

_COMPARED = ", ".join(f"{name} binary" for name in Compared._fields)


def rating_metrics(
    predictions: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    split: str,
    fold: int | None = None,
    users: int | None = None,
    metrics: Sequence[RatingMetric] = RATING,
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

    Returns:
        Rows in the order of `predictions` and metrics, those over common pairs after the others.

    Raises:
        ContractError: if a model predicts a pair twice, a pair that is not held out or a number
            that is not finite; or if the held-out pairs repeat or have such a rating.
    """
    models = list(predictions)
    if not models:
        return []
    total = _compared(predictions, held_out, metrics=metrics, users=users)
    if total is None:
        return []
    if total.repeated[0]:
        raise ContractError(f"{split}: a held-out pair has more than one row")
    for model, faults, worst in zip(models, total.faults, total.worst, strict=True):
        if faults:
            raise ContractError(
                f"model {model}: {faults} predictions on {split} are wrong: it predicts"
                f" {_FAULTS[int(worst)]}"
            )
    if not len(total.masks):
        return []
    # Every mask is a part of this one, so the pairs that all models predict are one group.
    shared = total.masks == np.bitwise_or.reduce(total.masks)
    own: list[MetricRow] = []
    common: list[MetricRow] = []
    for place, model in enumerate(models):
        predicted = total.masks >> place & 1 > 0
        if predicted.any():
            row = MetricRow(model, "", None, 0.0, users=0, rows=0, split=split, fold=fold)
            row = replace(row, users=int(total.reached[place]))
            own += _rows(total, predicted, place, row, metrics)
            row = replace(row, users=int(total.users[shared].sum()), split=split + COMMON)
            common += _rows(total, shared, place, row, metrics)
    return own + common


def _terms(metrics: Sequence[RatingMetric]) -> list[Terms]:
    return [metric.terms for metric in metrics if metric.terms is not None]


def _compared(
    predictions: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    metrics: Sequence[RatingMetric],
    users: int | None,
) -> Compared | None:
    predicted = [
        PairSource(rows, Value("prediction", "float", missing="skip"))
        for rows in predictions.values()
    ]
    together = bucketed([PairSource(held_out, Value("rating", "float")), *predicted], users=users)
    terms = _terms(metrics)
    compare = partial(_compare, models=len(predicted), terms=terms)
    with narrow_rows(together.sparkSession):
        # In the order of the partitions, so that sums are always the same.
        rows = together.mapInArrow(compare, _COMPARED).collect()
    read = [_read(row, models=len(predicted), terms=len(terms)) for row in rows]
    return kernel.added(read) if read else None


def _compare(
    batches: Iterator[pa.RecordBatch], *, models: int, terms: Sequence[Terms]
) -> Iterator[pa.RecordBatch]:
    """In a task: one row of _COMPARED."""
    held, *predicted = arrays_of(batches, [Kinds(np.int64, np.float32)] * (1 + models))
    found = kernel.compare(
        kernel.Rated(*held), [kernel.Rated(*rows) for rows in predicted], terms=terms
    )
    yield arrow_row(_COMPARED, *found)


def _read(row: Row, *, models: int, terms: int) -> Compared:
    arrays: dict[str, NDArray[Any]] = {
        name: np.frombuffer(row[name], np.float64 if name == "sums" else np.int64)
        for name in Compared._fields
    }
    groups = len(arrays["masks"])
    return Compared(**arrays | {"sums": arrays["sums"].reshape(groups, models, terms)})


def _rows(
    total: Compared,
    groups: NDArray[np.bool_],
    place: int,
    row: MetricRow,
    metrics: Sequence[RatingMetric],
) -> list[MetricRow]:
    """The metrics of the model at `place` over the pairs of `groups`; `row` has all but them."""
    pairs, predicted = int(total.pairs.sum()), int(total.pairs[groups].sum())
    of_model = total.sums[groups, place].T
    sums = iter([float(terms.copy().sum()) for terms in of_model])
    values: dict[str, float | None] = {}
    for metric in metrics:
        of_terms = 0.0 if metric.terms is None else next(sums)
        try:
            values[metric.name] = metric.of(PairSums(of_terms, predicted, pairs))
        except ValueError as error:
            raise ContractError(f"{row.split}: a held-out rating is not finite") from error
    return [
        replace(row, metric=name, value=rounded(value), rows=predicted)
        for name, value in values.items()
        if value is not None
    ]
