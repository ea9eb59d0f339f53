"""`block_als_implicit` by steps in subspaces (iALS++) against our own Cholesky, as many iterations.

    python benchmarks/subspace.py --out build/bench/subspace.json

Before anything is timed both solvers go the same sweeps as irspack 0.5.2 does from the same first
factors, on a small table, by both objectives: theirs and ours, computed here over every pair, must
agree within 1e-4. Then whole fits are timed, from a Parquet file to tables of factors; of each the
objective and what it is more than Cholesky's stand in the row. Every rating is a liking.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from sgd import ratings_file
from side_by_side import compare, environment_of, peer, seconds

from recpipe.feedback import Scale
from recpipe.models.als.block.blocks import Side
from recpipe.models.als.block.model import BlockAlsImplicit
from recpipe.models.als.block.packing import Rows
from recpipe.models.als.block.solving import Solve
from recpipe.models.als.settings import BlockAlsImplicitSettings
from recpipe.models.data import TrainingData
from recpipe.settings import load
from recpipe.spark.interactions import frame_of
from recpipe.spark.session import spark_session
from recpipe.storage import Folder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import SparkSession

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int32]

TARGET = 0.5
SAME = 1e-4
WIDTH = 128
SCALE = Scale(min=0.5, max=5, step=0.5)
ALPHA = 1.0
IALS = {"loss": "ials", "unobserved_weight": 0.1, "regularization": 0.003, "alpha": ALPHA}
HU = {"loss": "confidence", "unobserved_weight": 0.2, "regularization": 0.05, "alpha": ALPHA}


def objective(
    own: BlockAlsImplicitSettings, user: Ints, item: Ints, users: Floats, items: Floats
) -> float:
    """What the settings say is minimised, over every pair, in float64."""
    p, q = users.astype(np.float64), items.astype(np.float64)
    scores = np.einsum("nk,nk->n", p[user], q[item])
    weight = own.unobserved_weight
    everywhere = weight * float(np.sum((p.T @ p) * (q.T @ q)))
    liking = own.alpha * float(np.sum((1 - scores) ** 2))
    if own.loss == "confidence":
        liking += weight * float(np.sum((1 - scores) ** 2 - scores**2))
    penalty = 0.0
    for ids, own_side, others in ((user, p, len(q)), (item, q, len(p))):
        count = np.bincount(ids, minlength=len(own_side)).astype(np.float64)
        if own.loss == "ials":
            count += weight * others
        norms = (own_side**2).sum(axis=1)
        penalty += own.regularization * float(count**own.regularization_exponent @ norms)
    return everywhere + liking + penalty


def sweeps(
    own: BlockAlsImplicitSettings, user: Ints, item: Ints, number: int
) -> tuple[list[Floats], list[Floats]]:
    """First and last factors of users and of items, by the kernels alone."""
    width = own.subspace_width(own.rank)
    plan = Solve("ours", BlockAlsImplicit(own).objective(), "cholesky", 1, width, 1)
    ones, factors, rows = np.ones(len(user), np.float32), [], []
    for number_of_side, (ids, others) in enumerate(((user, item), (item, user))):
        count = int(ids.max()) + 1
        every = np.arange(count, dtype=np.int32)
        side = Side.of(every, np.ones(count, np.int64), blocks=1, tasks=1, rank=own.rank)
        factors.append(plan.first(side, number_of_side, 0))
        rows.append(Rows.of(ids, others, ones, rows=count))
    first = [one[:, : own.rank].copy() for one in factors]
    for _ in range(number):
        for at in (1, 0):
            other = factors[1 - at]
            begin = factors[at] if plan.continues else None
            base = plan.gram(other).astype(np.float32)
            factors[at], bad = plan.rows(rows[at], other, base, begin, others=len(other))
            assert bad == -1
    return first, [one[:, : own.rank] for one in factors]


def check_irspack(work: Path) -> None:
    """End a run whose objective after some sweeps is not irspack's."""
    rng = np.random.default_rng(1)
    drawn = rng.random((600, 300)) < 0.02 + 0.3 * rng.random(300) ** 4
    user, item = (ids.astype(np.int32) for ids in np.nonzero(drawn))
    item = np.unique(item, return_inverse=True)[1].astype(np.int32)
    user = np.unique(user, return_inverse=True)[1].astype(np.int32)
    python = environment_of("irspack", ["irspack==0.5.2"])
    for settings, theirs, exponents in ((IALS, "IALSPP", (1.0, 0.5)), (HU, "ORIGINAL", (0.0,))):
        for exponent in exponents:
            for solver, width in (("CHOLESKY", 0), ("IALSPP", 8)):
                own = BlockAlsImplicitSettings(
                    rank=24, subspace=width, regularization_exponent=exponent, **settings
                )
                first, last = sweeps(own, user, item, 8)
                np.savez(work / "start.npz", user=user, item=item, users=first[0], items=first[1])
                with peer(python, "irspack_fit.py", work) as irspack:
                    file = irspack.ask(
                        solver, theirs, 8, own.unobserved_weight, own.regularization, exponent,
                        width or 8,
                    )  # fmt: skip
                found = np.load(work / file)
                mine = objective(own, user, item, *last)
                due = objective(own, user, item, found["users"], found["items"])
                apart = abs(mine / due - 1)
                print(f"   {own.loss}, exponent {exponent}, {solver}: {mine:.4f}, irspack "
                      f"{due:.4f}, {apart:.1e} apart", flush=True)  # fmt: skip
                if apart > SAME:
                    raise SystemExit("not the objective that irspack comes to")


