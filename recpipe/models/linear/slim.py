"""SLIM: sparse item-item weights, an elastic net for each item (Ning and Karypis 2011).

X has a row a user and a column an item. Column w of the weights W, that of item j, minimises

    1/2 |x_j - X w|^2 + l2 / 2 |w|^2 + l1 |w|_1   with   w_j = 0   and   w >= 0,

the last only where `positive` is set. The score of item j for a user is the sum of x_i W_ij over
the items i of the user's history: a user who was not there at the fit is scored as well, from a
history alone. With l1 = 0 and weights of both signs this is the regression of EASE.

All columns need of X is its Gram matrix, a sum over blocks of users. It is sent to the workers, and
every task solves some columns (`kernels/elastic_net.py`). Where `nearest` is set only so many items
may have a weight for another, those of the largest cosine with it: fsSLIM.

References:
    Xia Ning, George Karypis. SLIM: Sparse Linear Methods for Top-N Recommender Systems. ICDM 2011.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pyspark.sql import functions as F

from recpipe.errors import nothing_to_fit
from recpipe.models.linear.dealing import dealt
from recpipe.models.linear.gram import check_room, gram_matrix, mirror, sizes_of
from recpipe.models.neighbours.entries import Liking
from recpipe.models.neighbours.model import NeighbourModel
from recpipe.models.neighbours.scorer import ITEMS
from recpipe.spark.columns import arrow_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.kernels.elastic_net import Net
    from recpipe.models.data import TrainingData
    from recpipe.models.linear.settings import SlimSettings
    from recpipe.sections import Section
    from recpipe.storage import Folder

logger = logging.getLogger(__name__)

_ITEMS, _HISTORIES, _SOLVED = "items", "histories", "solved"

_COLUMNS = f"{ITEMS}, finished boolean"
"""`ITEMS`, and whether the weights of the item were settled within `max_sweeps`."""


class _Sent(NamedTuple):
    """What all tasks are sent.

    Args:
        items: (n,) ascending: the item of each row and column of `gram`.
        gram: (n, n) X'X.
    """

    items: NDArray[np.int32]
    gram: NDArray[np.float64]


@dataclass(frozen=True)
class Slim:
    """SLIM with its settings.

    Args:
        settings: `slim`.
    """

    settings: SlimSettings

    name: ClassVar[str] = "slim"

    def fit(self, data: TrainingData, *, scratch: Folder, seed: int) -> NeighbourModel:
        """See `Model.fit`; nothing is random. A user without a liking gets no list.

        The driver and every Python worker hold the matrix of items, 8 bytes for each pair of them.
        Time grows with the sum over users of the square of their items, and for each item with the
        number of items times those that get a weight for it.

        Raises:
            FitError: if there is nothing to fit.
            MissingError: if the matrix of items is above `slim.max_matrix_mb`.
        """
        del seed
        own = self.settings
        scratch.write_table(_HISTORIES, self.histories(data))
        histories = scratch.stored(_HISTORIES)
        rows = histories.frame
        items, _ = sizes_of(rows, "item")
        users, pairs = sizes_of(rows, "user")
        if not len(items):
            raise nothing_to_fit(self.name)
        check_room(
            len(items),
            len(items),
            what=f"the matrix of {len(items)} items",
            limit_mb=own.max_matrix_mb,
            model=self.name,
        )
        gram = gram_matrix(rows, items, users=len(users), pairs=pairs)
        mirror(gram)
        details = self._solve(_Sent(items, gram), scratch)
        return NeighbourModel(
            name=self.name,
            refit_config=self,
            table=scratch.stored(_ITEMS),
            histories=histories,
            means=None,
            items=len(items),
            users=len(users),
            links=details["weights"],
            liking=Liking(None, binary=False),
            prediction=None,
            details=details,
        )

    def _solve(self, given: _Sent, scratch: Folder) -> Mapping[str, int]:
        """Write the table of items; returns how many weights and unfinished items it has."""
        spark = scratch.spark
        sent = spark.sparkContext.broadcast(given)
        work = partial(_solved, sent=sent, net=self._net())
        scratch.write_table(_SOLVED, dealt(spark, len(given.items), work, _COLUMNS))
        sent.destroy()
        solved = scratch.stored(_SOLVED).frame
        weights, unfinished = solved.agg(
            F.sum(F.length("numbers") / np.dtype(np.float32).itemsize).cast("long"),
            F.count_if(~F.col("finished")),
        ).collect()[0]
        if unfinished:
            logger.warning(
                "slim: after slim.max_sweeps = %d sweeps the weights of %d of %d items still"
                " change by more than slim.tolerance",
                self.settings.max_sweeps, unfinished, len(given.items),
            )  # fmt: skip
        scratch.write_table(_ITEMS, solved.drop("finished"))
        return {"weights": weights, "unfinished": unfinished}

    def _net(self) -> Net:
        from recpipe.kernels.elastic_net import Net

        own = self.settings
        return Net(own.l1, own.l2, own.positive, own.nearest, own.max_sweeps, own.tolerance)

    def histories(self, data: TrainingData) -> DataFrame:
        """The matrix X, as (user int, item int, value float)."""
        own = self.settings
        return data.user_item_matrix(own.values, own.preference_from)

    def sections(self) -> Mapping[str, Section]:
        return {"slim": self.settings}


def _solved(own: range, *, sent: Broadcast[_Sent], net: Net) -> pa.RecordBatch:
    """In a task: _COLUMNS of some items."""
    from recpipe.kernels.elastic_net import solve_column

    items, gram = sent.value
    found = [solve_column(gram, column, net) for column in own]
    return arrow_rows(
        _COLUMNS,
        np.cumsum([len(each.rows) for each in found]),
        items[own],
        items[np.concatenate([each.rows for each in found])],
        np.concatenate([each.weights for each in found]).astype(np.float32),
        # Of ratings, which are not predicted.
        np.zeros(len(own)),
        np.array([each.finished for each in found]),
    )


__all__ = ["Slim"]
