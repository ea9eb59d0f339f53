from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from recpipe.runtime.parallel import run_all


def test_results_come_in_the_order_of_the_work() -> None:
    def after(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    waits = [0.2, 0.0, 0.1, 0.05]
    assert run_all([partial(after, seconds) for seconds in waits]) == waits
    assert run_all([]) == []


def test_work_is_done_beside_other_work() -> None:
    met = threading.Barrier(3)
    assert run_all([lambda: met.wait(timeout=10) >= 0] * 3) == [True] * 3


def test_a_failure_waits_for_what_has_begun_and_is_raised() -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.3)
        ended.set()

    def fails() -> None:
        assert begun.wait(timeout=10)
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        run_all([fails, slow])
    assert ended.is_set()


def test_nothing_begins_after_a_signal() -> None:
    code = """
import os, signal, sys, threading, time
from recpipe.runtime import signals
from recpipe.runtime.parallel import run_all
signals.install()
ran, all_begun = [], threading.Barrier(3)
def begun():
    ran.append("begun")
    if all_begun.wait() == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    end = time.monotonic() + 20
    while not signals.received() and time.monotonic() < end:
        time.sleep(0.01)
try:
    run_all([begun] * 3 + [lambda: ran.append("later")] * 9)
except signals.Stopped:
    print(*ran)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["begun"] * 3, done.stderr