class Fits:
    """Fits of ours, from Parquet to tables of factors."""

    def __init__(self, spark: SparkSession, path: Path, given: argparse.Namespace) -> None:
        self.folder = Folder(spark, path.parent.absolute() / "scratch")
        self.train = Folder(spark, path.parent.absolute()).stored(path.name)
        self.given = given

    def settings(self, width: int) -> BlockAlsImplicitSettings:
        return BlockAlsImplicitSettings(
            rank=self.given.rank, iterations=self.given.iterations, subspace=width,
            preference_from=SCALE.min, **IALS,
        )  # fmt: skip

    def timed(self, width: int) -> float:
        with self.folder.scratch("subspace") as scratch:
            return seconds(lambda: self._fit(width, scratch))

    def objective(self, width: int, user: Ints, item: Ints) -> float:
        with self.folder.scratch("subspace") as scratch:
            model = self._fit(width, scratch)
            sides = []
            for side, frame in (("user", model.user_factors), ("item", model.item_factors)):
                table = frame_of(frame).select(side, "factors").toArrow().sort_by(side)
                factors = table.column("factors").combine_chunks().flatten().to_numpy()
                sides.append(factors.reshape(len(table), -1))
        return objective(self.settings(width), user, item, *sides)

    def _fit(self, width: int, scratch: Folder) -> Any:
        data = TrainingData(ratings=self.train, scale=SCALE)
        return BlockAlsImplicit(self.settings(width)).fit(data, scratch=scratch, seed=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=200_000)
    parser.add_argument("--rank", type=int, default=512)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("build/bench/subspace"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/subspace.json"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    check_irspack(given.work)
    path = ratings_file(given.work, given.ratings)
    table = pq.read_table(path)
    user, item = (table[name].to_numpy() for name in ("user", "item"))
    settings = load(overrides=["session.master=local[2]"], environment={})
    with spark_session(settings.session, name="bench-subspace") as spark:
        spark.sparkContext.setLogLevel("ERROR")
        fits = Fits(spark, path, given)
        mine, exact = (fits.objective(width, user, item) for width in (given.width, 0))
        print(f"   objective {mine:.1f}, by Cholesky {exact:.1f}", flush=True)
        compare(
            f"`block_als_implicit` fit, rank {given.rank}, blocks of {given.width} factors, "
            f"{given.iterations} iterations",
            "our own Cholesky, as many iterations",
            ours=lambda: fits.timed(given.width),
            theirs=lambda: fits.timed(0),
            target=TARGET,
            sizes={
                "ratings": given.ratings,
                "users": int(user.max()) + 1,
                "items": int(item.max()) + 1,
                "our objective": round(mine, 1),
                "their objective": round(exact, 1),
                "more": round(mine / exact - 1, 4),
            },
            versions={},
            out=given.out,
        )


if __name__ == "__main__":
    main()
