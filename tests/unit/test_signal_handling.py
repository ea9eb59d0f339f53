from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from recpipe.runtime import signals

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The tests' own handlers, put back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    # Else tests that follow would find that a signal is ending this process.
    signals.install()
    for number, handler in kept.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_and_remembered(number: signal.Signals) -> None:
    signals.install()
    assert signals.received() is None
    with pytest.raises(signals.Stopped, match=number.name):
        send(number)
    assert signals.received() == number


def test_the_first_signal_is_the_one_that_ended_it() -> None:
    signals.install()
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(signals.Stopped):
            send(number)
    assert signals.received() == signal.SIGTERM


def test_what_is_released_is_released_once_and_before_the_exception() -> None:
    signals.install()
    order: list[str] = []

    def work() -> None:
        try:
            send(signal.SIGTERM)
        finally:
            order.append("cleaning up")
            with pytest.raises(signals.Stopped):
                send(signal.SIGINT)

    with (
        pytest.raises(signals.Stopped),
        signals.releasing(lambda: order.append("released")),
    ):
        work()
    assert order == ["released", "cleaning up"]


def test_a_release_that_fails_does_not_hide_the_signal() -> None:
    signals.install()
    with pytest.raises(signals.Stopped), signals.releasing(lambda: 1 / 0):  # type: ignore[arg-type]
        send(signal.SIGTERM)


def test_a_handler_that_a_library_put_in_place_of_ours_is_put_out_again() -> None:
    signals.install()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(signals.Stopped), signals.releasing(lambda: None):
        send(signal.SIGINT)


def test_another_program_keeps_its_handlers() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with signals.releasing(lambda: None):
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
