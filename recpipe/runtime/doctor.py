"""What this machine has and lacks for a run: `recpipe doctor`. Starts no Spark."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recpipe.errors import MissingError
from recpipe.runtime import cache, jars
from recpipe.runtime import java as java_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

State = Literal["ok", "warn", "missing"]

_GIB = 1 << 30
_LITTLE_MEMORY, _TOO_LITTLE_MEMORY = 4 * _GIB, 1 * _GIB
_LITTLE_DISK, _TOO_LITTLE_DISK = 5 * _GIB, _GIB // 2
_OLDEST_PYTHON = (3, 11)
_PACKAGES = ("pandas", "pyarrow", "numpy", "numba", "delta-spark")
_NATIVE = ("libblas.so.3", "liblapack.so.3")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what it is.
        state: ok; warn: a run works, but slower or without some option; missing: none works.
        value: what is there, in a few words.
        remedy: what mends it; empty if there is nothing to mend.
    """

    name: str
    state: State
    value: str
    remedy: str = ""


def report() -> list[Finding]:
    """Everything that a run needs, in the order in which it would be missed."""
    return [
        python(),
        java(),
        *packages(),
        torch(),
        blas(),
        kernel_cache(),
        class_archive(),
        delta(),
        memory(_memory_bytes()),
        cores(),
        *disks(),
    ]


def ready(findings: Iterable[Finding]) -> bool:
    """Whether a run finds all that it needs."""
    return all(finding.state != "missing" for finding in findings)


# -- what is looked at --------------------------------------------------------------------------


def python() -> Finding:
    """The interpreter that runs this."""
    value = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info >= _OLDEST_PYTHON:
        return Finding("Python", "ok", value)
    return Finding("Python", "missing", value, "use Python 3.11 or later")


def java() -> Finding:
    """The Java that a session of ours would start."""
    try:
        found = java_runtime.java()
    except MissingError as error:
        return Finding("Java", "missing", error.message, error.hint)
    return Finding("Java", "ok", f"{found.version}, {found.home}")


def packages() -> Iterator[Finding]:
    """PySpark, whose line decides which jars fit, and the libraries beside it."""
    installed = _version("pyspark")
    if installed is None:
        yield Finding("pyspark", "missing", "not installed", "make setup")
    elif not installed.startswith(f"{jars.SPARK_LINE}."):
        yield Finding("pyspark", "warn", installed, f"recpipe is tested on Spark {jars.SPARK_LINE}")
    else:
        yield Finding("pyspark", "ok", installed)
    for name in _PACKAGES:
        installed = _version(name)
        if installed is None:
            yield Finding(name, "missing", "not installed", "make setup")
        else:
            yield Finding(name, "ok", installed)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def torch() -> Finding:
    """What neural models are trained by; every other model, and what is fitted, works without."""
    installed = _version("torch")
    if installed is not None:
        return Finding("PyTorch", "ok", installed)
    return Finding("PyTorch", "ok", "not installed: neural models cannot be fitted (make neural)")


def blas() -> Finding:
    """The libraries that MLlib's ALS looks for; Java code stands in where they are missing."""
    name = "BLAS for MLlib"
    if sys.platform != "linux":
        return Finding(name, "ok", "Java's own: MLlib finds native ones on Linux only")
    loaded: list[ctypes.CDLL] = []
    for library in _NATIVE:
        try:
            loaded.append(ctypes.CDLL(library))
        except OSError:
            remedy = "for a faster ALS: " + _blas_remedy()
            return Finding(name, "warn", f"Java's own: no {library}", remedy)
    if any(hasattr(library, "openblas_get_config") for library in loaded):
        return Finding(name, "ok", "native, OpenBLAS")
    return Finding(name, "warn", "native, the slow reference BLAS or one unknown", _blas_remedy())


def _blas_remedy() -> str:
    if shutil.which("apt-get"):
        return ("" if os.geteuid() == 0 else "sudo ") + "apt-get install -y libopenblas0"
    return f"install OpenBLAS so that {' and '.join(_NATIVE)} are on the library path"


def kernel_cache() -> Finding:
    """Where Numba keeps compiled kernels: without it each process compiles them again."""
    folder = cache.kernel_cache()
    if _writable(folder):
        return Finding("kernel cache", "ok", str(folder))
    return Finding(
        "kernel cache", "warn", f"{folder} is not writable", "set NUMBA_CACHE_DIR or RECPIPE_CACHE"
    )


def class_archive() -> Finding:
    """The archive of Spark's classes: without it each JVM loads and checks them for itself."""
    name = "classes of Spark"
    try:
        archive = cache.class_archive()
    except (MissingError, OSError):
        return Finding(name, "warn", "no Java or no Spark to archive them of", "see above")
    if archive.exists():
        return Finding(name, "ok", str(archive))
    return Finding(
        name,
        "warn",
        "not archived, so Spark starts slower",
        "python -m recpipe.spark.class_archive",
    )


def delta() -> Finding:
    """What `--format delta` needs beyond Spark; everything else works without."""
    try:
        found = jars.delta_jars()
    except MissingError as error:
        return Finding("Delta's jars", "warn", f"--format delta will not work: {error.message}",
                       error.hint)  # fmt: skip
    return Finding("Delta's jars", "ok", f"{len(found)} in {found[0].parent}")


def memory(total: int) -> Finding:
    """A finding on `total` bytes: of the machine, or of the container around us."""
    value = f"{total / _GIB:.1f} GiB"
    if total < _TOO_LITTLE_MEMORY:
        return Finding("memory", "missing", value, "give this machine or container 4 GiB or more")
    if total < _LITTLE_MEMORY:
        return Finding("memory", "warn", value, "enough for small data; session.driver_memory")
    return Finding("memory", "ok", value)


def _memory_bytes() -> int:
    import psutil

    total = int(psutil.virtual_memory().total)
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return total


def cores() -> Finding:
    """The cores that this process may use; `local[*]` takes them all."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Finding("cores", "ok", str(count))


def disks() -> Iterator[Finding]:
    """Free room where Spark spills and where the cache is."""
    spill = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir()
    yield disk("disk for shuffles", Path(spill), "set SPARK_LOCAL_DIRS to a larger disk")
    yield disk("disk for the cache", cache.cache_folder(), "set RECPIPE_CACHE")


def disk(name: str, folder: Path, remedy: str) -> Finding:
    """A finding on the file system that holds `folder`, or will."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    value = f"{free / _GIB:.1f} GiB free, {folder}"
    if free < _TOO_LITTLE_DISK:
        return Finding(name, "missing", value, remedy)
    if free < _LITTLE_DISK:
        return Finding(name, "warn", value, remedy)
    return Finding(name, "ok", value)


def _writable(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


# -- what is said -------------------------------------------------------------------------------

_COLOURS: dict[State, str] = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def main() -> int:
    """Print the report; 0 if a run finds all that it needs, else the code of MissingError."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    findings = report()
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        # Text, not markup: a path may hold square brackets.
        said = Text(finding.value)
        if finding.remedy:
            said.append(f"\n{finding.remedy}", style="cyan")
        table.add_row(Text(finding.state, style=_COLOURS[finding.state]), finding.name, said)
    console = Console()
    # Where nobody watches, a line is a line: nothing is wrapped at 80 columns.
    (console if console.is_terminal else Console(width=1000)).print(table)
    return 0 if ready(findings) else MissingError.exit_code
