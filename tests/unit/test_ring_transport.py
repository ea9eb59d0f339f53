"""Frames between tasks: delivered in order, to those who know the secret, or an error that names
the peer."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recpipe.distributed.transport import Keys, Ring
from recpipe.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)
HOST = "127.0.0.1"


class Gathering:
    """What BarrierTaskContext.allGather does, for threads; `known` are messages of nobody."""

    def __init__(self, blocks: int, **known: str) -> None:
        self.messages = {int(block): message for block, message in known.items()}
        self.barrier = threading.Barrier(blocks - len(known))

    def of(self, block: int) -> Callable[[str], list[str]]:
        def gather(message: str) -> list[str]:
            self.messages[block] = message
            self.barrier.wait()
            return [self.messages[b] for b in sorted(self.messages)]

        return gather


def ring_of(blocks: int, *keys: Keys) -> list[Ring]:
    gathering = Gathering(blocks)
    return [
        Ring(place=b, tasks=blocks, host=HOST, gather=gathering.of(b), keys=keys[b % len(keys)])
        for b in range(blocks)
    ]


def lone(place: tuple[str, int], keys: Keys) -> Ring:
    """Block 0 of two, the other of which is said to be at `place`."""
    gathering = Gathering(2, **{"1": json.dumps([*place, "nonce"])})
    return Ring(place=0, tasks=2, host=HOST, gather=gathering.of(0), keys=keys)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_blocks_go_from_each_task_to_the_one_before_it_in_order_and_notes_to_all(
    blocks: int,
) -> None:
    rings = ring_of(blocks, Keys("sgd", b"secret"))
    sent = [np.arange(n, dtype=np.float32) for n in (100_000, 0, 3)]

    def work(b: int) -> tuple[list[tuple[int, bytes]], list[bytes]]:
        for number, block in enumerate(sent):
            rings[b].send(10 * b + number, block + b)
        arrived = [rings[b].receive() for _ in sent]
        notes = rings[b].all_notes(bytes([b]))
        rings[b].close()
        return [(number, block.tobytes()) for number, block in arrived], notes

    with ThreadPoolExecutor(blocks) as pool:
        results = list(pool.map(work, range(blocks)))

    for b, (arrived, notes) in enumerate(results):
        after = (b + 1) % blocks
        assert arrived == [(10 * after + n, (a + after).tobytes()) for n, a in enumerate(sent)]
        assert notes == [bytes([other]) for other in range(blocks)]


def test_whoever_does_not_know_the_secret_is_not_let_in() -> None:
    one, other = ring_of(
        2, Keys("sgd", b"secret", silence=1.0), Keys("sgd", b"another", silence=1.0)
    )

    with pytest.raises(FitError, match=r"task 0 .* task 1 at 127\.0\.0\.1:\d+"):
        one.receive()
    with pytest.raises(FitError, match=r"task 1 .* task 0 at 127\.0\.0\.1:\d+"):
        other.receive()
    one.abandon()
    other.abandon()


def test_strangers_who_knock_first_are_sent_away_and_the_right_one_is_let_in() -> None:
    gathering = Gathering(2)
    keys = Keys("sgd", b"secret")
    one = Ring(place=0, tasks=2, host=HOST, gather=gathering.of(0), keys=keys)
    for said in (b"GET / HTTP/1.1\r\n\r\n" + bytes(99), struct.pack("<i", 1) + bytes(64)):
        with socket.create_connection(one.address) as stranger:
            stranger.sendall(said)
    other = Ring(place=1, tasks=2, host=HOST, gather=gathering.of(1), keys=keys)

    other.send(3, np.ones(2, np.float32))

    assert one.receive()[0] == 3
    one.abandon()
    other.abandon()


def test_it_listens_on_the_address_of_the_executor_and_no_other() -> None:
    ring = lone((HOST, 1), Keys("sgd", b"secret"))
    assert ring.address[0] == HOST
    ring.abandon()


def test_a_neighbour_that_never_answers_is_named_with_how_long_it_was_waited_for() -> None:
    with socket.create_server((HOST, 0)) as silent:
        ring = lone(silent.getsockname(), Keys("sgd", b"secret", silence=0.5))
        port = silent.getsockname()[1]
        with pytest.raises(FitError, match=rf"task 0 waited 0\.5 s for task 1 at {HOST}:{port}"):
            ring.receive()
        ring.abandon()


def test_a_neighbour_that_is_lost_is_named_at_once() -> None:
    one, other = ring_of(2, Keys("sgd", b"secret"))
    for sender, receiver in ((one, other), (other, one)):
        sender.send(0, np.ones(1, np.float32))
        receiver.receive()

    other.abandon()

    began = time.monotonic()
    with pytest.raises(FitError, match=r"task 0 lost \(.*\) task 1 at"):
        one.receive()
    assert time.monotonic() - began < 5
    one.abandon()


def test_a_neighbour_that_computes_for_longer_than_the_silence_is_not_given_up() -> None:
    one, other = ring_of(2, Keys("sgd", b"secret", silence=0.6))
    time.sleep(1.5)

    other.send(7, np.ones(1, np.float32))

    assert one.receive()[0] == 7
    one.abandon()
    other.abandon()


def test_keys_do_not_show_their_secret() -> None:
    keys = Keys.fresh("sgd", silence=1.0)
    assert repr(keys.secret) not in repr(keys)
    assert keys.secret != Keys.fresh("sgd", silence=1.0).secret
