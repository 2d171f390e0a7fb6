"""The socket of a connection to an engine: a request goes out, and what comes back is read.

It is used directly, without a transport: connecting to a Unix socket never waits, so a request is
on its way before the event loop turns, without a task or a future.

Of a response that somebody wants as a whole the pieces are left where they are until the engine has
closed the connection, as llama-server does after a stream, and after anything else where it is
asked to: one look for all of them instead of one for each token.
"""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from runnerd.relay.poller import ENDED, READABLE, WRITABLE, Poller
from runnerd.relay.response_parser import BadResponse
from runnerd.relay.response_receiver import ResponseReceiver
from runnerd.sockets.peer import Endpoint, check_listener

log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview

_READ_BYTES = 64 * 2**10
_SMALL = 16 * 2**10  # up to here one copy costs less than a list of pieces
_MUCH = 24 * 2**10  # between two looks; the kernel takes only a few times as much


class EngineSocket(ABC):
    """One socket, connected to an engine.  Raises OSError when it cannot be.

    `on_closed` is called with it when it is closed, whoever closed it.  `hangs_up` says that the
    engine is one that closes the connection after a stream.  What the bytes mean is its subclass's
    affair, which inherits instead of being another object: a stream takes a new connection, and
    each object costs.
    """

    __slots__ = (
        "_at_the_end", "_by_look", "_events", "_on_closed", "_paused", "_pieces", "_poller",
        "_receiver", "_socket", "_unseen", "hangs_up", "served",
    )  # fmt: skip

    def __init__(
        self, endpoint: Endpoint, poller: Poller, on_closed: Callable[[Any], None]
    ) -> None:
        self._poller = poller
        self._on_closed = on_closed
        self._receiver: ResponseReceiver | None = None
        self._pieces: list[Buffer] = []  # of the request, not yet sent
        self._paused = False
        self._at_the_end = False  # the response is read when it is complete
        self._by_look = False  # nothing was told, the poller has only looked
        self._events = 0  # that the poller tells of
        self.served = 0
        self.hangs_up = True
        self._unseen = False
        self._socket: socket.SocketType | None = None
        # Without the layer in Python around it, which costs as much as the system's part.
        connecting = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connecting.connect(endpoint.path)
            check_listener(connecting, endpoint.owner)
        except OSError:
            connecting.close()
            raise
        self._socket = connecting

    # the relay's side

    def ask(
        self, receiver: ResponseReceiver, request: Sequence[Buffer], *, at_the_end: bool = False
    ) -> None:
        """Send a request, whose response goes to `receiver`.

        `at_the_end` says that nobody waits for the pieces of the response, not even for its head,
        and that the request asks for the connection to be closed behind it.
        """
        assert self._receiver is None
        self._receiver = receiver
        self.served += 1
        self._unseen = True
        self._at_the_end = at_the_end and self.hangs_up
        self._pieces = list(request)
        self._write()
        try:
            self._listen()
        except OSError:
            self.close()
            raise

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        self._paused = True
        self._listen()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self._listen()

    def read_at_the_end(self) -> None:
        """Nobody waits for the pieces of this response.  To be said when its head is told."""
        self._at_the_end = self.hangs_up

    def close(self) -> None:
        """Drop the connection at once: the engine sees the close and stops generating."""
        self._receiver = None
        endpoint, self._socket = self._socket, None
        if endpoint is None:
            return
        self._pieces = []
        self._poller.closing(endpoint.fileno())
        endpoint.close()
        self._on_closed(self)

    # what its subclass makes of the bytes

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """Take what the engine has sent.  Raises BadResponse."""

    @abstractmethod
    def _ended(self) -> None:
        """Take it that the engine has closed the connection.  Raises BadResponse."""

    @abstractmethod
    def _lose(self, reason: str, *, hung_up: bool = False) -> None:
        """Give up the connection, and tell who waits for the response."""

    # the socket's side

    def _listen(self) -> None:
        """Be told of what there is to do now, and of nothing else."""
        events = 0 if self._paused else ENDED if self._at_the_end else READABLE
        if self._pieces:
            events |= WRITABLE
        if self._socket is None or events == self._events:
            return
        self._events = events
        if events:
            self._poller.watch(self._socket.fileno(), self._happened, events)
        else:
            self._poller.forget(self._socket.fileno())  # or an end would be told over and over

    def _happened(self, events: int) -> None:
        if events & WRITABLE and self._pieces:
            self._write()
        if events != WRITABLE and not self._paused:
            self._by_look = events == READABLE and self._events == ENDED
            self._read()
        self._listen()

    def _write(self) -> None:
        """Send as much as the socket takes, the rest when it takes more; much is not copied."""
        assert self._socket is not None
        pieces = self._pieces
        size = sum(map(len, pieces))
        try:
            if size <= _SMALL:
                sent = self._socket.send(b"".join(pieces))
            else:
                sent = self._socket.sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The reader finds out why, and whether an early response lies there.
            self._pieces = []
            return
        if sent == size:
            self._pieces = []
            self._unseen = False
        else:
            self._unseen = self._unseen and sent == 0
            self._pieces = _behind(pieces, sent)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._unseen = isinstance(error, ConnectionResetError)
            self._lose(f"it broke the connection ({error.strerror})", hung_up=True)
            return
        if len(data) >= _MUCH:
            self._at_the_end = False  # the engine is faster than we look
        receiver = self._receiver
        try:
            if data:
                self._received(data)
            else:
                self._ended()
        except BadResponse as error:
            self._lose(str(error))
        except Exception:
            log.exception("an engine's response could not be handled, its connection is closed")
            self._receiver = receiver  # also where it was already told that this was the end
            self._lose("its response could not be handled")


def _behind(pieces: list[Buffer], sent: int) -> list[Buffer]:
    """What is left of `pieces` behind the first `sent` bytes, as views."""
    left: list[Buffer] = []
    for piece in pieces:
        if sent < len(piece):
            left.append(memoryview(piece)[sent:])
            sent = 0
        else:
            sent -= len(piece)
    return left
