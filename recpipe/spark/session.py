"""The only place that builds a SparkSession."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe.errors import MissingError, RecpipeError
from recpipe.runtime import signals
from recpipe.runtime.java import find_java
from recpipe.spark import failures
from recpipe.spark.configuration import configuration, local_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    from recpipe.spark.settings import Session

logger = logging.getLogger(__name__)

_CANCEL_SECONDS = 5
_DEATH_SECONDS = 2
_LAST_TASKS_SECONDS = 2
_LONGEST_WORDS = 200


def submitted() -> bool:
    """Whether spark-submit started this process: then master, memory and jars are its business."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


@contextmanager
def spark_session(
    settings: Session,
    *,
    name: str,
    delta: bool = False,
    verbose: bool = False,
    input_bytes: int | None = None,
    exit_seconds: float = 20,
) -> Iterator[SparkSession]:
    """A session for a `with` statement; a JVM that it started is gone when that ends.

    A setting that spark-submit or conf/spark-defaults.conf gives wins over ours, and
    `session.conf` wins over both. Where recpipe starts the JVM itself, Spark's own log goes to a
    file rather than between our lines, unless `verbose`.

    Args:
        settings: of the session.
        name: the application's name, as Spark's pages show it.
        delta: whether tables are Delta tables.
        verbose: whether Spark's log is shown.
        input_bytes: size of what will be read, as text, where it is known: up to
            `configuration.SMALL_BYTES` a JVM of ours is started for a short life, else for a long
            one.
        exit_seconds: how long a JVM of ours is given to end.

    Raises:
        MissingError: if Java or a jar is missing or the JVM does not start.
        RecpipeError: in place of an error of Spark's that leaves the `with` statement.
    """
    conf = configuration(delta=delta)
    if submitted():
        from pyspark import SparkContext

        # Without the JVM that spark-submit started, a SparkConf does not know what it was given.
        SparkContext._ensure_initialized()  # noqa: SLF001
        session = _build(_merged(conf, settings, name=name))
        try:
            with signals.releasing(lambda: _release(session)), _in_words():
                yield _tuned(session, settings)
        finally:
            session.stop()
        return
    os.environ["JAVA_HOME"] = str(find_java())
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf |= local_configuration(settings, delta=delta, input_bytes=input_bytes)
    logs = Path(tempfile.mkdtemp(prefix="recpipe-spark-"))
    try:
        merged = _merged(conf, settings, name=name)
        log = None if verbose else logs / "spark.log"
        session = _start(merged, log=log)
        try:
            with signals.releasing(lambda: _release(session)), _in_words(log):
                yield _tuned(session, settings)
        finally:
            _stop(session, exit_seconds)
    finally:
        shutil.rmtree(logs, ignore_errors=True)


def _merged(conf: dict[str, str], settings: Session, *, name: str) -> SparkConf:
    """What spark-submit gave, then ours where it gave nothing, and `session.conf` over both."""
    from pyspark import SparkConf

    given = SparkConf()
    for key, value in conf.items():
        given.setIfMissing(key, value)
    for key, value in settings.conf.items():
        given.set(key, value)
    given.setIfMissing("spark.app.name", name)
    if given.get("spark.master", "") != "yarn":
        # Over TCP each task of ours waits 40 ms for its input: the last small packet waits for an
        # acknowledgement that the other side delays. On YARN the sockets would lie in a folder of
        # the container, whose name is too long for them.
        given.setIfMissing("spark.python.unix.domain.socket.enabled", "true")
    return given


def _build(conf: SparkConf) -> SparkSession:
    from pyspark.sql import SparkSession

    return SparkSession.builder.config(conf=conf).getOrCreate()


def _start(conf: SparkConf, *, log: Path | None) -> SparkSession:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    try:
        with _stderr_to(log):
            # In a session of its own: a signal to this process's group must not kill the JVM under
            # our hands. It ends with this process all the same, when its standard input does.
            gateway: Any = launch_gateway(conf, {"start_new_session": True})  # type: ignore[no-untyped-call]
            SparkContext(conf=conf, gateway=gateway)
            session = _build(conf)
    except Exception as error:
        last = log.read_text(errors="replace").strip().splitlines()[-20:] if log else []
        raise MissingError(
            f"Spark did not start: {str(error).splitlines()[0]}",
            hint="see `recpipe doctor`, or --verbose",
            details=tuple(last),
        ) from error
    session.sparkContext.setLogLevel("INFO" if log is None else "WARN")
    return session


