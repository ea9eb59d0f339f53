"""Which processes are in the middle of a ring of SGD, for tests that kill one."""

from __future__ import annotations

import psutil


def in_a_ring(worker: psutil.Process) -> bool:
    """Whether a process listens, and the task of the block after it has connected."""
    connections = worker.net_connections("tcp")
    ports = {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}
    return any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in ports for c in connections)
