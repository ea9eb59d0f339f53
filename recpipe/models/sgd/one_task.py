"""A single block: the whole fit is one task, and no factor travels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql import functions as F

from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.sgd.algorithm import Epoch, FitProgress, train_in_process
from recpipe.models.sgd.exchange import FACTORS, Trained
from recpipe.models.sgd.packing import cells_of, released_on_failure
from recpipe.spark.columns import arrow_row
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.models.sgd.algorithm import Plan
    from recpipe.spark.columns import Batches
    from recpipe.storage import Folder

# The side of the row that brings the learning curve back, as JSON.
_CURVE = -1


@dataclass(frozen=True)
class OneTask:
    """The whole fit in one task; see the module."""

    name: ClassVar[str] = "one_task"

    def train(self, cells: DataFrame, plan: Plan, *, scratch: Folder) -> Trained:
        """See `Exchange`; a task that is lost begins again, and ends in the same bits."""
        del scratch
        factors = cached(cells.mapInArrow(partial(_train_block, plan=plan), FACTORS))
        with released_on_failure(factors):
            curve = factors.where(F.col("side") == _CURVE).select("data").collect()[0][0]
            progress = FitProgress.from_curve(plan, [Epoch(**point) for point in json.loads(curve)])
            progress.check()
        return Trained(factors, progress)


def _train_block(batches: Batches, *, plan: Plan) -> Batches:
    cells = {}
    for batch in batches:
        cells.update(cells_of(batch))
    if not cells:
        return
    users, items, progress = train_in_process(plan, cells)
    for side, blocks in ((USERS, users), (ITEMS, items)):
        for number, block in blocks.items():
            yield arrow_row(FACTORS, 0, side, number, 0.0, block)
    yield arrow_row(FACTORS, 0, _CURVE, 0, 0.0, json.dumps(progress.report()).encode())
