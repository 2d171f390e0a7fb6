"""The relay's side of a connection to an engine: one request out, one response in, then the next.

The engine is ours but its bytes are not trusted: heads are bounded and checked (`response_parser`),
and only the content type of a head survives; everything else that a client sees is the relay's own.

A request may be repeated on another connection only if the engine cannot have seen all of it.  On a
Unix socket that can be known: when the other side closes with bytes unread, the next read here
fails with ECONNRESET (and a write with EPIPE).  A side that shuts the connection down first, and
closes it a moment later, ends it in an orderly way; then the kernel knows what it has not read.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections.abc import Callable

from runnerd.relay.engine import EngineSocket
from runnerd.relay.poller import ENDED, Poller
from runnerd.relay.response_parser import (
    HEAD_BYTES,
    BadResponse,
    ChunkedBody,
    read_head,
)
from runnerd.relay.response_receiver import Loss
from runnerd.sockets.peer import Endpoint


class EngineConnection(EngineSocket):
    """One connection to an engine.  Raises OSError when it cannot be made.

    `on_idle` is called when a response is complete and the connection can carry another request,
    `on_closed` when it is closed, whoever closed it.  `late` says in the end whether the engine was
    not one that closes the connection after a stream: None where nobody waited for that.
    """

    __slots__ = (
        "_body", "_head", "_head_bytes", "_left", "_on_idle", "_until_end", "idle_since",
        "late",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        poller: Poller,
        on_idle: Callable[[EngineConnection], None],
        on_closed: Callable[[EngineConnection], None],
    ) -> None:
        self._on_idle = on_idle
        self.idle_since = 0.0
        self.late: bool | None = None
        self._head = b""
        self._head_bytes = 0  # of interim responses
        self._left = -1  # of a body of known length; -1: the head is not complete
        self._body: ChunkedBody | None = None
        self._until_end = False
        super().__init__(endpoint, poller, on_closed)

    @property
    def is_between_chunks(self) -> bool:
        """Whether what was passed on of a body ends where a chunk ends."""
        return self._body is None or self._body.between_chunks()

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
        """Read on until the head is complete, and tell it with what of the body lies behind it;
        interim responses are passed over.
        """
        data = self._head + data if self._head else data
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if self._head_bytes + (end if end >= 4 else len(data)) > HEAD_BYTES:
                raise BadResponse("its response has an endless head")
            if end < 4:
                self._head = data
                return
            head, data = read_head(data[:end]), data[end:]
            if head.status >= 200:
                break  # no interim response
            self._head_bytes += end
        self._head = b""
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
                raise BadResponse("it sent more than its response")
        if data:
            receiver.engine_body(data)
        if self._left == 0 and not self._until_end and self._receiver is not None:
            self._receiver = None
            self._left, self._head_bytes = -1, 0  # the next thing is a head
            self._at_the_end = False
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
