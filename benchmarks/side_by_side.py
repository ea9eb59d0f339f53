"""Two ways of one work in one run: alternating, warm, medians; results saved as they come."""

from __future__ import annotations

import json
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
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PEERS = Path(__file__).parents[1] / "build" / "peers"
_LONG_SECONDS = 60
_OURS = ("pyspark", "numpy", "numba", "pyarrow")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


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
    """Time both in turns after a warm-up of each, print and save the medians and their ratio.

    Args:
        work: what is done.
        against: by whom else.
        ours: does it once and returns its seconds.
        theirs: likewise.
        target: of ours / theirs.
        sizes: of the input.
        versions: of the other side.
        out: a JSON file; a row of the same work and rival in it is replaced.

    Five rounds, or three where the other side takes over a minute.
    """
    ours()
    first = theirs()
    pairs = []
    for _ in range(3 if first > _LONG_SECONDS else 5):
        pairs.append((ours(), theirs()))
        print("   ours {:.2f} s, theirs {:.2f} s".format(*pairs[-1]), flush=True)
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    row = {
        "work": work,
        "against": against,
        "ours_seconds": round(mine, 3),
        "theirs_seconds": round(other, 3),
        "ratio": round(mine / other, 3),
        "target": target,
        "rounds": len(pairs),
        "sizes": dict(sizes),
        "versions": {**{name: version(name) for name in _OURS}, **versions},
        "machine": machine(),
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
    }
    print(f"{work} / {against}: {mine:.2f} s / {other:.2f} s = {row['ratio']} (<= {target})")
    save(row, out)


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


def environment_of(name: str, packages: Sequence[str], *, alone: Sequence[str] = ()) -> Path:
    """The Python of an environment with a rival in it, made once below build/peers.

    Args:
        name: of the environment.
        packages: to install with all that they need.
        alone: to install without: what these need for other things than the one measured.
    """
    folder = PEERS / name
    python, stamp = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join([*packages, *alone])
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *packages], check=True)
        if alone:
            subprocess.run([*install, "--no-deps", *alone], check=True)
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
