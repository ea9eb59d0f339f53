"""Ctrl-C and SIGTERM while a run is at work: clean, at once, and nothing is left running."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.commands import MODEL, environment
from tests.roots import DATE, manifest, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS = 300
CLEAN_SECONDS = 60


@contextmanager
def started(*arguments: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process group of its own, as a shell or a scheduler starts it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "recpipe", *map(str, arguments)],
            stdout=stream, stderr=stream, env=environment(), start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def await_line(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(10 * WAIT_SECONDS):
        if text in log.read_text(errors="replace"):
            return
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in:\n{log.read_text(errors='replace')}")


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended within a moment."""
    alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=10)[1]
    return alive


@pytest.mark.parametrize(
    ("number", "to_group", "stage", "code"),
    [
        # Ctrl-C reaches every process of the terminal's foreground group; a scheduler's TERM one
        # process, or all.
        (signal.SIGINT, True, "ingest", 130),
        (signal.SIGINT, True, "fit als_explicit", 130),
        (signal.SIGTERM, False, "fit als_explicit", 143),
        (signal.SIGTERM, True, "recommend", 143),
    ],
)
def test_a_signal_ends_a_run_at_once_and_cleanly(
    number: signal.Signals,
    to_group: bool,
    stage: str,
    code: int,
    source: Path,
    finished: Path,
    tmp_path: Path,
) -> None:
    log, root = tmp_path / "log", tmp_path / "root"
    shutil.copytree(finished, root)
    before = snapshot(root)
    # Far more iterations than anybody waits for, so that the signal meets a fit at work.
    slow = ("--set", "als_explicit.iterations=5000") if "fit" in stage else ()
    again = ("--input", str(source)) if stage == "ingest" else ()
    with started(
        "run", "--root", root, "--run-id", "cut", *again, *DATE, *MODEL, *slow, log=log,
    ) as process:  # fmt: skip
        await_line(log, f"{stage}: started" if not again else "ingest", process)
        time.sleep(1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        if to_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        sent = time.monotonic()
        assert process.wait(timeout=WAIT_SECONDS) == code, log.read_text()
        assert time.monotonic() - sent < CLEAN_SECONDS
    said = log.read_text()
    assert "Traceback" not in said, said
    assert said.splitlines()[-1].startswith("recpipe: "), said
    assert still_running(family) == []
    after = snapshot(root)
    changed = {name for name in after | before if before.get(name) != after.get(name)}
    if stage == "ingest":
        assert changed == set()
    else:
        assert [name for name in changed if not name.startswith("runs/cut/")] == []
        assert manifest(root, "cut")["status"] == "failed"
