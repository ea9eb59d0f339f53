"""Processes that train: one within a task, or several by Spark's TorchDistributor.

TorchDistributor runs a barrier stage. Each of its tasks writes its partition to a local Arrow file,
starts a process by PyTorch's own launcher and waits for it; the processes find each other at the
address of the first. Spark's own code would bring the output of the first process to the driver.
Here each process writes what it knows to a local file, whose rows its task hands to Spark, so that
all tasks together write a table.

A single process has no other to find. It runs in the worker of its task, which needs no barrier and
does not start two further interpreters that load PyTorch.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe.errors import FitError
from recpipe.models.neural.training import ROWS, Shard
from recpipe.spark.columns import arrow_schema
from recpipe.spark.interactions import arrays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from recpipe.models.neural.training import Job, Plan
    from recpipe.spark.interactions import Reader

    Batches = Iterator[pa.RecordBatch]

_PLACE = "RECPIPE_NEURAL_PLACE"
"""The environment variable by which a process finds the folder of its task."""
_FOUND, _FAILED = "rows.arrow", "error.txt"
_MAX_WAIT = timedelta(minutes=10)
"""How long a process waits for the others: one may have a larger shard to read, or to rank."""


def task(
    shards: DataFrame, job: Job, plan: Plan, readers: Sequence[Reader]
) -> tuple[Callable[[Batches], Batches], bool]:
    """The function of a task over a partition of `shards`, and whether the stage needs a barrier.

    Args:
        shards: `interactions.together`, a partition for each process.
        job: what the processes do.
        plan: of the training.
        readers: of each frame that `shards` is made of.
    """
    if plan.processes == 1 and not plan.gpu:
        return partial(_in_worker, job=job, plan=plan, readers=readers), False
    from pyspark.ml.torch.distributor import TorchDistributor

    distributor = TorchDistributor(num_processes=plan.processes, local_mode=False, use_gpu=plan.gpu)
    # So the driver opens no port for what processes print.
    distributor.driver_address, distributor.log_streaming_server_port = "", -1
    # The only function by which Spark 4.2 feeds partitions of a frame to processes; it is private.
    inner = distributor._get_spark_task_function(  # noqa: SLF001
        TorchDistributor._run_training_on_pytorch_function,  # noqa: SLF001
        _process,
        TorchDistributor._run_training_on_pytorch_file,  # noqa: SLF001
        shards,
        job,
        plan,
        readers,
    )
    return partial(_with_process, inner=inner), True


def _in_worker(batches: Batches, *, job: Job, plan: Plan, readers: Sequence[Reader]) -> Batches:
    """The only process is the worker of the task."""
    _check_torch()
    from recpipe.models.neural.loop import Alone, run

    yield from run(job, plan, Shard(0, 1, arrays_of(batches, readers)), Alone())


def _with_process(batches: Batches, *, inner: Callable[[Batches], Batches]) -> Batches:
    """In a task: a process of its own computes, and the task hands on the rows that it wrote."""
    import pyarrow as pa
    from pyspark import SparkFiles

    _check_torch()
    with tempfile.TemporaryDirectory(dir=SparkFiles.getRootDirectory()) as place:
        try:
            with _environment(place), redirect_stdout(io.StringIO()), warnings.catch_warnings():
                # One of them says that no server collects what processes print; errors quote it.
                warnings.simplefilter("ignore")
                for _ in inner(batches):
                    pass
        except RuntimeError as error:
            said = Path(place, _FAILED)
            if said.exists():
                raise FitError(said.read_text(encoding="utf-8")) from error
            raise
        with pa.memory_map(str(Path(place, _FOUND))) as file:
            yield from pa.ipc.open_stream(file)


def _process(job: Job, plan: Plan, readers: Sequence[Reader]) -> None:
    """In a process that PyTorch's launcher has started."""
    place = Path(os.environ[_PLACE])
    try:
        _run(job, plan, readers, place)
    except Exception as error:
        place.joinpath(_FAILED).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise


def _run(job: Job, plan: Plan, readers: Sequence[Reader], place: Path) -> None:
    import pyarrow as pa
    import torch.distributed as dist
    from pyspark.ml.torch.distributor import SPARK_PARTITION_ARROW_DATA_FILE

    from recpipe.models.neural.loop import Processes, run

    dist.init_process_group("nccl" if plan.gpu else "gloo", timeout=_MAX_WAIT)
    with pa.memory_map(os.environ[SPARK_PARTITION_ARROW_DATA_FILE]) as file:
        arrays = arrays_of(iter(pa.ipc.open_stream(file)), readers)
    shard = Shard(dist.get_rank(), dist.get_world_size(), arrays)
    with (
        pa.OSFile(str(place / _FOUND), "wb") as file,
        pa.ipc.new_stream(file, arrow_schema(ROWS)) as writer,
    ):
        for batch in run(job, plan, shard, Processes()):
            writer.write_batch(batch)
    dist.destroy_process_group()


def _check_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise ModuleNotFoundError(
            "PyTorch is not installed where Spark's tasks run: install it there, or send what"
            " `recpipe pack --extra neural` packs"
        )


@contextmanager
def _environment(place: str) -> Iterator[None]:
    """The environment of the process; restored afterwards, since Spark uses the worker again."""
    before = dict(os.environ)
    os.environ[_PLACE] = place
    # This interpreter knows what came by --py-files; one that it starts does not.
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.environ["OMP_NUM_THREADS"] = "1"
    if name := _interface():
        # Else Gloo takes the interface of the host's name, which other hosts may not reach.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _interface() -> str | None:
    """The network interface of the address by which Spark knows this executor."""
    import socket

    import psutil
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    infos = context.getTaskInfos()
    host = infos[context.partitionId()].address.rsplit(":", 1)[0].strip("[]")
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return None
    found: Any = psutil.net_if_addrs()
    return next((name for name, own in found.items() for at in own if at.address == address), None)


__all__ = ["task"]
