"""How factors travel between the blocks: a part of its own, with the same bits from each.

An exchange runs the epochs of a plan over packed cells. It may carry the factors as it likes, as
long as every block meets its cells in the order of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from recpipe.models.sgd.algorithm import FitProgress, Plan
    from recpipe.storage import Folder

FACTORS = "place int, side int, number int, error double, data binary"
"""Blocks on their way, one a row: the user block whose task works on them next, the side, the
block's number, for a user block the squared error that its task has met in this epoch, and the
block's float32 array."""


@dataclass(frozen=True)
class Trained:
    """What an exchange hands back.

    Args:
        factors: FACTORS, the blocks of the best epoch, cached until `release`; rows of a side
            that is neither USERS nor ITEMS are the exchange's own.
        progress: the learning curve.
        seconds: how long each epoch took, where the exchange knows; for people only.
    """

    factors: DataFrame
    progress: FitProgress
    seconds: tuple[float, ...] = ()

    def release(self) -> None:
        self.factors.unpersist()


class Exchange(Protocol):
    """Runs the epochs of a plan over packed cells."""

    name: ClassVar[str]

    def train(self, cells: DataFrame, plan: Plan, *, scratch: Folder) -> Trained:
        """Fit.

        Args:
            cells: packing.CELLS, cached, partition b holding user block b.
            plan: of the fit.
            scratch: for checkpoints.

        Raises:
            FitError: if the fit diverges.
        """
        ...
