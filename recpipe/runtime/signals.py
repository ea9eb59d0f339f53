"""Ctrl-C and SIGTERM: recorded, so that nothing which they cause is taken for something else.

A signal is an exception in the main thread, and cleaning up after it can fail in ways of its own: a
job that was cancelled fails, and a fit that fails has a fallback. Who catches `Exception` to go on
asks `received` first.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, raised where the main thread stands so that every block ends in order.

    Not a KeyboardInterrupt: py4j catches those, and logs a traceback of its own.
    """


class _State:
    received: signal.Signals | None = None
    release: Callable[[], None] | None = None


def install() -> None:
    """Turn Ctrl-C and SIGTERM into `Stopped` from now on. Only from the main thread."""
    _State.received = None
    for number in _SIGNALS:
        signal.signal(number, _receive)


def received() -> signal.Signals | None:
    """The signal that is ending this process, if one is."""
    return _State.received


@contextmanager
def releasing(release: Callable[[], None]) -> Iterator[None]:
    """While the `with` lasts, have `release` called when a signal comes, before it is raised.

    Takes the place of handlers that a library has put in ours, and puts nothing in place of
    another program's: without `install` this does nothing.
    """
    kept = {number: signal.getsignal(number) for number in _SIGNALS}
    if _receive not in kept.values():
        yield
        return
    for number in _SIGNALS:
        signal.signal(number, _receive)
    _State.release = release
    try:
        yield
    finally:
        _State.release = None


def _receive(number: int, _frame: FrameType | None) -> NoReturn:
    release, _State.release = _State.release, None
    _State.received = _State.received or signal.Signals(number)
    if release is not None:
        with suppress(Exception):
            release()
    raise Stopped(_State.received.name)
