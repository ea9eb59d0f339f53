"""A task gets the factors that its ratings name; no factor passes through the driver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from recpipe.errors import MissingError
from recpipe.kernels.ids import distinct, positions
from recpipe.models.als.block.exchange import SOLVED, Halves, check, grams
from recpipe.models.als.block.packing import ITEM, NAMES, USER, Rows, columns_of
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import cached

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.als.block.packing import Packed
    from recpipe.models.als.block.solving import Solve
    from recpipe.spark.columns import Batches
    from recpipe.storage import Folder

    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]

_NEEDS = "dest int, block int, rows binary"
"""Which rows of a block of one side a block of the other has ratings of."""
_SENT = "dest int, block int, data binary"

# The block, among those sent to a task, that is its own.
_OWN = -1


class ByBlock(Halves):
    """A task gets the factors that its ratings name; no factor passes through the driver.

    Who needs what is settled once. Factors rest as tables in `scratch`, so that neither plans nor
    lineage grow with the iterations.
    """

    name: ClassVar[str] = "by block"

    def __init__(self, packed: Packed, plan: Solve, *, scratch: Folder, limit_mb: int) -> None:
        """Refuse if a task would need more than `limit_mb` MiB of factors.

        Raises:
            MissingError: if so.
        """
        super().__init__(packed, plan)
        self.scratch = scratch
        self.count = 0
        self.needs = [self._needs(side) for side in (USER, ITEM)]
        most = max(
            row["n"]
            for needs in self.needs
            for row in needs.groupBy("dest").agg(F.sum(F.length("rows")).alias("n")).collect()
        )
        need = most // 4 * plan.width * 4 / 2**20
        if need > limit_mb:
            self.close()
            raise MissingError(
                f"one side's factors, and those that a single block needs ({need:.0f} MiB), are"
                f" above max_broadcast_mb = {limit_mb}",
                hint="raise max_broadcast_mb or the number of blocks, or lower the rank",
            )

    def _needs(self, side: int) -> DataFrame:
        """_NEEDS of the tasks that solve `side`, beside the blocks that they ask."""
        work = partial(_needed, side=side, starts=self.packed.sides[1 - side].starts)
        asked = self.packed.blocks.select(columns_of(side)).mapInArrow(work, _NEEDS)
        number = self.packed.sides[side].blocks
        return cached(asked.repartitionById(number, "block"))

    def first(self, side: int) -> _Kept:
        number = self.packed.sides[side].blocks
        numbers = self.packed.blocks.sparkSession.range(0, number, 1, number)
        work = partial(_first_blocks, side=side, index=self.packed.index, plan=self.plan)
        return self._keep(numbers.select(F.col("id").cast("int")).mapInArrow(work, SOLVED), side)

    def solve(self, side: int, other: _Kept, own: _Kept | None) -> _Kept:
        number = self.packed.sides[side].blocks
        sent = (
            self.needs[side]
            .groupBy("block")
            .cogroup(other.table.repartitionById(number, "block").groupBy("block"))
            .applyInArrow(partial(_send, width=self.plan.width), _SENT)
        )
        if own is not None:
            sent = sent.unionAll(
                own.table.select(
                    F.col("block").alias("dest"), F.lit(_OWN).alias("block"), F.col("data")
                )
            )
        others = len(self.packed.sides[1 - side].ids)
        work = partial(_solve_sent, side=side, base=other.gram, others=others, plan=self.plan)
        solved = (
            self.packed.blocks.select(columns_of(side))
            .groupBy("block")
            .cogroup(sent.repartitionById(number, "dest").groupBy("dest"))
            .applyInArrow(work, SOLVED)
        )
        return self._keep(solved, side)

    def _keep(self, solved: DataFrame, side: int) -> _Kept:
        self.count += 1
        name = f"block_als-{self.count:05d}"
        table = self.scratch.write_table(name, solved)
        rows = table.select("block", "bad", "gram").toArrow().sort_by("block")
        check(self.packed, side, rows)
        gram = np.sum(grams(rows, self.plan.width), axis=0).astype(np.float32)
        return _Kept(name, table.select("block", "data"), gram)

    def release(self, held: _Kept) -> None:
        self.scratch.delete(held.name)

    def blocks(self, side: int, held: _Kept) -> DataFrame:
        del side
        return held.table

    def close(self) -> None:
        for needs in self.needs:
            needs.unpersist()


@dataclass(frozen=True, eq=False)
class _Kept:
    name: str
    table: DataFrame
    gram: Floats


def _needed(batches: Batches, *, side: int, starts: Longs) -> Batches:
    for batch in batches:
        for row in range(batch.num_rows):
            needed = distinct(Rows.at(batch, row, NAMES[side]).columns)
            cuts = np.searchsorted(needed, starts)
            for block, (start, stop) in enumerate(pairwise(cuts)):
                local = (needed[start:stop] - starts[block]).astype(np.int32)
                yield arrow_row(_NEEDS, batch.column("block")[row].as_py(), block, local)


def _first_blocks(batches: Batches, *, side: int, index: Broadcast[Any], plan: Solve) -> Batches:
    for batch in batches:
        for block in batch.column(0).to_pylist():
            factors = plan.first(index.value[side], side, block)
            yield arrow_row(SOLVED, block, -1, plan.gram(factors), factors)


def _send(needs: pa.Table, factors: pa.Table, *, width: int) -> pa.Table:
    held = as_array(factors.column("data")[0], np.float32).reshape(-1, width)
    return pa.Table.from_batches(
        arrow_row(
            _SENT,
            needs.column("dest")[at].as_py(),
            needs.column("block")[at].as_py(),
            held[as_array(needs.column("rows")[at], np.int32)],
        )
        for at in range(needs.num_rows)
    )


def _solve_sent(
    packed: pa.Table, sent: pa.Table, *, side: int, base: Floats, others: int, plan: Solve
) -> pa.Table:
    rows = Rows.at(packed, 0, NAMES[side])
    arrived = sent.sort_by("block")
    blocks = {
        number.as_py(): as_array(data, np.float32).reshape(-1, plan.width)
        for number, data in zip(arrived.column("block"), arrived.column("data"), strict=True)
    }
    begin = blocks.pop(_OWN, None)
    needed = distinct(rows.columns)
    local = Rows(rows.offsets, positions(needed, rows.columns), rows.values)
    other = np.concatenate(list(blocks.values()))
    solved, bad = plan.rows(local, other, base, begin, others=others)
    number = packed.column("block")[0].as_py()
    return pa.Table.from_batches([arrow_row(SOLVED, number, bad, plan.gram(solved), solved)])
