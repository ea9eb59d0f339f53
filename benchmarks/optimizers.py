"""An epoch of each optimizer of `sgd` against a plain epoch: bare kernels, a thread a block.

    python benchmarks/optimizers.py --out build/bench/optimizers.json

Both sides go over the same cells of synthetic ratings in one process, so that what is compared is
the arithmetic and the memory that moments take, and not how factors travel. Batches are of the
size that `sgd.batch_size = auto` gives to so many ratings.
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from sgd import Fit, bare_epochs, ratings_file
from side_by_side import Contender, compare_all

from recpipe.kernels.sgd_optimizers import RULES
from recpipe.models.sgd.packing import cells_of
from recpipe.settings import load
from recpipe.spark.session import spark_session

if TYPE_CHECKING:
    from sgd import Cells

    from recpipe.models.sgd.algorithm import Plan

TARGET = 1.6
RATES = {"plain": 0.015, "momentum": 0.002, "adagrad": 0.02, "adam": 0.004, "adamw": 0.004}


def packed(path: Path, *, rank: int, epochs: int, blocks: str) -> tuple[Cells, Plan]:
    """The cells of a fit, in this process."""
    overrides = [f"sgd.rank={rank}", f"sgd.epochs={epochs}", f"sgd.blocks={blocks}"]
    settings = load(overrides=["session.master=local[2]"], environment={})
    with spark_session(settings.session, name="bench-optimizers") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        made, plan = Fit(spark, path, overrides).pack()
        cells = cells_of(made.cells.toArrow())
        made.release()
    return cells, plan


def epoch(cells: Cells, plan: Plan, optimizer: str) -> float:
    """Median seconds of an epoch."""
    own = replace(plan, optimizer=optimizer, beta1=0.9, beta2=0.999, learning_rate=RATES[optimizer])
    return statistics.median(bare_epochs(cells, own, plan.epochs)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--blocks", default="2")
    parser.add_argument("--work", type=Path, default=Path("build/bench/sgd"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/optimizers.json"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    cells, plan = packed(
        ratings_file(given.work, given.ratings),
        rank=given.rank, epochs=given.epochs, blocks=given.blocks,
    )  # fmt: skip
    sizes = {
        "ratings": plan.train_rows, "users": sum(plan.users), "items": sum(plan.items),
        "rank": plan.rank, "blocks": plan.grid.blocks, "ratings a batch": plan.batch_size,
    }  # fmt: skip
    contenders = [
        Contender(f"sgd, an epoch of {rule}", partial(epoch, cells, plan, rule), TARGET, sizes)
        for rule in RULES
    ]
    for contender in contenders:
        contender.seconds()
    theirs = partial(epoch, cells, plan, "plain")
    theirs()
    compare_all(
        contenders, "a plain epoch, same kernel side", theirs=theirs, versions={}, out=given.out
    )


if __name__ == "__main__":
    main()
