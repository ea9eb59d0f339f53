"""SGD by the ring against its bare kernel: the same cells, one process, a thread a block, no Spark.

    python benchmarks/sgd.py --out build/bench/sgd.json

Ratings are those of `recpipe.datasets.synthetic`. Before anything is timed, the ring must end in
the bits of the algorithm in one process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from side_by_side import compare, seconds, write_table

from recpipe.datasets.synthetic import synthesize
from recpipe.feedback import Scale
from recpipe.kernels.sgd import ITEMS, USERS
from recpipe.models.data import TrainingData
from recpipe.models.sgd.algorithm import train_in_process, visit
from recpipe.models.sgd.cells import Block, Ratings
from recpipe.models.sgd.grid import Grid, ItemTable, UserRule
from recpipe.models.sgd.model import Sgd
from recpipe.models.sgd.packing import cells_of
from recpipe.models.sgd.ring import RingExchange
from recpipe.models.sgd.settings import SgdSettings
from recpipe.settings import load
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from recpipe.models.sgd.algorithm import Plan
    from recpipe.models.sgd.cells import Cell
    from recpipe.models.sgd.packing import Packed
    from recpipe.storage import Stored

    Cells = dict[tuple[int, int], tuple[Cell, Cell]]


def ratings_file(work: Path, ratings: int) -> Path:
    """A table of (user int, item int, rating float) in one file of four row groups, dense ids."""
    path = work / f"table-{ratings}.parquet"
    if (path / "_SUCCESS").exists():
        return path
    with tempfile.TemporaryDirectory(dir=work) as folder:
        synthesize(Path(folder) / "release", ratings=ratings)
        table = pa.csv.read_csv(Path(folder) / "release" / "ratings.csv")
    columns = [
        pc.subtract(pc.rank(table[name], tiebreaker="dense"), 1).cast(pa.int32())
        for name in ("userId", "movieId")
    ]
    rating = table["rating"].cast(pa.float32())
    dense = pa.table({"user": columns[0], "item": columns[1], "rating": rating})
    write_table(path, dense, groups=4)
    return path


def bare_epochs(cells: Cells, plan: Plan, epochs: int) -> tuple[list[float], Any]:
    """Seconds of each epoch, and the factors: a thread a block, as free as the order allows."""
    grid = plan.grid
    users = {b: plan.first_users(b) for b in range(grid.blocks)}
    items = {j: plan.first_items(j) for j in range(grid.item_blocks)}
    done = [0] * grid.blocks
    turn = threading.Condition()
    took: list[float] = []

    def work(b: int) -> None:
        after = (b + 1) % grid.blocks
        before = time.perf_counter()
        for epoch in range(1, epochs + 1):
            for step in range(grid.item_blocks):
                # The block after this one must be done with the items that are now due here.
                with turn:
                    turn.wait_for(lambda: done[after] > done[b] - grid.slices)
                met = items[grid.item_block(b, step)]
                visit(cells[b, step][0], users[b], met, plan, epoch=epoch, step=step)
                with turn:
                    done[b] += 1
                    turn.notify_all()
            if b == 0:
                now = time.perf_counter()
                took.append(now - before)
                before = now

    threads = [threading.Thread(target=work, args=(b,)) for b in range(grid.blocks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, (users, items)


def bare_fit(path: Path, plan: Plan, blocks: int) -> None:
    """Reading, sorting into cells and all epochs in this process, a thread a block."""
    table = pq.read_table(path)
    user, item, rating = (table[name].to_numpy() for name in ("user", "item", "rating"))
    grid = Grid(blocks)
    counts = np.bincount(item)
    found = np.flatnonzero(counts).astype(np.int32)
    items = ItemTable.of(found, counts[found], blocks=grid.item_blocks)
    block = UserRule.hashed(blocks).block(user)
    everything = Ratings(user, items.find(item), rating)
    none = everything.at(np.empty(0, np.int64))
    packed: dict[int, Block] = {}

    def sort(b: int) -> None:
        mine = everything.at(np.flatnonzero(block == b))
        packed[b] = Block.of(b, mine, none, grid=grid, items=items)

    threads = [threading.Thread(target=sort, args=(b,)) for b in range(blocks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cells = {
        (b, step): pair
        for b, of in packed.items()
        for step, pair in enumerate(zip(of.train, of.validation, strict=True))
    }
    sizes = tuple(len(packed[b].users) for b in range(blocks))
    own = replace(plan, users=sizes, items=items.sizes(grid.item_blocks))
    bare_epochs(cells, own, plan.epochs)


class Fit:
    """The steps of `Sgd.fit` one by one."""

    def __init__(self, spark: SparkSession, path: Path, overrides: list[str]) -> None:
        settings = load(overrides=overrides, environment={})
        own = SgdSettings.model_validate(settings.section("sgd"))
        self.model, self.scale = Sgd(own), Scale(min=0.5, max=5.0, step=0.5)
        self.spark, self.path = spark, path

    @property
    def train(self) -> Stored:
        return Folder(self.spark, self.path.parent).stored(self.path.name)

    def pack(self) -> tuple[Packed, Plan]:
        packed = self.model._pack(self.train, None)
        return packed, self.model._plan(packed, seed=1)

    def whole(self, folder: Folder) -> None:
        with folder.scratch("sgd") as scratch:
            data = TrainingData(ratings=self.train, scale=self.scale)
            self.model.fit(data, scratch=scratch, seed=1)


def same_bits(packed: Packed, plan: Plan, scratch: Folder) -> bool:
    short = replace(plan, epochs=2)
    trained = RingExchange().train(packed.cells, short, scratch=scratch)
    rows = trained.factors.where("side in (0, 1)").collect()
    trained.release()
    cells = cells_of(packed.cells.toArrow())
    users, items, _ = train_in_process(short, cells)
    sides = {USERS: users, ITEMS: items}
    bare = dict(zip((USERS, ITEMS), bare_epochs(cells, short, 2)[1], strict=True))
    return all(
        bytes(row.data)
        == sides[row.side][row.number].tobytes()
        == bare[row.side][row.number].tobytes()
        for row in rows
    )


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    into.append(time.perf_counter() - begin)


def compare_epochs(
    packed: Packed, plan: Plan, scratch: Folder, *, sizes: dict[str, int], out: Path
) -> None:
    """An epoch of the ring against one of the bare kernel."""
    cells = cells_of(packed.cells.toArrow())
    trainings: list[float] = []

    def bare() -> float:
        return statistics.median(bare_epochs(cells, plan, plan.epochs)[0])

    def ring() -> float:
        with timed(trainings):
            trained = RingExchange().train(packed.cells, plan, scratch=scratch)
        trained.release()
        return statistics.median(trained.seconds)

    compare(
        "sgd, an epoch by the ring", "the bare kernel, one process, a thread a block",
        ours=ring, theirs=bare, target=1.2, sizes=sizes, versions={}, out=out,
    )  # fmt: skip
    print(f"   all {plan.epochs} epochs by the ring: {statistics.median(trainings):.2f} s")


def compare_fits(
    fit: Fit, path: Path, plan: Plan, folder: Folder, *, sizes: dict[str, int], out: Path
) -> None:
    """From Parquet to factors, against the same with the bare kernel in this process."""
    packing: list[float] = []
    for _ in range(3):
        with timed(packing):
            fit.pack()[0].release()
    print(f"   packing: {statistics.median(packing):.2f} s")

    compare(
        "sgd, a fit, packing included", "the same kernel in one process, a thread a block",
        ours=lambda: seconds(lambda: fit.whole(folder)),
        theirs=lambda: seconds(lambda: bare_fit(path, plan, plan.grid.blocks)),
        target=1.5, sizes=sizes, versions={}, out=out,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=8_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--blocks", default="auto")
    parser.add_argument("--work", type=Path, default=Path("build/bench/sgd"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/sgd.json"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    path = ratings_file(given.work, given.ratings)
    overrides = [
        f"sgd.rank={given.rank}", f"sgd.epochs={given.epochs}", f"sgd.blocks={given.blocks}",
        "sgd.learning_rate=0.015", "sgd.regularization=0.05", "sgd.exchange=auto",
    ]  # fmt: skip
    settings = load(overrides=["session.master=local[2]"], environment={})
    with spark_session(settings.session, name="bench-sgd") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        folder = Folder(spark, given.work.absolute() / "scratch")
        fit = Fit(spark, path, overrides)
        packed, plan = fit.pack()
        sizes = {
            "ratings": plan.train_rows, "users": sum(plan.users), "items": sum(plan.items),
            "rank": plan.rank, "epochs": plan.epochs, "blocks": plan.grid.blocks,
        }  # fmt: skip
        print(sizes, flush=True)
        with folder.scratch("sgd") as scratch:
            if not same_bits(packed, plan, scratch):
                sys.exit("the ring does not end in the bits of the algorithm in one process")
            print("the ring, the threads and the plain algorithm end in the same bits", flush=True)
            compare_epochs(packed, plan, scratch, sizes=sizes, out=given.out)
        packed.release()
        compare_fits(fit, path, plan, folder, sizes=sizes, out=given.out)
    shutil.rmtree(given.work / "scratch", ignore_errors=True)


if __name__ == "__main__":
    main()
