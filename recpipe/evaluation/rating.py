"""How close predicted ratings are to the held-out ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import ContractError
from recpipe.evaluation.packing import Source, bucketed
from recpipe.evaluation.rows import COMMON, MetricRow, settled
from recpipe.kernels import rating as kernel
from recpipe.kernels.rating import Compared
from recpipe.spark.columns import arrow_row
from recpipe.spark.held import narrow_rows
from recpipe.spark.interactions import Kinds, Value, arrays_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Row

    from recpipe.spark.interactions import Interactions

_FAULTS = {
    kernel.STRAY: "a pair that is not held out",
    kernel.REPEATED: "a pair more than once",
    kernel.INFINITE: "a number that is not finite",
}

_COMPARED = ", ".join(f"{name} binary" for name in Compared._fields)
_SUMS = ("squared", "absolute")


def rating_metrics(
    predictions: Mapping[str, Interactions],
    held_out: Interactions,
    *,
    split: str,
    fold: int | None = None,
    users: int | None = None,
) -> list[MetricRow]:
    """RMSE, MAE and prediction coverage of every model: one query, one pass over the pairs.

    Each model is judged twice: over the pairs that it predicts, and (split `<split>_common`) over
    those that all of them predict. A model that predicts no pair at all is taken for one that
    does not predict ratings: it gets no row and does not empty the common set. RMSE and MAE over
    no pair have no value, hence no row.

    Args:
        predictions: by model, (user, item, prediction, ...): one row a predicted pair.
        held_out: (user, item, rating, ...), one row a pair.
        split: name of the part, for the rows.
        fold: of k-fold, for the rows.
        users: how many there are in `held_out` at most, where that is known.

    Raises:
        ContractError: if a model predicts a pair twice, a pair that is not held out or a number
            that is not finite; or if the held-out pairs repeat or have such a rating.
    """
    models = list(predictions)
    if not models:
        return []
    total = _compared(predictions, held_out, users=users)
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
            users_reached = int(total.reached[place])
            row = MetricRow(
                model, "", None, 0.0, users=users_reached, rows=0, split=split, fold=fold
            )
            own += _rows(total, predicted, place, row)
            row = replace(row, users=int(total.users[shared].sum()), split=split + COMMON)
            common += _rows(total, shared, place, row)
    return own + common


def _compared(
    predictions: Mapping[str, Interactions], held_out: Interactions, *, users: int | None
) -> Compared | None:
    predicted = [
        Source(rows, Value("prediction", "float", missing="skip")) for rows in predictions.values()
    ]
    together = bucketed([Source(held_out, Value("rating", "float")), *predicted], users=users)
    compare = partial(_compare, models=len(predicted))
    with narrow_rows(together.sparkSession):
        # In the order of the partitions, so that sums are always the same.
        rows = together.mapInArrow(compare, _COMPARED).collect()
    return kernel.added([_read(row, models=len(predicted)) for row in rows]) if rows else None


def _compare(batches: Iterator[pa.RecordBatch], *, models: int) -> Iterator[pa.RecordBatch]:
    """One row of _COMPARED."""
    held, *predicted = arrays_of(batches, [Kinds(np.int64, np.float32)] * (1 + models))
    found = kernel.compare(kernel.Rated(*held), [kernel.Rated(*rows) for rows in predicted])
    yield arrow_row(_COMPARED, *found)


def _read(row: Row, *, models: int) -> Compared:
    arrays: dict[str, NDArray[Any]] = {
        name: np.frombuffer(row[name], np.float64 if name in _SUMS else np.int64)
        for name in Compared._fields
    }
    return Compared(**arrays | {name: arrays[name].reshape(-1, models) for name in _SUMS})


def _rows(
    total: Compared, groups: NDArray[np.bool_], place: int, row: MetricRow
) -> list[MetricRow]:
    """The metrics of the model at `place` over the pairs of `groups`; `row` has all but them."""
    rows = int(total.pairs[groups].sum())
    values = {"prediction_coverage": rows / int(total.pairs.sum())}
    if rows:
        squared, absolute = (
            float(sums[groups, place].sum()) for sums in (total.squared, total.absolute)
        )
        values = {"rmse": sqrt(squared / rows), "mae": absolute / rows, **values}
    if not all(isfinite(value) for value in values.values()):
        raise ContractError(f"{row.split}: a held-out rating is not finite")
    return [
        replace(row, metric=metric, value=settled(value), rows=rows)
        for metric, value in values.items()
    ]