@contextmanager
def _stderr_to(log: Path | None) -> Iterator[None]:
    """Processes started inside inherit `log` as their standard error."""
    if log is None:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tuned(session: SparkSession, settings: Session) -> SparkSession:
    jvm: Any = session.sparkContext._jvm  # noqa: SLF001 - nothing public sets what a JVM does
    # As in executors. Without it a thread that takes in results of tasks dies where memory has run
    # out, and nobody tells the job that waits for them: it would wait for ever.
    jvm.java.lang.Thread.setDefaultUncaughtExceptionHandler(
        jvm.org.apache.spark.util.SparkUncaughtExceptionHandler(False)
    )
    partitions = settings.shuffle_partitions
    if not partitions:
        partitions = max(2, 2 * session.sparkContext.defaultParallelism)
    session.conf.set("spark.sql.shuffle.partitions", str(partitions))
    return session


@contextmanager
def _in_words(log: Path | None = None) -> Iterator[None]:
    """Errors of Spark's as our own: their words are asked of the JVM, and that will be gone.

    Args:
        log: of a JVM of ours, where Spark's own log goes.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except Exception as error:
        if _jvm_has_ended():
            raise MissingError(
                f"Spark's Java process has ended by itself{_last_words(log)}",
                hint="it may need more memory: session.driver_memory, or a smaller rank; --verbose"
                " shows its log",
            ) from error
        if not isinstance(error, Py4JError | PySparkException):
            raise
        logger.debug("Spark's own words", exc_info=error)
        notes: list[str] = getattr(error, "__notes__", [])
        raise RecpipeError(
            f"a fault in Spark: {failures.summary(error)}",
            hint="; ".join(notes) or failures.hint(error),
        ) from error


def _jvm_has_ended() -> bool:
    """Whether a JVM that this process started is gone, though nobody has stopped it."""
    from pyspark import SparkContext

    gateway: Any = SparkContext._gateway  # noqa: SLF001 - nothing public knows its process
    process = getattr(gateway, "proc", None)
    if process is None:
        return False
    # Its end is known a moment after that of its connections.
    end = time.monotonic() + _DEATH_SECONDS
    while process.poll() is None and not _answers(gateway) and time.monotonic() < end:
        time.sleep(0.05)
    return process.poll() is not None


def _answers(gateway: Any) -> bool:
    try:
        gateway.jvm.java.lang.System.nanoTime()
    except Exception:  # noqa: BLE001 - whatever it was, there is no answer
        return False
    return True


def _last_words(log: Path | None) -> str:
    """Why, where its log says so."""
    if log is None or not log.exists():
        return ""
    fatal = re.findall(
        r"java\.lang\.(?:OutOfMemory|StackOverflow)Error[^\n]*", log.read_text(errors="replace")
    )
    return f": {fatal[-1][:_LONGEST_WORDS]}" if fatal else ""


def _release(session: SparkSession) -> None:
    """Cancel all jobs, from within the handler of a signal, and wait a moment for their end.

    The main thread's connection to the JVM still waits for the answer of the call that the signal
    came into. Another call on it would wait behind the very job that is to be cancelled, and each
    one after that would take the answer of the one before for its own: so it is given up.
    """
    context = session.sparkContext
    # Py4j has no public door to it.
    gateway: Any = context._gateway  # noqa: SLF001
    with suppress(AttributeError):
        del gateway._gateway_client.thread_connection.connection  # noqa: SLF001
    end = time.monotonic() + _CANCEL_SECONDS
    context.cancelAllJobs()
    while context.statusTracker().getActiveJobsIds() and time.monotonic() < end:
        time.sleep(0.05)
        # Of another thread, which was about to begin one.
        context.cancelAllJobs()
    # Tasks of a cancelled job end a little later, and until then write where is to be cleaned up.
    end = min(end, time.monotonic() + _LAST_TASKS_SECONDS)
    while _tasks_run(session) and time.monotonic() < end:
        time.sleep(0.05)


def _tasks_run(session: SparkSession) -> bool:
    # Python's own tracker does not have this number.
    tracker: Any = session.sparkContext._jsc.sc().statusTracker()  # noqa: SLF001
    return any(executor.numRunningTasks() for executor in tracker.getExecutorInfos())


def _stop(session: SparkSession, exit_seconds: float) -> None:
    """Stop the session and wait for the end of the JVM and, with it, of the Python workers."""
    from pyspark import SparkContext

    # PySpark keeps its gateway for ever; nothing public ends the JVM before this process does.
    gateway: Any = SparkContext._gateway  # noqa: SLF001
    with suppress(Exception):
        session.stop()
    if gateway is None:
        return
    with suppress(Exception):
        gateway.shutdown()
    process = gateway.proc
    process.stdin.close()
    try:
        process.wait(timeout=exit_seconds)
    except Exception:  # noqa: BLE001 - whatever went wrong, no child may stay
        process.kill()
        process.wait()
    SparkContext._gateway = None  # noqa: SLF001
    SparkContext._jvm = None  # noqa: SLF001
