"""The whole fit as one barrier stage: each task keeps its ratings, factors go round the tasks.

A task solves its own blocks of a side and sends each on as soon as it is solved; when those of all
others have come round, every task holds the side whole and turns to the other. No stage begins or
ends in an iteration. In return all tasks must run at the same time.

A stage of more than `min_seconds` ends early, and the next goes on with what the driver then
holds: what is lost with a worker is at most that.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pyspark.sql import functions as F

from recpipe.distributed import Keys, admitted
from recpipe.distributed.stage import joined
from recpipe.models.als.block.exchange import frame_of
from recpipe.models.als.block.packing import ITEM, USER, rows_of
from recpipe.spark.columns import arrow_row, as_array
from recpipe.spark.held import plain_plans

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from recpipe.distributed import Ring as Neighbours
    from recpipe.models.als.block.packing import Packed, Rows, Sides
    from recpipe.models.als.block.solving import Solve
    from recpipe.spark.columns import Batches

    Floats = NDArray[np.float32]
    Both = tuple[Floats, Floats]
    Ratings = dict[int, tuple[Rows, Rows]]

_SOLVED = "task int, side int, block int, data binary"
_REPORT = -1
"""The side of the row, of task 0, that holds as JSON how far the segment came."""


@dataclass(frozen=True)
class Ring:
    """See the module.

    Args:
        packed: its blocks, in one partition a task.
        plan: of the fit.
        min_seconds: how long a stage lasts before it may end early.
        silence: seconds without a sign of life after which a task gives up its neighbour.
        patience: seconds without slots enough after which the fit is given up.
    """

    packed: Packed
    plan: Solve
    min_seconds: float = 60.0
    silence: float = 60.0
    patience: float = 60.0

    name: ClassVar[str] = "ring"

    def blocks(self, side: int, held: Floats) -> DataFrame:
        """See `FactorExchange`."""
        return frame_of(self.packed.sent.sparkSession, self.packed.sides[side], held)

    def release(self, held: Floats) -> None:
        """Arrays of the driver's; nothing to do."""

    def close(self) -> None:
        """Nothing else is held."""

    def train(self, iterations: int) -> Both:
        """Factors of users and items, (rows, width) each, in the order of `sides`.

        Raises:
            FitError: if a row has no answer.
            MissingError: if slots are missing.
            PeerLostError: if tasks do not reach each other, each time that Spark tries.
        """
        spark = self.packed.sent.sparkSession
        keys = Keys.fresh(self.plan.name, silence=self.silence)
        done, factors = 0, None
        with (
            plain_plans(spark),
            admitted(spark, self.plan.name, tasks=self.packed.tasks, patience=self.patience),
        ):
            while True:
                begin = None if factors is None else spark.sparkContext.broadcast(factors)
                segment = Segment(
                    self.plan, self.packed.index, keys, begin, done, iterations, self.min_seconds
                )
                solved = self._rows(segment)
                if begin is not None:
                    begin.destroy()
                done = self._checked(solved)
                factors = self._sides(solved)
                if done == iterations:
                    return factors

    def _rows(self, segment: Segment) -> pa.Table:
        several = self.packed.tasks > 1
        solved = self.packed.sent.mapInArrow(segment.run, _SOLVED, barrier=several)
        if not several:
            return solved.toArrow()
        # Nothing would start a barrier stage again whose result goes to the driver; one that feeds
        # a shuffle is run again as a whole.
        return solved.repartitionById(self.packed.tasks, F.col("task")).toArrow()

    def _checked(self, solved: pa.Table) -> int:
        """How many iterations are done, once every row had an answer."""
        row = solved.column("side").to_pylist().index(_REPORT)
        report = json.loads(solved.column("data")[row].as_py())
        if report["bad"] is not None:
            self.packed.refuse(*report["bad"])
        return int(report["done"])

    def _sides(self, solved: pa.Table) -> Both:
        order = solved.sort_by([("side", "ascending"), ("block", "ascending")])
        side = order.column("side").to_numpy()
        users, items = (
            np.concatenate(
                [
                    as_array(order.column("data")[int(at)], np.float32)
                    for at in np.flatnonzero(side == number)
                ]
            ).reshape(-1, self.plan.width)
            for number in (USER, ITEM)
        )
        return users, items


