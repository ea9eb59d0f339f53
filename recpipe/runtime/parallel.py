"""Pieces of work that wait for Spark, done at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from recpipe.runtime import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_MAX_THREADS = 3


def run_all(work: Sequence[Callable[[], T]]) -> list[T]:
    """The results of several pieces of work in their order, done at the same time.

    While Spark plans one query, which takes one core and on small data most of the time, tasks of
    another can run. Returns or raises only when none of it runs any more.

    Raises:
        Exception: of the first piece that failed, in their order; those that had not begun are
            then left out, as they are when a signal has come.
    """
    with ThreadPoolExecutor(_MAX_THREADS) as pool:
        futures = [pool.submit(_begun, each) for each in work]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def once(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, called the first time and never again, whichever threads ask; what it made is kept.

    Where it fails it is called again by whoever asks next.
    """
    lock = Lock()
    made: list[T] = []

    def kept() -> T:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return kept


def _begun(work: Callable[[], T]) -> T:
    # The jobs of what is running were cancelled; nothing would cancel those of what follows.
    if signal := signals.received():
        raise signals.Stopped(signal.name)
    return work()


__all__ = ["once", "run_all"]
