"""How factors get to the ratings: whole to every worker, or by block to the tasks that need them.

Both end in the same bits: a row is solved from its own ratings and their factors alone, and the
matrix that all rows share (implicit) is summed block by block, in order, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import functions as F

from recpipe.errors import FitError, MissingError
from recpipe.kernels.ids import distinct, positions
from recpipe.models.arrow import arrow_row, as_array
from recpipe.models.block_als.packing import ITEM, NAMES, USER, Rows, columns_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.models.arrow import Batches
    from recpipe.models.block_als.packing import Packed
    from recpipe.models.block_als.solving import Solve
    from recpipe.storage import Folder

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float32]

FACTORS = "block int, data binary"
_SOLVED = "block int, bad int, gram binary, data binary"
"""A block's factors; `bad` is -1 or its first row that has no answer."""
_NEEDS = "dest int, block int, rows binary"
"""Which rows of a block of one side a block of the other has ratings of."""
_SENT = "dest int, block int, data binary"

# The block, among those sent to a task, that is its own.
_OWN = -1


class Carrier(Protocol):
    """Half-iterations over packed ratings; `Held` is whatever it keeps a side's factors as."""

    name: str

    def first(self, side: int) -> Any:
        """A side's factors before the first half-iteration."""
        ...

    def solve(self, side: int, other: Any, own: Any | None) -> Any:
        """One half-iteration: a side's factors, from the other's.

        Args:
            side: USER or ITEM.
            other: the other side's factors.
            own: the side's factors as they stand; None where the solver does not ask.

        Raises:
            FitError: if a row has no answer.
        """
        ...

    def release(self, held: Any) -> None:
        """Let go of factors."""
        ...

    def blocks(self, side: int, held: Any) -> DataFrame:
        """FACTORS of a side, cheap to read again; by block only until `release`."""
        ...

    def close(self) -> None:
        """Let go of everything else."""
        ...


class Whole:
    """A side's factors pass through the driver and lie whole in every worker: one job a half."""

    name = "broadcast"

    def __init__(self, packed: Packed, solve: Solve) -> None:
        self.packed, self.plan = packed, solve
        self.spark = packed.blocks.sparkSession

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
        rows = self.packed.blocks.select(columns_of(side)).mapInArrow(work, _SOLVED).toArrow()
        rows = rows.sort_by("block")
        _check(self.packed, side, rows)
        width = self.plan.width
        return self._held(
            [as_array(value, np.float32).reshape(-1, width) for value in rows.column("data")],
            _grams(rows, width),
        )

    def release(self, held: Broadcast[_Held]) -> None:
        held.destroy()

    def blocks(self, side: int, held: Broadcast[_Held]) -> DataFrame:
        place = self.packed.sides[side]
        numbers = range(place.blocks)
        data = [held.value.factors[place.range_of(block)].tobytes() for block in numbers]
        number = pa.array(numbers, pa.int32())
        return self.spark.createDataFrame(pa.table({"block": number, "data": data}))

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
            solved, bad = plan.rows(rows, other.value.factors, other.value.gram, begin)
            yield arrow_row(_SOLVED, block, bad, plan.gram(solved), solved)


class ByBlock:
    """A task gets the factors that its ratings name; no factor passes through the driver.

    Who needs what is settled once. Factors rest as tables in `scratch`, so that neither plans nor
    lineage grow with the iterations.
    """

    name = "by block"

    def __init__(self, packed: Packed, solve: Solve, *, scratch: Folder, limit_mb: int) -> None:
        """Refuse if a task would need more than `limit_mb` MiB of factors.

        Raises:
            MissingError: if so.
        """
        self.packed, self.plan, self.scratch = packed, solve, scratch
        self.count = 0
        self.needs = [self._needs(side) for side in (USER, ITEM)]
        most = max(
            row["n"]
            for needs in self.needs
            for row in needs.groupBy("dest").agg(F.sum(F.length("rows")).alias("n")).collect()
        )
        need = most // 4 * solve.width * 4 / 2**20
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
        return asked.repartitionById(number, "block").persist(StorageLevel.MEMORY_AND_DISK)

    def first(self, side: int) -> _Kept:
        number = self.packed.sides[side].blocks
        numbers = self.packed.blocks.sparkSession.range(0, number, 1, number)
        work = partial(_first_blocks, side=side, index=self.packed.index, plan=self.plan)
        return self._keep(numbers.select(F.col("id").cast("int")).mapInArrow(work, _SOLVED), side)

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
        work = partial(_solve_sent, side=side, base=other.gram, plan=self.plan)
        solved = (
            self.packed.blocks.select(columns_of(side))
            .groupBy("block")
            .cogroup(sent.repartitionById(number, "dest").groupBy("dest"))
            .applyInArrow(work, _SOLVED)
        )
        return self._keep(solved, side)

    def _keep(self, solved: DataFrame, side: int) -> _Kept:
        self.count += 1
        name = f"block_als-{self.count:05d}"
        table = self.scratch.write_table(name, solved)
        rows = table.select("block", "bad", "gram").toArrow().sort_by("block")
        _check(self.packed, side, rows)
        gram = np.sum(_grams(rows, self.plan.width), axis=0).astype(np.float32)
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
            yield arrow_row(_SOLVED, block, -1, plan.gram(factors), factors)


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
    packed: pa.Table, sent: pa.Table, *, side: int, base: Floats, plan: Solve
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
    solved, bad = plan.rows(local, np.concatenate(list(blocks.values())), base, begin)
    number = packed.column("block")[0].as_py()
    return pa.Table.from_batches([arrow_row(_SOLVED, number, bad, plan.gram(solved), solved)])


def _grams(rows: pa.Table, width: int) -> list[NDArray[np.float64]]:
    return [as_array(value, np.float64).reshape(width, width) for value in rows.column("gram")]


def _check(packed: Packed, side: int, rows: pa.Table) -> None:
    place = packed.sides[side]
    for block, bad in zip(rows.column("block"), rows.column("bad"), strict=True):
        if bad.as_py() >= 0:
            row = place.ids[place.range_of(block.as_py())][bad.as_py()]
            raise FitError(
                f"block_als: the factors of {NAMES[side]} {row} are not determined",
                hint="raise regularization",
            )


__all__ = ["FACTORS", "ByBlock", "Carrier", "Whole"]
