"""How a network is trained by several processes: the seam between a model and the loop.

A model brings a `Job`, which says what its network is and what it learns from, and calls
`train_network` on the driver:

    trained = train_network([Feed(packed(likings, buckets=n), kinds)], job, plan, scratch=scratch)

Each process begins the job with its `Shard`: the interactions of its own users, which are those
whose number modulo `plan.processes` is the rank of the process. It holds them, all parameters that
are shared, and those rows that belong to its users alone. In every step each process takes a batch
of its own; the gradients of shared parameters are summed over the processes, so that all take the
same step. What the processes know at the end goes to a table; of it the driver reads the learning
curve alone.

A job imports PyTorch in its methods only, since the driver pickles it. A network is a
`torch.nn.Module`; two things of it matter to the loop:

- `local`, if it has one: a set of names, as `named_parameters` has them, of the parameters that
  belong to the users of the process. Their gradients stay in it.
- Weights of `torch.nn.Embedding(..., sparse=True)` are moved by SparseAdam, which touches only the
  rows of a batch, and processes send each other only these rows. All others are moved by Adam, and
  their gradients are sent whole in every step.

One seed and one number of processes make the same bits on CPUs: a process computes in one thread by
deterministic algorithms, and sums of gradients are taken in a fixed order.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from pyspark.sql import functions as F

from recpipe.distributed import admitted, obstacle, slots
from recpipe.errors import FitError, MissingError
from recpipe.models.neural.extra import TORCH
from recpipe.spark import failures
from recpipe.spark.columns import batch_of
from recpipe.spark.held import plain_plans
from recpipe.spark.interactions import together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

    from recpipe.spark.interactions import Reader
    from recpipe.storage import Folder, Stored

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "gpu"]

ROWS = "part string, number int, values array<float>"
"""What processes know at the end: rows of numbers, each of a part, such as `user` or `item`. The
parts `curve` and `kept` are the loop's own; see `Trained`."""
CURVE, KEPT = "curve", "kept"
_ROWS_AT_ONCE = 1 << 13

_SLOT_SECONDS = 60.0
"""Seconds without enough slots after which a fit is given up."""
_LIKINGS_OF_A_PROCESS = 500_000
"""Likings of a process under auto, at most: more processes would wait more than they compute."""