@dataclass(frozen=True)
class Segment:
    """A part of a fit that is one stage.

    Args:
        plan: of the fit.
        index: the two sides.
        keys: of the ring.
        begin: the factors that it begins with; None: those of the plan.
        done: iterations before it.
        iterations: of the fit.
        min_seconds: how long it lasts before it may end early.
    """

    plan: Solve
    index: Broadcast[Sides]
    keys: Keys
    begin: Broadcast[Both] | None
    done: int
    iterations: int
    min_seconds: float

    def run(self, batches: Batches) -> Batches:
        """The body of a task: what was sent to it, to solved blocks."""
        sides = self.index.value
        if sides[USER].tasks == 1:
            task = _Task(self, None)
            task.run(dict(rows_of(batches, sides)))
        else:
            ring = joined(self.keys)
            try:
                task = _Task(self, ring)
                task.run(dict(rows_of(batches, sides)))
                ring.close()
            finally:
                ring.abandon()
        yield from task.rows()


class _Task:
    def __init__(self, segment: Segment, ring: Neighbours | None) -> None:
        self.segment, self.ring, self.plan = segment, ring, segment.plan
        self.sides = segment.index.value
        self.place = 0 if ring is None else ring.place
        self.tasks = self.sides[USER].tasks
        self.done = segment.done
        # What no row's matrix determines: (side, position), the same in all tasks.
        self.bad: tuple[int, int] | None = None
        if segment.begin:
            # A broadcast belongs to the worker, and the same task may run in it again.
            users, items = segment.begin.value
            self.factors = users.copy(), items.copy()
        else:
            self.factors = self._first()
        self.grams = [
            [self.plan.gram(self._block(side, block)) for block in range(self.sides[side].blocks)]
            for side in (USER, ITEM)
        ]

    def _first(self) -> Both:
        users, items = (
            np.concatenate([self.plan.first(side, number, b) for b in range(side.blocks)])
            for number, side in enumerate(self.sides)
        )
        return users, items

    def _block(self, side: int, block: int) -> Floats:
        return self.factors[side][self.sides[side].range_of(block)]

    def run(self, rows: Ratings) -> None:
        started = time.monotonic()
        pause = False
        while self.done < self.segment.iterations and not pause and self.bad is None:
            for side in (ITEM, USER):
                self._half(side, rows)
                if self.bad is not None:
                    return
            self.done += 1
            pause = self._agreed(time.monotonic() - started >= self.segment.min_seconds)

    def _agreed(self, due: bool) -> bool:
        """Every task takes the decision of task 0."""
        if self.ring is None:
            return due
        return self.ring.all_notes(bytes([due]))[0] == b"\1"

    def _half(self, side: int, rows: Ratings) -> None:
        other = self.factors[1 - side]
        base = np.sum(self.grams[1 - side], axis=0).astype(np.float32)
        of_side = self.sides[side]
        mine = of_side.blocks_of(self.place)
        for block in mine:
            begin = self._block(side, block) if self.plan.continues else None
            solved, bad = self.plan.rows(rows[block][side], other, base, begin, others=len(other))
            position = -1 if bad < 0 else int(of_side.starts[block]) + bad
            gram = self.plan.gram(solved)
            self._keep(side, block, solved, gram, position)
            if self.ring is not None:
                self.ring.send(block, _message(solved, gram, position))
        if self.ring is None:
            return
        for _ in range(of_side.blocks - len(mine)):
            block, message = self.ring.receive()
            # The next task has solved this block itself: there it ends.
            if (self.place - 1) % self.tasks != of_side.task_of(block):
                self.ring.send(block, message)
            self._keep(side, block, *_told(message, self.plan.width))

    def _keep(
        self, side: int, block: int, solved: Floats, gram: NDArray[np.float64], position: int
    ) -> None:
        self._block(side, block)[:] = solved
        self.grams[side][block] = gram
        if position >= 0 and (self.bad is None or position < self.bad[1]):
            self.bad = side, position

    def rows(self) -> Iterator[pa.RecordBatch]:
        """_SOLVED: the blocks of this task, and from the first what it has to report."""
        for side in (USER, ITEM):
            for block in self.sides[side].blocks_of(self.place):
                yield arrow_row(_SOLVED, self.place, side, block, self._block(side, block))
        if self.place == 0:
            report = json.dumps({"done": self.done, "bad": self.bad}).encode()
            yield arrow_row(_SOLVED, 0, _REPORT, 0, report)


def _message(solved: Floats, gram: NDArray[np.float64], position: int) -> Floats:
    """A block as the ring carries it: a flat array of four-byte numbers."""
    head = np.array([position], np.int64).view(np.float32)
    return np.concatenate(
        [head, np.ascontiguousarray(gram).view(np.float32).ravel(), solved.ravel()]
    )


def _told(message: Floats, width: int) -> tuple[Floats, NDArray[np.float64], int]:
    position = int(message[:2].view(np.int64)[0])
    end = 2 + 2 * width * width
    gram = message[2:end].copy().view(np.float64).reshape(width, width)
    return message[end:].reshape(-1, width), gram, position
