"""Processes in the middle of a ring, for tests that kill one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_ring(worker: psutil.Process) -> bool:
    """Whether a process listens, and the task of the block after it has connected."""
    connections = worker.net_connections("tcp")
    ports = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    return any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in ports for c in connections)


def kill_a_worker(killed: list[int], ready: Callable[[], bool] = lambda: True) -> None:
    """SIGKILL for a Python worker of this session's JVM that is in a ring, once it is time."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        time.sleep(0.01)
        if not ready():
            continue
        for worker in psutil.Process().children(recursive=True):
            try:
                if "python" in worker.name() and in_a_ring(worker):
                    worker.kill()
                    killed.append(worker.pid)
                    return
            except psutil.NoSuchProcess:
                continue
