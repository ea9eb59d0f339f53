"""What one task of the ring does: its user block stays, item blocks come round.

A task takes the item blocks in the order in which the grid has its block meet them, which is the
order in which the block after it sends them, works on each and hands it on. With two item blocks
a user block one is on its way while the other is worked on.
"""

from __future__ import annotations

import json
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recpipe.distributed.stage import joined
from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.sgd.algorithm import Epoch, FitProgress, held_out_error, total, visit
from recpipe.models.sgd.exchange import FACTORS
from recpipe.models.sgd.packing import cells_of
from recpipe.spark.columns import arrow_row, as_array

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

    from recpipe.distributed import Keys, Ring
    from recpipe.models.sgd.algorithm import Plan
    from recpipe.models.sgd.cells import Cell
    from recpipe.spark.columns import Batches

    Floats = NDArray[np.float32]

CURVE = -1
"""The side of the row, of block 0, that holds as JSON the learning curve and how many seconds each
epoch of the segment took."""
NOW_USERS, NOW_ITEMS = 2, 3
"""The sides of the blocks as the last epoch left them, where another one was better."""

_NOTE = struct.Struct("<dd?")  # squared error met, squared error held out, whether to pause


@dataclass(frozen=True)
class Segment:
    """A part of a fit that is one barrier stage: from a checkpoint to the next, or to the end.

    Args:
        plan: of the fit.
        keys: of its ring.
        curve: the epochs before this segment.
        min_seconds: how long it lasts before it pauses for a checkpoint.
    """

    plan: Plan
    keys: Keys
    curve: tuple[Epoch, ...]
    min_seconds: float

    def run(self, batches: Batches) -> Batches:
        """The body of the task: cells, and from the second segment on factors, to factors."""
        ring = joined(self.keys)
        try:
            task = _Task(ring.place, ring, self)
            task.read(batches)
            task.run()
            ring.close()
        finally:
            ring.abandon()
        yield from task.rows()


class _Task:
    def __init__(self, block: int, ring: Ring, segment: Segment) -> None:
        self.block, self.ring, self.segment, self.plan = block, ring, segment, segment.plan
        self.grid = segment.plan.grid
        self.progress = FitProgress.from_curve(segment.plan, segment.curve)
        self.cells: dict[int, tuple[Cell, Cell]] = {}
        self.users: Floats
        # Item blocks that are here, in the order of their visits.
        self.here: deque[tuple[int, Floats]] = deque()
        self.best: tuple[Floats, list[Floats]] | None = None
        self.seconds: list[float] = []

    def read(self, batches: Batches) -> None:
        """Cells of this block and, from the second segment on, its factors."""
        found: dict[tuple[int, int], Floats] = {}
        for batch in batches:
            for (block, step), cell in cells_of(batch).items():
                if block != self.block:
                    raise AssertionError(f"block {block} in the task of block {self.block}")
                self.cells[step] = cell
            if "side" in batch.schema.names:
                found.update(_factors(batch, self.plan))
        home = self.grid.slices_of(self.block)
        if not self.segment.curve:
            self.users = self.plan.first_users(self.block)
            self.here.extend((j, self.plan.first_items(j)) for j in home)
            return
        best = found[USERS, self.block], [found[ITEMS, j] for j in home]
        if (NOW_USERS, self.block) in found:
            self.best = best
            self.users = found[NOW_USERS, self.block].copy()
            self.here.extend((j, found[NOW_ITEMS, j].copy()) for j in home)
        else:
            self.best = best if self.plan.validation_rows else None
            self.users = best[0].copy()
            self.here.extend((j, block.copy()) for j, block in zip(home, best[1], strict=True))

    def run(self) -> None:
        """Epochs until the fit is done or it is time for a checkpoint; the same one for all."""
        started = before = time.monotonic()
        pause = False
        while not (self.progress.done or pause):
            epoch = len(self.progress.curve) + 1
            met = self._met(epoch)
            left = total(self._lap(self._left)) if self.plan.validation_rows else 0.0
            long_enough = time.monotonic() - started >= self.segment.min_seconds
            due = long_enough and epoch % self.plan.checkpoint_interval == 0
            notes = [_NOTE.unpack(n) for n in self.ring.all_notes(_NOTE.pack(met, left, due))]
            held_out = total(note[1] for note in notes) if self.plan.validation_rows else None
            self.progress.add(total(note[0] for note in notes), held_out)
            pause = notes[0][2]
            if self.progress.best == epoch and self.plan.validation_rows:
                self._keep(copy=not self.progress.done)
            now = time.monotonic()
            self.seconds.append(now - before)
            before = now
        self._await_home()

    def _met(self, epoch: int) -> float:
        def fitted(step: int, items: Floats) -> float:
            cell = self.cells[step][0]
            return visit(cell, self.users, items, self.plan, epoch=epoch, step=step)

        return total(self._lap(fitted))

    def _left(self, step: int, items: Floats) -> float:
        return held_out_error(self.cells[step][1], self.users, items, self.plan)

    def _lap(self, work: Callable[[int, Floats], float]) -> list[float]:
        """Every item block once: what `work` makes of it and this user block."""
        done = []
        for step in range(self.grid.item_blocks):
            number, items = self.here.popleft() if self.here else self._receive()
            if number != self.grid.item_block(self.block, step):
                raise AssertionError(f"item block {number} in step {step} of block {self.block}")
            done.append(work(step, items))
            self.ring.send(number, items)
        return done

    def _receive(self) -> tuple[int, Floats]:
        number, flat = self.ring.receive()
        return number, flat.reshape(self.plan.items[number], self.plan.width)

    def _await_home(self) -> None:
        """After a lap every item block comes back to where the next one starts."""
        while len(self.here) < self.grid.slices:
            self.here.append(self._receive())

    def _keep(self, *, copy: bool) -> None:
        """These factors are the best so far."""
        self._await_home()
        items = [block for _, block in self.here]
        self.best = (
            (self.users.copy(), [block.copy() for block in items]) if copy else (self.users, items)
        )

    def rows(self) -> Batches:
        """FACTORS: the best blocks, those of the last epoch if more are to come, the curve."""
        now = self.users, [block for _, block in self.here]
        best = self.best or now
        yield from self._blocks(USERS, ITEMS, best)
        if not self.progress.done and self.progress.best != len(self.progress.curve):
            yield from self._blocks(NOW_USERS, NOW_ITEMS, now)
        if self.block == 0:
            report = {"curve": self.progress.report(), "seconds": self.seconds}
            yield arrow_row(FACTORS, 0, CURVE, 0, 0.0, json.dumps(report).encode())

    def _blocks(self, users: int, items: int, blocks: tuple[Floats, list[Floats]]) -> Batches:
        yield arrow_row(FACTORS, self.block, users, self.block, 0.0, blocks[0])
        for j, block in zip(self.grid.slices_of(self.block), blocks[1], strict=True):
            yield arrow_row(FACTORS, self.block, items, j, 0.0, block)


def _factors(rows: pa.RecordBatch, plan: Plan) -> dict[tuple[int, int], Floats]:
    """(side, number) -> block, of the rows that are factors and not cells."""
    found = {}
    for at in np.flatnonzero(rows.column("side").is_valid().to_numpy(zero_copy_only=False)):
        side, number, data = (rows.column(name)[int(at)] for name in ("side", "number", "data"))
        if side.as_py() != CURVE:
            block = as_array(data, np.float32).reshape(-1, plan.width)
            found[side.as_py(), number.as_py()] = block
    return found
