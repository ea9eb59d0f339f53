"""How factors get to the ratings: a part of its own, with the same bits from each.

A row is solved from its own ratings and their factors alone, and the matrix that all rows share
(implicit) is summed block by block, in order, in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from recpipe.models.als.block.packing import ITEM, NAMES, USER
from recpipe.spark.columns import arrow_row, as_array, factor_rows, factor_schema
from recpipe.spark.held import plain_plans

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.als.block.blocks import Side
    from recpipe.models.als.block.packing import Packed, Sides
    from recpipe.models.als.block.solving import Solve
    from recpipe.spark.columns import Batches

FACTORS = "block int, data binary"
SOLVED = "block int, bad int, gram binary, data binary"
"""A block's factors; `bad` is -1 or its first row that has no answer."""


class FactorExchange(Protocol):
    """Runs the iterations over packed ratings.

    Each exchange holds a side's factors in its own way: an array, a broadcast or a table.
    """

    name: ClassVar[str]

    def train(self, iterations: int) -> tuple[Any, Any]:
        """Fit: items from users, then users from items, as MLlib goes.

        Returns:
            The factors of users and of items, to be let go by `release`.

        Raises:
            FitError: if a row has no answer.
        """
        ...

    def blocks(self, side: int, held: Any) -> DataFrame:
        """FACTORS of a side, cheap to read again; until `release`."""
        ...

    def release(self, held: Any) -> None:
        """Let go of factors."""
        ...

    def close(self) -> None:
        """Let go of everything else."""
        ...


class Halves(ABC):
    """An exchange that runs each half of an iteration as jobs of its own."""

    def __init__(self, packed: Packed, plan: Solve) -> None:
        self.packed, self.plan = packed, plan
        self.spark = packed.blocks.sparkSession

    def train(self, iterations: int) -> tuple[Any, Any]:
        """See `FactorExchange`."""
        held = [self.first(USER), self.first(ITEM) if self.plan.continues else None]
        with plain_plans(self.spark):
            for _ in range(iterations):
                for side in (ITEM, USER):
                    before = held[side]
                    start = before if self.plan.continues else None
                    held[side] = self.solve(side, held[1 - side], start)
                    if before is not None:
                        self.release(before)
        return held[USER], held[ITEM]

    @abstractmethod
    def first(self, side: int) -> Any:
        """A side's factors before the first half-iteration."""

    @abstractmethod
    def solve(self, side: int, other: Any, own: Any | None) -> Any:
        """One half-iteration: a side's factors, from the other's.

        Args:
            side: USER or ITEM.
            other: the other side's factors.
            own: the side's factors as they stand; None where the solver does not ask.

        Raises:
            FitError: if a row has no answer.
        """

    @abstractmethod
    def release(self, held: Any) -> None:
        """Let go of factors."""


def grams(rows: pa.Table, width: int) -> list[NDArray[np.float64]]:
    """The sums of products of SOLVED, in its order."""
    return [as_array(value, np.float64).reshape(width, width) for value in rows.column("gram")]


def check(packed: Packed, side: int, rows: pa.Table) -> None:
    """Refuse SOLVED with a row that has no answer."""
    for block, bad in zip(rows.column("block"), rows.column("bad"), strict=True):
        if bad.as_py() >= 0:
            packed.refuse(side, int(packed.sides[side].starts[block.as_py()]) + bad.as_py())


def frame_of(spark: SparkSession, place: Side, factors: NDArray[np.float32]) -> DataFrame:
    """FACTORS of a side that the driver holds whole."""
    blocks = (
        arrow_row(FACTORS, block, factors[place.range_of(block)]) for block in range(place.blocks)
    )
    return spark.createDataFrame(pa.Table.from_batches(blocks))


def factors_by_id(blocks: DataFrame, packed: Packed, *, side: int, plan: Solve) -> DataFrame:
    """(user or item, factors, bias) of FACTORS of a side."""
    rows = partial(_rows, side=side, index=packed.index, plan=plan)
    return blocks.mapInArrow(rows, factor_schema(NAMES[side]))


def _rows(batches: Batches, *, side: int, index: Broadcast[Sides], plan: Solve) -> Batches:
    place, rank = index.value[side], plan.objective.rank
    for batch in batches:
        for row in range(batch.num_rows):
            ids = place.ids[place.range_of(batch.column("block")[row].as_py())]
            block = as_array(batch.column("data")[row], np.float32).reshape(-1, plan.width)
            none = np.zeros(len(ids), np.float32)
            yield factor_rows(NAMES[side], ids, block[:, :rank], none)