class Shard(NamedTuple):
    """What a process is given.

    Args:
        rank: of the process, from 0.
        processes: how many there are.
        arrays: what the reader of each feed has made of the rows of the users of this process.
            Rows come in any order: sort what must not depend on it.
    """

    rank: int
    processes: int
    arrays: list[Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """What a process learns from in a step.

    Args:
        count: of examples: the sum of gradients over all processes is divided by the sum of these.
        arrays: handed to `Work.loss` as tensors on the device, in the same order.
    """

    count: int
    arrays: tuple[NDArray[Any], ...]


class Phase(NamedTuple):
    """A network to be trained.

    Args:
        network: a `torch.nn.Module`; all processes begin with the shared parameters of the first.
        epochs: passes, exactly; None: `Plan.epochs`, or fewer where validation ends it early.
    """

    network: Any
    epochs: int | None = None


class Work(Protocol):
    """A job with its shard, in a process."""

    def phases(self) -> Iterator[Phase]:
        """The networks to be trained, one after the other; the last one is the fitted one.

        The next is asked for when the one before is trained, so that it may begin with what that
        has learned. PyTorch's random numbers are seeded by then.
        """
        ...

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch; another process may have more or fewer.

        Args:
            rng: by seed, epoch and rank.
        """
        ...

    def loss(self, network: Any, tensors: tuple[Any, ...]) -> Any:
        """The sum (a tensor) of the losses of the examples of a batch."""
        ...

    def validation(self, network: Any) -> tuple[float, float]:
        """A sum over what this process has of validation, and the number of its terms.

        The lower the mean over all processes, the better the network; (0, 0) without validation.
        Called without gradients after each epoch; must not draw other random numbers each time.
        """
        ...

    def rows(self, network: Any) -> Iterator[pa.RecordBatch]:
        """`ROWS` of what this process knows: of its users, and of rank 0 what is shared as well."""
        ...


class Job(Protocol):
    """What a model has processes do: arrays and scalars only, since it is sent to them."""

    def begin(self, shard: Shard, seed: int) -> Work:
        """In a process: the job with its shard."""
        ...


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Args:
        name: of the model, for errors.
        epochs: passes over all batches, at most.
        learning_rate: step size of Adam.
        seed: of everything random.
        processes: how many there are; one runs in a task as any other work of Python does.
        patience: epochs without a better validation after which it ends; 0: it runs all epochs.
            The parameters of the best epoch are kept either way.
        betas: the decay rates of Adam's two moments.
        weight_decay: that of AdamW, for all parameters but the sparse ones.
        gpu: whether processes compute on GPUs that Spark gives their tasks.
    """

    name: str
    epochs: int
    learning_rate: float
    seed: int
    processes: int = 1
    patience: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    gpu: bool = False


class Feed(NamedTuple):
    """Interactions for the processes.

    Args:
        frame: `interactions.PACKED`, by as many buckets as there are processes.
        reader: of its rows in a process, such as `interactions.Kinds`.
    """

    frame: DataFrame
    reader: Reader


class Epoch(NamedTuple):
    """How an epoch went.

    Args:
        epoch: from 1.
        loss: mean over the examples, while they were learned from.
        validation: mean of `Work.validation` after it; None without validation.
    """

    epoch: int
    loss: float
    validation: float | None


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a training.

    Args:
        table: `ROWS`, in the scratch of the fit.
        curve: the epochs of the last network.
        best: the epoch whose parameters were kept.
    """

    table: Stored
    curve: tuple[Epoch, ...]
    best: int

    def part(self, name: str) -> DataFrame:
        """(number int, values array<float>) of one part."""
        return self.table.frame.where(F.col("part") == name).select("number", "values")

    @property
    def report(self) -> list[dict[str, float]]:
        """The curve for `info`."""
        return [
            {"epoch": at.epoch, "train_loss": at.loss}
            | ({} if at.validation is None else {"validation_loss": at.validation})
            for at in self.curve
        ]


def processes_for(
    spark: SparkSession, setting: Literal["auto"] | int, *, likings: int, name: str
) -> int:
    """How many processes train.

    Args:
        spark: the session.
        setting: auto: one for every 500,000 likings, but no more than run at once here.
        likings: that are learned from.
        name: of the model.

    Raises:
        MissingError: if so many as were set cannot run here at the same time.
    """
    if setting != "auto":
        found = setting
    else:
        found = max(1, min(math.ceil(likings / _LIKINGS_OF_A_PROCESS), slots(spark)))
        if found > 1 and (reason := obstacle(spark, tasks=found, what=name)):
            log.info("%s: one process: %s", name, reason)
            found = 1
    if found > 1 and (reason := obstacle(spark, tasks=found, what=name)):
        raise MissingError(
            f"{name}.processes = {found}: {reason}", hint=f"set {name}.processes to auto"
        )
    return found


def on_gpu(spark: SparkSession, setting: Device, *, name: str) -> bool:
    """Whether processes compute on GPUs: auto: where Spark gives each task one.

    Raises:
        MissingError: if GPUs are asked for and Spark gives tasks none, or several.
    """
    amount = float(spark.conf.get("spark.task.resource.gpu.amount", "0") or 0)
    if setting == "gpu" and amount != 1:
        raise MissingError(
            f"{name}.device = gpu: spark.task.resource.gpu.amount is {amount:g}",
            hint=f"set it to 1 on a cluster with GPUs, or {name}.device to cpu",
        )
    return setting != "cpu" and amount == 1


def train_network(feeds: Sequence[Feed], job: Job, plan: Plan, *, scratch: Folder) -> Trained:
    """Train a network, by PyTorch, on the executors; the driver holds none of its parameters.

    A process holds its shard, all shared parameters and the rows of its users; and of each of these
    parameters two moments, a gradient and, with validation, a copy.

    Args:
        feeds: what processes learn from.
        job: what they do.
        plan: of the training.
        scratch: of the fit.

    Raises:
        FitError: if it diverges, or a process fails.
        MissingError: if PyTorch is not installed, or there are too few slots for the processes.
    """
    TORCH.need(plan.name)
    from recpipe.models.neural.launch import task

    spark = feeds[0].frame.sparkSession
    table = f"{plan.name}-trained"
    # Each partition gets a row, for a process that has no users must begin all the same.
    nothing = F.lit(b"")
    every = spark.range(plan.processes).select(
        F.col("id").cast("int").alias("bucket"), nothing.alias("keys"), nothing.alias("values")
    )
    frames = [feed.frame for feed in feeds]
    shards = together([*frames, every], buckets=plan.processes)
    readers = [*(feed.reader for feed in feeds), _no_reader]
    work, barrier = task(shards, job, plan, readers)
    with (
        failures.as_fit_errors(plan.name),
        plain_plans(spark),
        admitted(
            spark,
            plan.name,
            tasks=plan.processes,
            patience=_SLOT_SECONDS,
            otherwise=f"set {plan.name}.processes lower",
        ),
    ):
        rows = shards.mapInArrow(work, ROWS, barrier=barrier)
        # Spark runs a failed barrier stage again, as a whole, where its rows go into a shuffle; one
        # that writes the table itself would fail the job.
        scratch.write_table(table, rows.repartition(plan.processes, "number"))
        stored = scratch.stored(table)
        told = stored.frame.where(F.col("part").isin(CURVE, KEPT)).collect()
    curve = sorted((row.number, *row["values"]) for row in told if row.part == CURVE)
    best = next((row.number for row in told if row.part == KEPT), 0)
    epochs = tuple(Epoch(n, loss, rest[0] if rest else None) for n, loss, *rest in curve)
    if not best:
        raise FitError(
            f"{plan.name}: loss or parameters are not finite after epoch {len(epochs)}",
            hint=f"lower {plan.name}.learning_rate",
        )
    return Trained(stored, epochs, best)


def rows_of(
    part: str, numbers: NDArray[np.int32], values: NDArray[np.float32]
) -> Iterator[pa.RecordBatch]:
    """In a process: `ROWS` of one part, some at a time.

    Args:
        part: its name.
        numbers: (n,) of the rows.
        values: (n, width) what each has.
    """
    import numpy as np
    import pyarrow as pa

    for start in range(0, len(numbers), _ROWS_AT_ONCE):
        some = np.ascontiguousarray(values[start : start + _ROWS_AT_ONCE])
        ends = np.arange(len(some) + 1, dtype=np.int32) * some.shape[1]
        lists = pa.ListArray.from_arrays(ends, some.ravel())
        own = numbers[start : start + _ROWS_AT_ONCE].astype(np.int32)
        yield batch_of(ROWS, [part] * len(some), own, lists)


def _no_reader(_keys: list[bytes], _values: list[bytes]) -> None:
    return None


__all__ = [
    "CURVE", "KEPT", "ROWS", "Batch", "Device", "Epoch", "Feed", "Job", "Phase", "Plan", "Shard",
    "Trained", "Work", "on_gpu", "processes_for", "rows_of", "train_network",
]  # fmt: skip
