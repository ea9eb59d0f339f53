"""Frames between the tasks of a ring: each listens for the one after it and dials the one before.

Plain TCP with a frame of 13 bytes before each message: a block of factors then goes from the
memory of one kernel into that of the next, with no copy between. Arrow Flight would bring a second
server and a conversion, and cannot be shown the secret of a fit in both directions.

Both ends prove that they know the secret of the fit before anything else is said, and that they
mean the same gathering of tasks, so nobody from an earlier attempt slips in. What follows is not
encrypted: where Spark's own connections are, there is no ring (`stage.obstacle`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import secrets
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recpipe.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_HEAD = struct.Struct("<BiQ")  # kind, number, bytes that follow
_BLOCK, _NOTE, _ALIVE = range(3)
_NONCE = 32
_PROOF = hashlib.sha256().digest_size
_HELLO_SECONDS = 5.0


class PeerLostError(FitError):
    """A task of a ring cannot reach, or no longer hears, its neighbour."""


@dataclass(frozen=True)
class Keys:
    """What the tasks of one fit share: made on the driver, carried by the job's closure.

    Args:
        name: of the model, for errors.
        secret: that both ends of a connection prove to know.
        silence: seconds without a sign of life after which a neighbour counts as lost. One that
            computes, or reads its input, gives such signs.
    """

    name: str
    secret: bytes = field(repr=False)
    silence: float = 60.0

    @classmethod
    def fresh(cls, name: str, *, silence: float) -> Keys:
        """Those of a new fit, with a secret of its own."""
        return cls(name, secrets.token_bytes(32), silence)


class Ring:
    """The place of one task in the ring: blocks come from `place` + 1 and go to `place` - 1.

    Connections are made, messages sent and received, in threads, so that all of it hides behind
    whatever the task does meanwhile. What goes wrong there is raised by the next `receive`.

    Args:
        place: of this task.
        tasks: all of them.
        host: the address of the executor, which is listened on.
        gather: everybody's message in the order of places, for one of one's own, as
            `BarrierTaskContext.allGather`; called once.
        keys: of the fit.
    """

    def __init__(
        self, *, place: int, tasks: int, host: str, gather: Callable[[str], list[str]], keys: Keys
    ) -> None:
        self._place = place
        self._before, self._after = (place - 1) % tasks, (place + 1) % tasks
        self._tasks = tasks
        self._keys = keys
        self._host = host
        self._gather = gather
        self._listener = _listening(host)
        self._outbox: queue.SimpleQueue[tuple[bytes, Any] | None] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[tuple[int, Floats] | Exception] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[tuple[int, bytes] | Exception] = queue.SimpleQueue()
        self._sockets: list[socket.socket] = [self._listener]
        self._closed = self._abandoned = False
        self._peers: list[tuple[str, int]] = []
        self._session = b""
        self._sender = threading.Thread(target=self._guarded, args=(self._send,), daemon=True)
        self._receiver = threading.Thread(target=self._guarded, args=(self._receive,), daemon=True)
        self._sender.start()

    @property
    def place(self) -> int:
        """Of this task."""
        return self._place

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    # -- for the task -----------------------------------------------------------------------

    def send(self, number: int, block: Floats) -> None:
        """Hand a block on; it must not be changed afterwards."""
        data = block.data.cast("B") if block.size else b""
        self._outbox.put((_HEAD.pack(_BLOCK, number, block.nbytes), data))

    def receive(self) -> tuple[int, Floats]:
        """The next block, flat, and its number; waits for it.

        Raises:
            PeerLostError: if a neighbour is lost, or none can be reached.
        """
        arrived = self._arrived.get()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def all_notes(self, note: bytes) -> list[bytes]:
        """Everybody's note, this one's among them, in the order of places: the same for all.

        Raises:
            PeerLostError: as `receive`.
        """
        notes = {self._place: note}
        number = self._place
        for _ in range(self._tasks - 1):
            # What came last goes on, so each note ends with the task after its own.
            self._outbox.put((_HEAD.pack(_NOTE, number, len(notes[number])), notes[number]))
            arrived = self._notes.get()
            if isinstance(arrived, Exception):
                raise arrived
            number, notes[arrived[0]] = arrived
        return [notes[b] for b in range(self._tasks)]

    def close(self) -> None:
        """Send what is still to be sent, and let go of the connections.

        A task that is ahead stays until the one after it is done too: its last signs of life
        must find somebody.
        """
        self._closed = True
        self._outbox.put(None)
        self._sender.join(self._keys.silence)
        self._receiver.join(self._keys.silence)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the connections at once; the neighbours will notice."""
        self._closed = self._abandoned = True
        self._outbox.put(None)
        for held in self._sockets:
            # Wakes the thread that waits in it, as closing alone does not.
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    # -- the threads ------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - raised again where the task waits
            if not self._closed:
                self._arrived.put(error)
                self._notes.put(error)

    def _send(self) -> None:
        place = [self._host, self._listener.getsockname()[1], secrets.token_hex(_NONCE)]
        gathered = self._gather(json.dumps(place))
        self._peers = [(host, port) for host, port, _ in map(json.loads, gathered)]
        self._session = hashlib.sha256("\n".join(gathered).encode()).digest()
        self._receiver.start()
        try:
            connection = self._dial()
            while (message := self._next()) is not None:
                for part in message:
                    connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._lost(self._before, error) from error

    def _next(self) -> tuple[bytes, Any] | None:
        """The next message; a sign of life where there has been none for a while."""
        try:
            return self._outbox.get(timeout=self._keys.silence / 6)
        except queue.Empty:
            return _HEAD.pack(_ALIVE, 0, 0), b""

    def _receive(self) -> None:
        try:
            connection = self._accept()
            while True:
                kind, number, size = _HEAD.unpack(_read(connection, _HEAD.size))
                if kind == _BLOCK:
                    block = np.empty(size // 4, np.float32)
                    if size:
                        _read_into(connection, block.data.cast("B"))
                    self._arrived.put((number, block))
                elif kind == _NOTE:
                    self._notes.put((number, _read(connection, size)))
        except OSError as error:
            raise self._lost(self._after, error) from error

    def _lost(self, peer: int, error: OSError) -> PeerLostError:
        host, port = self._peers[peer]
        what = (
            f"waited {self._keys.silence:g} s for"
            if isinstance(error, TimeoutError)
            else f"lost ({error})"
        )
        return PeerLostError(
            f"{self._keys.name} ring: task {self._place} {what} task {peer} at {host}:{port}",
            hint="executors must reach each other on any port;"
            f" else set {self._keys.name}.exchange to spark",
        )

    # -- connections ------------------------------------------------------------------------

    def _dial(self) -> socket.socket:
        connection = socket.create_connection(self._peers[self._before], timeout=self._keys.silence)
        self._hold(connection)
        hello, nonce = struct.pack("<i", self._place), secrets.token_bytes(_NONCE)
        connection.sendall(hello + nonce)
        theirs = _read(connection, _NONCE)
        if not hmac.compare_digest(
            _read(connection, _PROOF), self._proof(b"listens", hello, nonce, theirs)
        ):
            raise ConnectionError("it does not know the secret of the fit")
        connection.sendall(self._proof(b"dials", hello, nonce, theirs))
        return connection

    def _accept(self) -> socket.socket:
        """The connection of the task after this one; whoever else knocks is sent away."""
        end = time.monotonic() + self._keys.silence
        while True:
            self._listener.settimeout(max(end - time.monotonic(), 0.001))
            connection, _ = self._listener.accept()
            connection.settimeout(_HELLO_SECONDS)
            try:
                self._hold(connection)
                if self._known(connection):
                    connection.settimeout(self._keys.silence)
                    return connection
            except OSError:
                pass
            connection.close()

    def _known(self, connection: socket.socket) -> bool:
        hello, nonce = _read(connection, 4), _read(connection, _NONCE)
        own = secrets.token_bytes(_NONCE)
        connection.sendall(own + self._proof(b"listens", hello, nonce, own))
        proved = hmac.compare_digest(
            _read(connection, _PROOF), self._proof(b"dials", hello, nonce, own)
        )
        return proved and struct.unpack("<i", hello)[0] == self._after

    def _proof(self, role: bytes, *said: bytes) -> bytes:
        return hmac.digest(self._keys.secret, b"".join((role, self._session, *said)), "sha256")

    def _hold(self, connection: socket.socket) -> None:
        """To be closed with the ring."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(connection)
        if self._abandoned:  # while the connection was made, so that nobody else closes it
            connection.close()
            raise ConnectionError("the task has ended")


def _listening(host: str) -> socket.socket:
    """A listener on the executor's own address."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=16)
    except OSError:
        # Behind a translated address there is nothing of that name to bind to here; whoever
        # connects must know the secret in any case.
        return socket.create_server(("", 0), backlog=16)


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    _read_into(connection, memoryview(data))
    return bytes(data)


def _read_into(connection: socket.socket, view: memoryview) -> None:
    while view.nbytes:
        got = connection.recv_into(view)
        if not got:
            raise ConnectionError("it hung up")
        view = view[got:]
