"""A real standalone Spark cluster for tests: one master and two workers, as processes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyspark

from recpipe.runtime.java import find_java
from tests.java import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORKERS = 2
_START_SECONDS = 120
_STOP_SECONDS = 30
_SPARK_HOME = Path(pyspark.__file__).parent


@dataclass(frozen=True)
class Standalone:
    """A running cluster.

    Args:
        master: its URL, `spark://127.0.0.1:<port>`.
        work: the folder of each worker, in which executors have their working directories.
    """

    master: str
    work: tuple[Path, ...]


@contextmanager
def running(folder: Path) -> Iterator[Standalone]:
    """A master and two workers of one core and one executor of 1 GiB each, on 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = folder / "master.log"
        stack.enter_context(_daemon("master.Master", log=log, home=folder))
        master = _await(log, r"Starting Spark master at (spark://\S+)")
        work = []
        for number in range(WORKERS):
            home = folder / f"worker-{number}"
            home.mkdir()
            log = folder / f"worker-{number}.log"
            options = ["--cores", "1", "--memory", "1536m", "--work-dir", str(home), master]
            stack.enter_context(_daemon("worker.Worker", *options, log=log, home=home))
            work.append(home)
            _await(log, r"(Successfully registered with master)")
        yield Standalone(master, tuple(work))


@contextmanager
def _daemon(name: str, *options: str, log: Path, home: Path) -> Iterator[None]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [_SPARK_HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{name}",
             "--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *options],
            cwd=home, env=_bare_environment(home), stdout=stream, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield
    finally:
        # A worker that is asked to end takes its executors with it.
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _bare_environment(home: Path) -> Mapping[str, str]:
    """Nothing of this virtual environment: executors must bring what they import with them."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        # Under the POSIX locale Java can name no file that is not ASCII.
        "LANG": "C.UTF-8",
        "JAVA_HOME": str(find_java()),
        "SPARK_HOME": str(_SPARK_HOME),
        "SPARK_LOCAL_DIRS": str(home),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK,
    }


def _await(log: Path, pattern: str) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found[1]
        time.sleep(0.2)
    raise RuntimeError(f"no {pattern!r} within {_START_SECONDS} s:\n{log.read_text()[-3000:]}")
