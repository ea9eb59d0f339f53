from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from recpipe.beside import at_once


def test_results_come_in_the_order_of_the_work() -> None:
    def after(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    waits = [0.2, 0.0, 0.1, 0.05]
    assert at_once([partial(after, seconds) for seconds in waits]) == waits
    assert at_once([]) == []


def test_work_is_done_beside_other_work() -> None:
    met = threading.Barrier(3)
    assert at_once([lambda: met.wait(timeout=10) >= 0] * 3) == [True] * 3


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
        at_once([fails, slow])
    assert ended.is_set()
