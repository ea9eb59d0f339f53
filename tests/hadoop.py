"""A real HDFS and YARN for tests: MiniHadoop.java, started and always ended."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING

import pyspark

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
JARS = Path(os.environ.get("RECPIPE_CLUSTER_JARS", HERE.parent / "build" / "cluster-jars"))
_SPARK_JARS = Path(pyspark.__file__).parent / "jars"
# What the cluster shares with Spark, so that both speak one version of Hadoop.
_SHARED = ("hadoop-client-api-*", "hadoop-client-runtime-*", "slf4j-api-*", "log4j-*",
           "javax.servlet-api-*")  # fmt: skip
_START_SECONDS = 240
_STOP_SECONDS = 30


@dataclass(frozen=True)
class Hadoop:
    """A running cluster.

    Args:
        uri: the file system's root, `hdfs://localhost:<port>`.
        conf: the folder of core-site.xml and yarn-site.xml.
        work: the folder below which the cluster keeps all of its files.
    """

    uri: str
    conf: Path
    work: Path

    def put(self, local: Path, path: str) -> None:
        """Copy a local file or folder to HDFS."""
        self._shell("-put", str(local), path)

    def get(self, path: str, local: Path) -> None:
        """Copy a file or folder of HDFS to this disk."""
        self._shell("-get", path, str(local))

    def container_logs(self, lines: int = 60) -> str:
        """The ends of what the containers of all applications wrote so far."""
        # Nothing else is walked through: what applications unpacked goes while one looks.
        logs = "test/data/*/*/*-logDir-nm-*/application_*/container_*"
        files = [*self.work.glob(f"{logs}/stdout"), *self.work.glob(f"{logs}/stderr")]
        return "\n".join(
            "\n".join([f"--- {file}", *file.read_text(errors="replace").splitlines()[-lines:]])
            for file in sorted(files)
        )

    def _shell(self, *arguments: str) -> None:
        command = ["java", "-cp", _class_path(self.conf), "org.apache.hadoop.fs.FsShell"]
        subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)


def _class_path(*folders: Path) -> str:
    jars = [jar for pattern in _SHARED for jar in sorted(_SPARK_JARS.glob(f"{pattern}.jar"))]
    return os.pathsep.join(map(str, [*folders, *jars, *sorted(JARS.glob("*.jar"))]))


def why_not() -> str:
    """Why no cluster can start here; empty if one can."""
    if not (JARS / ".complete").exists():
        return "no jars of Hadoop's test cluster: run `make cluster-jars` (it needs Maven)"
    if shutil.which("javac") is None:
        return "Hadoop's test cluster needs a JDK, and here is only a Java runtime"
    return ""


@contextmanager
def running(folder: Path) -> Iterator[Hadoop]:
    """HDFS with two data nodes and YARN with two node managers, below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "hadoop.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["java", "-Xmx768m", "-XX:TieredStopAtLevel=1", "-cp", _class_path(),
             str(HERE / "cluster" / "MiniHadoop.java")],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        uri = _await_ready(process, process.stdout, log)
        yield Hadoop(uri, conf=folder / "conf", work=folder / "target")
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _await_ready(process: subprocess.Popen[str], out: IO[str], log: Path) -> str:
    found: list[str] = []

    def read() -> None:
        for line in out:
            if line.startswith("READY "):
                found.append(line.split()[1])
                return

    reader = Thread(target=read, daemon=True)
    reader.start()
    reader.join(_START_SECONDS)
    if not found:
        process.kill()
        last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"Hadoop did not start within {_START_SECONDS} s:\n{last}")
    return found[0]
