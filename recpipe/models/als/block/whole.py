"""Factors pass through the driver and lie whole in every worker: one job a half-iteration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recpipe.models.als.block.exchange import SOLVED, Halves, check, frame_of, grams
from recpipe.models.als.block.packing import NAMES, Rows, columns_of
from recpipe.spark.columns import arrow_row, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.als.block.solving import Solve
    from recpipe.spark.columns import Batches

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]


class Whole(Halves):
    """A side's factors pass through the driver and lie whole in every worker: one job a half."""

    name: ClassVar[str] = "broadcast"

    def first(self, side: int) -> Broadcast[_Held]:
        place = self.packed.sides[side]
        return self._held([self.plan.first(place, side, b) for b in range(place.blocks)])

    def _held(
        self, blocks: list[Floats], grams: list[NDArray[np.float64]] | None = None
    ) -> Broadcast[_Held]:
        if grams is None:
            grams = [self.plan.gram(block) for block in blocks]
        held = _Held(np.concatenate(blocks), np.sum(grams, axis=0).astype(np.float32))
        return self.spark.sparkContext.broadcast(held)

    def solve(
        self, side: int, other: Broadcast[_Held], own: Broadcast[_Held] | None
    ) -> Broadcast[_Held]:
        starts = self.packed.sides[side].starts
        work = partial(_solve_whole, side=side, other=other, own=own, starts=starts, plan=self.plan)
        rows = self.packed.blocks.select(columns_of(side)).mapInArrow(work, SOLVED).toArrow()
        rows = rows.sort_by("block")
        check(self.packed, side, rows)
        width = self.plan.width
        return self._held(
            [as_array(value, np.float32).reshape(-1, width) for value in rows.column("data")],
            grams(rows, width),
        )

    def release(self, held: Broadcast[_Held]) -> None:
        held.destroy()

    def blocks(self, side: int, held: Broadcast[_Held]) -> DataFrame:
        return frame_of(self.spark, self.packed.sides[side], held.value.factors)

    def close(self) -> None:
        pass


@dataclass(frozen=True, eq=False)
class _Held:
    factors: Floats
    gram: Floats


def _solve_whole(
    batches: Batches,
    *,
    side: int,
    other: Broadcast[_Held],
    own: Broadcast[_Held] | None,
    starts: Longs,
    plan: Solve,
) -> Batches:
    for batch in batches:
        for row in range(batch.num_rows):
            block = batch.column("block")[row].as_py()
            rows = Rows.at(batch, row, NAMES[side])
            begin = own.value.factors[starts[block] : starts[block + 1]] if own else None
            held = other.value
            solved, bad = plan.rows(rows, held.factors, held.gram, begin, others=len(held.factors))
            yield arrow_row(SOLVED, block, bad, plan.gram(solved), solved)
