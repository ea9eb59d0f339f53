"""Whether and how a barrier stage runs: on the driver, but for `joined`."""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pyspark import BarrierTaskContext

from recpipe.distributed.transport import PeerLostError, Ring
from recpipe.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from recpipe.distributed.transport import Keys

_LOOK_SECONDS = 1.0
_ENCRYPTING = (
    "spark.network.crypto.enabled",
    "spark.authenticate.enableSaslEncryption",
    "spark.ssl.enabled",
    "spark.ssl.rpc.enabled",
)
"""Settings by which what executors say to each other is encrypted, as long as Spark carries it."""


def obstacle(spark: SparkSession, *, tasks: int, what: str = "the ring") -> str:
    """Why so many tasks that speak to each other cannot run here now; empty where they can.

    Args:
        spark: the session.
        tasks: that must run at the same time.
        what: they are, in words.
    """
    context = spark.sparkContext
    dynamic = str(context.getConf().get("spark.dynamicAllocation.enabled", "false")).lower()
    # A local master has nothing to allocate, and Spark does not look at the setting there.
    if dynamic == "true" and not str(context.master).startswith("local"):
        return "spark.dynamicAllocation.enabled is on, and with it Spark runs no barrier stage"
    for setting in _ENCRYPTING:
        if str(context.getConf().get(setting, "false")).lower() == "true":
            return f"{setting} is on, and connections of {what} are not encrypted"
    there = slots(spark)
    return f"{what} needs {tasks} slots at once, and {there} are there" * (there < tasks)


def slots(spark: SparkSession) -> int:
    """How many tasks can run at once, by the very count that Spark admits a barrier stage by."""
    context: Any = spark.sparkContext._jsc.sc()  # noqa: SLF001 - nothing public has this number
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))


def joined(keys: Keys) -> Ring:
    """In a task of a barrier stage: its place in the ring."""
    context = BarrierTaskContext.get()
    infos = context.getTaskInfos()
    place = context.partitionId()
    return Ring(
        place=place,
        tasks=len(infos),
        host=infos[place].address.rsplit(":", 1)[0].strip("[]"),
        gather=context.allGather,
        keys=keys,
    )


@contextmanager
def admitted(
    spark: SparkSession, name: str, *, tasks: int, patience: float, otherwise: str = ""
) -> Iterator[None]:
    """Jobs of the block end when the slots they need are gone for long: Spark would wait.

    Args:
        spark: the session.
        name: of the model, for errors.
        tasks: of the ring.
        patience: seconds without slots enough after which it is given up.
        otherwise: what else to do, for the hint; by default to let Spark carry what tasks say.

    Raises:
        MissingError: then.
        PeerLostError: if tasks do not reach each other, each time that Spark tries.
    """
    context = spark.sparkContext
    tag = f"{name}-ring-{uuid.uuid4().hex}"
    over, missing = Event(), Event()

    def watch() -> None:
        short = 0.0
        while not over.wait(_LOOK_SECONDS):
            short = 0.0 if slots(spark) >= tasks else short + _LOOK_SECONDS
            if short >= patience:
                missing.set()
                context.cancelJobsWithTag(tag)

    watcher = Thread(target=watch, daemon=True)
    context.addJobTag(tag)
    watcher.start()
    try:
        yield
    except Exception as error:
        if missing.is_set() or "SPARK-24819" in str(error):
            raise MissingError(
                f"{name}: its tasks need {tasks} slots at once, and fewer are left",
                hint="bring the executors back, or "
                + (otherwise or f"set {name}.exchange to spark"),
            ) from error
        if said := re.search(rf"PeerLostError: ({name} ring: [^\n]*)", str(error)):
            raise PeerLostError(said[1]) from error
        raise
    finally:
        over.set()
        context.removeJobTag(tag)
        watcher.join()
