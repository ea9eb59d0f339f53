"""The baseline of a rating, which is subtracted from the ratings of neighbours.

It is either the mean of the column (an item, or a user where columns are users), or that of Koren,

    mean + b_column + b_row

with regularised biases that solve the equations of `baselines.equations`, all of them together.
Where a prediction has neighbours, the bias of its row is the same in their ratings and in its own,
so it cancels, and mean + b_column alone is subtracted; where it has none, the bias of the row is
added. It is

    b_row = sum over the row of (r - mean - b_column) / (ratings of the row + regularization)

so a row that was not there at the fit has one as well.

References:
    Yehuda Koren. Factor in the Neighbors: Scalable and Accurate Collaborative Filtering. ACM
    Transactions on Knowledge Discovery from Data 4 (1), 2010, section 2.2, formula 3.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recpipe.errors import FitError
from recpipe.kernels import ids
from recpipe.models.baselines.equations import Equations, RatingsPart
from recpipe.ranking.histories import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast

    from recpipe.models.neighbours.rows import Columns, Matrix
    from recpipe.models.neighbours.scorer import Prediction


def expected(
    matrix: Matrix, columns: Columns, prediction: Prediction | None, *, model: str
) -> Columns:
    """The columns, with mean + bias in place of their means where predictions are from biases.

    The driver holds a few numbers of each column. The equations are solved within one task, or,
    where the ratings are too many for one, step by step: each step is a small job, which brings the
    driver those numbers from every part of the ratings.

    Args:
        matrix: of the ratings.
        columns: of the matrix.
        prediction: how ratings are predicted; None: they are not.
        model: for the error.

    Raises:
        FitError: if the biases cannot be found.
    """
    if prediction is None or prediction.bias_regularization is None:
        return columns
    mean = float(columns.ratings @ columns.means) / float(columns.ratings.sum())
    # The equations number columns by their places, since ids may be far apart.
    sent = matrix.parts.sparkSession.sparkContext.broadcast(columns.ids)
    equations = Equations(
        matrix.parts,
        partial(_ratings_of, columns=sent),
        parts=matrix.number,
        ratings=matrix.values,
        mean=mean,
        width=len(columns.ids),
        user_regularization=prediction.bias_regularization,
        item_regularization=prediction.bias_regularization,
    )
    try:
        biases = equations.solve().biases
    except ArithmeticError as error:
        raise FitError(f"{model}: {error}", hint=f"raise {model}.bias_regularization") from error
    finally:
        sent.destroy()
    return columns._replace(means=mean + biases)


def _ratings_of(
    batches: Iterator[pa.RecordBatch], *, columns: Broadcast[NDArray[np.int32]]
) -> Iterator[RatingsPart]:
    """In a task: the ratings of each part, with the places of columns for items."""
    for part in parts_of(batches):
        rows = part.rows
        places = ids.positions(columns.value, rows.items)
        values = rows.values.astype(np.float64)
        yield RatingsPart(part.users, rows.offsets[:-1], places, values, None)


__all__ = ["expected"]
