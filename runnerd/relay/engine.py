"""The relay's side of a connection to an engine: one request out, one answer in, then the next.

The socket is used directly, without a transport: connecting to a Unix socket never waits, so a
request is on its way before the event loop turns, without a task or a future.

Of a response that somebody wants as a whole the pieces are left where they are until the engine has
closed the connection, as llama-server does after a stream, and after anything else where it is
asked to: one look for all of them instead of one for each token.

The engine is ours but its bytes are not trusted: heads are bounded and checked (`response_parser`),
and only the content type of a head survives; everything else that a client sees is the relay's own.

A request may be repeated on another connection only if the engine cannot have seen all of it.  On a
Unix socket that can be known: when the other side closes with bytes unread, the next read here
fails with ECONNRESET (and a write with EPIPE).  A side that shuts the connection down first, and
closes it a moment later, ends it in an orderly way; then the kernel knows what it has not read.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import sys
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runnerd.relay.poller import ENDED, READABLE, WRITABLE, Poller
from runnerd.relay.response_parser import (
    HEAD_BYTES,
    BadResponse,
    ChunkedBody,
    ResponseHead,
    read_head,
)
from runnerd.sockets.peer import Endpoint, check_listener

log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview

_READ_BYTES = 64 * 2**10
_SMALL = 16 * 2**10  # up to here one copy costs less than a list of pieces
_MUCH = 24 * 2**10  # between two looks; the kernel takes only a few times as much


class ResponseReceiver(Protocol):
    """Who gets the engine's response.  Nothing comes after `engine_done` or `engine_lost`."""

    def engine_head(self, head: ResponseHead) -> bool:
        """Take the head; return whether a chunked body is wanted as it is, with its framing."""
        ...

    def engine_body(self, data: bytes) -> None: ...
    def engine_done(self) -> None: ...

    def engine_lost(self, loss: Loss) -> None: ...


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a response will not be completed.

    `hung_up`: the engine ended the connection, perhaps because it has ended itself; `unseen`: it
    cannot have begun with the request; `whole_chunks`: what was passed on of a body ends where a
    chunk ends.
    """

    reason: str
    hung_up: bool = False
    unseen: bool = False
    whole_chunks: bool = True


class EngineConnection:
    """One connection to an engine.  Raises OSError when it cannot be made.

    `on_idle` is called when a response is complete and the connection can carry another request,
    `on_closed` when it is closed, whoever closed it.  `hangs_up` says that the engine is one that
    closes the connection after a stream, and `late` in the end whether it was not: None where
    nobody waited for that.
    """

    __slots__ = (
        "_at_the_end",
        "_body",
        "_by_look",
        "_events",
        "_head",
        "_head_bytes",
        "_left",
        "_on_closed",
        "_on_idle",
        "_paused",
        "_pieces",
        "_poller",
        "_receiver",
        "_socket",
        "_unseen",
        "_until_end",
        "hangs_up",
        "idle_since",
        "late",
        "served",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        poller: Poller,
        on_idle: Callable[[EngineConnection], None],
        on_closed: Callable[[EngineConnection], None],
    ) -> None:
        self._poller = poller
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._receiver: ResponseReceiver | None = None
        self._pieces: list[Buffer] = []  # of the request, not yet sent
        self._paused = False
        self._at_the_end = False  # the response is read when it is complete
        self._by_look = False  # nothing was told, the poller has only looked
        self._events = 0  # that the poller tells of
        self.served = 0
        self.idle_since = 0.0
        self.hangs_up = True
        self.late: bool | None = None
        self._unseen = False
        self._expect_head()
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

    @property
    def is_between_chunks(self) -> bool:
        """Whether what was passed on of a body ends where a chunk ends."""
        return self._body is None or self._body.between_chunks()

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
            # The reader finds out why, and whether an early answer lies there.
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
            log.exception("an engine's answer could not be handled")
            self._receiver = receiver  # also where it was already told that this was the end
            self._lose("its answer could not be handled")

    def _expect_head(self) -> None:
        self._head = b""
        self._head_bytes = 0  # of interim answers
        self._left = -1  # of a body of known length; -1: the head is not complete
        self._body: ChunkedBody | None = None
        self._until_end = False
        self._at_the_end = False

    def _received(self, data: bytes) -> None:
        if self._receiver is None:
            self.close()  # an idle connection has nothing to say
        elif self._left == -1:
            self._read_head(data)
        elif self._body is not None:
            self._chunked(data)
        else:
            self._plain(data)

    def _read_head(self, data: bytes) -> None:
        """Read on until the head is complete; interim answers are passed over."""
        data = self._head + data if self._head else data
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if self._head_bytes + (end if end >= 4 else len(data)) > HEAD_BYTES:
                raise BadResponse("its answer has an endless head")
            if end < 4:
                self._head = data
                return
            head, data = read_head(data[:end]), data[end:]
            if head.status >= 200:
                break  # no interim response
            self._head_bytes += end
        self._head = b""
        self._begin(head, data)

    def _begin(self, head: ResponseHead, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._left = head.length or 0
        self._until_end = head.length is None and not head.chunked
        if not head.keeps:
            self.served = 2**31  # no further request
        as_it_is = receiver.engine_head(head)
        if self._receiver is None:
            return  # the exchange is over already
        if head.chunked:
            self._body = ChunkedBody(decodes=not as_it_is, held=self._at_the_end)
            if data:
                self._chunked(data)
        elif data or head.length == 0:
            self._plain(data)

    def _chunked(self, data: bytes) -> None:
        body, receiver = self._body, self._receiver
        assert body is not None
        assert receiver is not None
        if data := body.feed(data):
            receiver.engine_body(data)
        if body.complete and self._receiver is not None:
            # llama-server closes after a stream; whatever does not is told to.
            if self._events == ENDED:
                self.late = self._by_look
            self._receiver = None
            self.close()
            receiver.engine_done()

    def _plain(self, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        if not self._until_end:
            self._left -= len(data)
            if self._left < 0:
                raise BadResponse("it sent more than its answer")
        if data:
            receiver.engine_body(data)
        if self._left == 0 and not self._until_end and self._receiver is not None:
            self._receiver = None
            self._expect_head()
            if self._pieces:
                self.close()  # a response before it has taken the whole request
            else:
                if self._paused:
                    self.resume()  # the client may be behind; the next one is not
                self._on_idle(self)
            receiver.engine_done()

    def _ended(self) -> None:
        if self._until_end and self._left != -1 and self._receiver is not None:
            receiver = self._receiver
            self.close()
            receiver.engine_done()  # the end of the connection is the end of the body
        else:
            self._unseen = self._unseen or _unread_bytes(self._socket) > 0
            self._lose("it closed the connection", hung_up=True)

    def _lose(self, reason: str, *, hung_up: bool = False) -> None:
        receiver = self._receiver
        unseen = self._unseen and self._left == -1 and not self._head
        self.close()
        if receiver is not None:
            receiver.engine_lost(Loss(reason, hung_up, unseen, self.is_between_chunks))


def _unread_bytes(connection: socket.SocketType | None) -> int:
    """Return how much of what was sent the other side has not taken (SIOCOUTQ, unix(7))."""
    if connection is None:
        return 0
    response = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(response, sys.byteorder)


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
