"""Two ways of one work in one run: alternating, warm, medians; results saved as they come."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

PEERS = Path(__file__).parents[1] / "build" / "peers"
JAVA_BLAS = " ".join(
    f"-Ddev.ludovic.netlib.{library}.allowNative=false" for library in ("blas", "lapack", "arpack")
)
"""Options of a JVM whose MLlib must not change with a native BLAS that is installed for ours."""
_LONG_SECONDS = 60
_OURS = ("pyspark", "numpy", "numba", "pyarrow")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def write_table(folder: Path, table: pa.Table, *, files: int = 1, groups: int = 1) -> None:
    """A folder of Parquet files, as Spark leaves a table, each of some row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(table)), files)):
        part = table.slice(rows[0], len(rows))
        size = len(rows) // groups + 1
        pq.write_table(part, folder / f"part-{number:05d}.parquet", row_group_size=size)
    (folder / "_SUCCESS").touch()


class Contender(NamedTuple):
    """One of ours.

    Args:
        work: what is done.
        seconds: does it once and returns its seconds.
        target: of ours / theirs.
        sizes: of the input.
    """

    work: str
    seconds: Callable[[], float]
    target: float
    sizes: Mapping[str, Any]


def compare(
    work: str,
    against: str,
    *,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    target: float,
    sizes: Mapping[str, Any],
    versions: Mapping[str, str],
    out: Path,
) -> None:
    """`compare_all` of one of ours, after a warm-up of both sides."""
    ours()
    theirs()
    contender = Contender(work, ours, target, sizes)
    compare_all([contender], against, theirs=theirs, versions=versions, out=out)


def compare_all(
    contenders: Sequence[Contender],
    against: str,
    *,
    theirs: Callable[[], float],
    versions: Mapping[str, str],
    out: Path,
) -> None:
    """Time each of ours and the other side in turns, print and save medians and ratios.

    Args:
        contenders: of ours, all of which have run before.
        against: the other side in words.
        theirs: does its work once, which it has done before, and returns its seconds.
        versions: of the other side.
        out: a JSON file; a row of the same work and rival in it is replaced, after each round.

    Five rounds, or three where the other side takes over a minute.
    """
    mine: list[list[float]] = [[] for _ in contenders]
    other: list[float] = []
    while len(other) < (3 if max(other, default=0) > _LONG_SECONDS else 5):
        for taken, contender in zip(mine, contenders, strict=True):
            taken.append(contender.seconds())
        other.append(theirs())
        print("   ours", *[f"{taken[-1]:.2f} s," for taken in mine], end="")
        print(f" theirs {other[-1]:.2f} s", flush=True)
        for row in _rows(contenders, mine, other, against, versions):
            save(row, out)
    for row in _rows(contenders, mine, other, against, versions):
        print("{work} / {against}: {ours_seconds} s / {theirs_seconds} s = {ratio} (<= {target})"
              .format_map(row), flush=True)  # fmt: skip


def _rows(
    contenders: Sequence[Contender],
    mine: Sequence[Sequence[float]],
    other: Sequence[float],
    against: str,
    versions: Mapping[str, str],
) -> list[dict[str, Any]]:
    return [
        row_of(
            contender.work, against, ours=taken, theirs=other, target=contender.target,
            sizes=contender.sizes, versions=versions,
        )
        for taken, contender in zip(mine, contenders, strict=True)
    ]  # fmt: skip


def row_of(
    work: str,
    against: str,
    *,
    ours: Sequence[float],
    theirs: Sequence[float],
    target: float,
    sizes: Mapping[str, Any],
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A row of the results, of the seconds of each round."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "work": work,
        "against": against,
        "ours_seconds": round(mine, 3),
        "theirs_seconds": round(other, 3),
        "ratio": round(mine / other, 3),
        "target": target,
        "rounds": len(ours),
        "sizes": dict(sizes),
        "versions": {**{name: version(name) for name in _OURS}, **(versions or {})},
        "machine": machine(),
        "command": " ".join(["python", *_without_places(sys.argv)]),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _without_places(words: Sequence[str]) -> list[str]:
    """A command without the folders of this machine, on which its result does not depend."""
    places = ("--work", "--out")
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in places and before not in places
    ]


def save(row: Mapping[str, Any], out: Path) -> None:
    """Add a row to a JSON file of rows, in the place of an older one of the same name."""
    rows = json.loads(out.read_text()) if out.exists() else []
    key = (row["work"], row["against"])
    rows = [other for other in rows if (other["work"], other["against"]) != key]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([*rows, row], indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What this was measured on."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def environment_of(
    name: str,
    packages: Sequence[str],
    *,
    alone: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Path:
    """The Python of an environment with a rival in it, made once below build/peers.

    Args:
        name: of the environment.
        packages: to install with all that they need.
        alone: to install without: what these need for other things than the one measured.
        variables: of the environment in which `alone` is built.
    """
    folder = PEERS / name
    python, stamp = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join([*packages, *alone])
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *packages], check=True)
        if alone:
            built = {**os.environ, **(variables or {})}
            subprocess.run([*install, "--no-deps", *alone], check=True, env=built)
        stamp.write_text(wanted)
    return python


class Peer:
    """A process of a rival: told a command a line, it answers each with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, *words: object) -> Any:
        """Send a command and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the rival ended with {self.process.wait()}")
        return json.loads(line)


@contextmanager
def peer(
    python: Path, script: str, *arguments: object, threads: int | None = None
) -> Iterator[Peer]:
    """A rival's process for the length of a block; `script` is one of benchmarks/peers."""
    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL") if threads}
    command = [python, Path(__file__).parent / "peers" / script, *arguments]
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PATH": "/usr/bin:/bin", **limits},
    )  # fmt: skip
    try:
        yield Peer(process)
    finally:
        process.kill()
        process.wait()
