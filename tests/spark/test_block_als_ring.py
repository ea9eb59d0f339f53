"""The ring of block_als: the bits of the exchange by Spark, whoever is killed on the way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recpipe.distributed import PeerLostError
from recpipe.errors import FitError, MissingError
from recpipe.feedback import Scale
from recpipe.models.als.block.model import BlockAls, BlockAlsImplicit
from recpipe.models.als.block.packing import counted
from recpipe.models.als.block.ring import Ring
from recpipe.models.als.block.solving import Solve
from recpipe.models.als.block.whole import Whole
from recpipe.models.als.settings import BlockAlsImplicitSettings, BlockAlsSettings
from recpipe.models.data import TrainingData
from recpipe.storage import Folder
from tests.caching import cached
from tests.rings import kill_a_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.models.als.block.packing import Packed

pytestmark = pytest.mark.timeout(180)
RATINGS = "user int, item int, rating float"
SCALE = Scale(min=1, max=5, step=1)
RANK = 5


@pytest.fixture(scope="module")
def train(spark: SparkSession) -> DataFrame:
    rng = np.random.default_rng(3)
    rows = [
        (u, 3 * i, float(rng.integers(1, 6)))
        for u in range(60)
        for i in range(40)
        if rng.random() < 0.3
    ]
    return spark.createDataFrame(rows, RATINGS)


def plan_of(*, implicit: bool, solver: Any = "cholesky") -> Solve:
    if implicit:
        objective = BlockAlsImplicit(BlockAlsImplicitSettings(rank=RANK)).objective()
    else:
        objective = BlockAls(BlockAlsSettings(rank=RANK)).objective()
    own = {"solver": "cholesky", "subspace": 2} if solver == "subspace" else {"solver": solver}
    return Solve("block_als", objective, **{"cg_steps": 3, "subspace": 0, "seed": 11, **own})


@pytest.fixture
def packed(train: DataFrame) -> Iterator[Packed]:
    with counted(train, name="block_als") as found:
        ready = found.pack(blocks=5, tasks=2, rank=RANK)
        yield ready
        ready.release()


def by_spark(packed: Packed, plan: Solve, iterations: int) -> list[NDArray[np.float32]]:
    whole = Whole(packed, plan)
    held = whole.train(iterations)
    factors = [one.value.factors for one in held]
    for one in held:
        whole.release(one)
    return factors


@pytest.mark.parametrize(
    ("implicit", "solver"),
    [(False, "cholesky"), (True, "cholesky"), (True, "cg"), (True, "subspace")],
)
def test_the_ring_ends_in_the_bits_of_the_exchange_by_spark(
    packed: Packed, implicit: bool, solver: str
) -> None:
    plan = plan_of(implicit=implicit, solver=solver)

    ring = Ring(packed, plan).train(3)

    for ours, expected in zip(ring, by_spark(packed, plan, 3), strict=True):
        assert ours.tobytes() == expected.tobytes()


def test_a_fit_in_several_stages_is_that_of_one(packed: Packed) -> None:
    plan = plan_of(implicit=True)

    several = Ring(packed, plan, min_seconds=0.0).train(3)

    for ours, expected in zip(several, Ring(packed, plan).train(3), strict=True):
        assert ours.tobytes() == expected.tobytes()


def test_tasks_share_out_the_blocks_and_change_no_bit(train: DataFrame) -> None:
    plan = plan_of(implicit=True)
    found = []
    for tasks in (1, 2):
        with counted(train, name="block_als") as ratings:
            packed = ratings.pack(blocks=3, tasks=tasks, rank=RANK)
            assert packed.sent.rdd.getNumPartitions() == tasks
            found.append(Ring(packed, plan).train(2))
            packed.release()
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()


def test_a_worker_killed_in_the_middle_changes_no_bit(packed: Packed) -> None:
    plan = plan_of(implicit=False)
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker, args=(killed,))
    killer.start()

    ring = Ring(packed, plan).train(4000)

    killer.join()
    assert killed
    for ours, expected in zip(ring, Ring(packed, plan).train(4000), strict=True):
        assert ours.tobytes() == expected.tobytes()


def test_a_row_that_nothing_determines_is_named_and_nothing_stays_cached(
    spark: SparkSession, tmp_path: Path
) -> None:
    before = cached(spark)
    train = spark.createDataFrame([(u, 7, 3.0) for u in range(9)], RATINGS)
    own = BlockAlsSettings(rank=RANK, regularization=0, blocks=4, exchange="ring")

    with pytest.raises(FitError, match="block_als: the factors of user 0 are not determined"):
        fitted(spark, tmp_path, train, own)

    assert cached(spark) <= before


def test_a_ring_that_cannot_be_is_refused_only_where_it_was_asked_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    # 20,000 items at 64 bytes are more than one MiB; a block's ratings name a third of them.
    train = spark.range(20_000).selectExpr(
        "cast(pmod(id * 7, 30) as int) user", "cast(id as int) item", "cast(3 as float) rating"
    )
    own = BlockAlsSettings(rank=RANK, iterations=1, blocks=4, max_broadcast_mb=1)

    with pytest.raises(MissingError, match=r"block_als\.exchange = ring: .*max_broadcast_mb") as no:
        fitted(spark, tmp_path, train, own.model_copy(update={"exchange": "ring"}))
    assert no.value.exit_code == 5
    assert fitted(spark, tmp_path, train, own).info()["exchange"] == "by block"


def test_tasks_that_do_not_reach_each_other_are_named(packed: Packed) -> None:
    ring = Ring(packed, plan_of(implicit=False), silence=0.0)  # not a moment

    with pytest.raises(PeerLostError, match=r"block_als ring: task \d .* task \d at") as lost:
        ring.train(1)

    assert "set block_als.exchange to spark" in str(lost.value)


def fitted(spark: SparkSession, folder: Path, train: DataFrame, own: BlockAlsSettings) -> Any:
    scratch = Folder(spark, folder) / "scratch"
    data = TrainingData(ratings=train, scale=SCALE)
    return BlockAls(own).fit(data, scratch=scratch, seed=1)
