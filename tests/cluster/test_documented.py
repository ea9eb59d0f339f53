"""The standalone cluster that docs/operations.md describes starts as it is typed there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).parents[2]
SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_commands_start_a_master_and_a_worker_that_cleans_up(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- snippet: standalone -->\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    # Another port, other folders and no pages, so that nothing of this machine is in the way.
    commands = (
        found[1]
        .replace("7077", str(free_port()))
        .replace(".venv/bin/python", shlex.quote(sys.executable))
        .replace("/var/tmp/spark-work", str(tmp_path / "work"))  # noqa: S108 - as it is written
        .replace("Master --host", "Master --webui-port 0 --host")
        .replace("Worker spark", "Worker --webui-port 0 --cores 1 --memory 512m spark")
    )
    (tmp_path / "cluster.sh").write_text(f"{commands}\nwait\n")
    log = tmp_path / "log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    with log.open("wb") as stream, subprocess.Popen(
        ["bash", tmp_path / "cluster.sh"], cwd=REPOSITORY, stdout=stream, stderr=stream,
        env={**kept, "PYTHONPATH": str(REPOSITORY)}, start_new_session=True,
    ) as shell:  # fmt: skip
        try:
            end = time.monotonic() + SECONDS
            while "Successfully registered with master" not in log.read_text(errors="replace"):
                assert time.monotonic() < end, log.read_text(errors="replace")[-3000:]
                time.sleep(0.2)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
    said = log.read_text(errors="replace")
    assert (
        f"Worker cleanup enabled; old application directories will be deleted in: {tmp_path}"
        in said
    )
    assert (tmp_path / "work").is_dir()
