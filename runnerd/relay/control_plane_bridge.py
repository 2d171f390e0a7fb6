"""Lends a client's connection to aiohttp's server for requests that are not inference.

`ClientConnection` stays the transport's protocol.  For each connection that needs it there is one
aiohttp protocol on a *borrowed transport*: it writes through to the client, and its access log,
which aiohttp calls when a response has been written, tells the connection that it is done.  So
keep-alive works across both kinds of requests, and aiohttp sees only requests that the connection's
parser has read and re-framed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from runnerd.access import Principal
from runnerd.relay.messages import PeerPrincipal, Request

log = logging.getLogger(__name__)


PRINCIPAL = "runnerd.principal"
"""What `get_extra_info` of a borrowed transport calls the request's `access.Principal`.

To ask for it raises errors.Unauthorized for a request whose credential does not count.
"""


class BridgeHost(Protocol):
    """The connection's side of a request of the control plane."""

    @property
    def transport(self) -> asyncio.Transport: ...

    @property
    def principal(self) -> PeerPrincipal:
        """Says who is at the other end."""
        ...

    def close(self) -> None:
        """aiohttp wants the connection to end."""
        ...

    def pause_reading(self) -> None:
        """aiohttp's handler does not keep up with the body."""
        ...

    def resume_reading(self) -> None: ...


class BorrowedTransport(asyncio.Transport):
    """The client's transport as aiohttp sees it; `answered` is for its access log to call.

    `begun` says that something of the latest response was written.
    """

    def __init__(self, host: BridgeHost, answered: Callable[[], None]) -> None:
        super().__init__()
        self._host = host
        self._closing = False
        self.answered = answered
        self.begun = False
        self.request: Request | None = None  # the one that is being answered
        self.conditions: list[Callable[[Principal], None]] = []  # each raises for who may not

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._closing:
            self.begun = True
            self._host.transport.write(data)

    def writelines(self, list_of_data: Any) -> None:
        if not self._closing:
            self.begun = True
            self._host.transport.writelines(list_of_data)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._host.close()

    def cut(self) -> None:
        """Pass nothing on any more: the connection is somebody else's."""
        self._closing = True

    def abort(self) -> None:
        self._closing = True
        self._host.transport.abort()

    def is_closing(self) -> bool:
        return self._closing or self._host.transport.is_closing()

    def pause_reading(self) -> None:
        self._host.pause_reading()

    def resume_reading(self) -> None:
        self._host.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == PRINCIPAL:
            peer = self._host.principal
            return peer("") if self.request is None else self.request.principal(peer)
        return self._host.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._host.transport.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return False


class BridgeLog(AbstractAccessLogger):
    """aiohttp's access log: one debug line, and the signal that it has answered."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.debug(
            "%s %s %d %.1f ms", request.method, request.path, response.status, time * 1000
        )
        if isinstance(request.transport, BorrowedTransport):
            request.transport.answered()

    @property
    def enabled(self) -> bool:
        return True  # the signal is needed whatever the log level


async def make_server(app: web.Application) -> web.AppRunner:
    """Return a set-up runner for the control plane's application; `cleanup()` it at the end."""
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        access_log_class=BridgeLog,
        access_log=log,
        keepalive_timeout=3600.0,  # the connection has its own, shorter one
        shutdown_timeout=1.0,
        lingering_time=2.0,
    )
    await runner.setup()
    return runner


class ControlPlaneBridge:
    """One connection's aiohttp protocol; carries its requests one after the other.

    `answered` is called whenever aiohttp has written a response.
    """

    def __init__(self, host: BridgeHost, server: web.Server, answered: Callable[[], None]) -> None:
        self._transport = BorrowedTransport(host, answered)
        self._handler = server()
        self._handler.connection_made(self._transport)
        self._chunked = False

    def begin(self, request: Request) -> None:
        """Hand over a request's head, re-framed from what the parser understood."""
        self._chunked = request.chunked
        self._transport.request = request
        self._transport.conditions.clear()
        self._transport.begun = False
        headers = b"".join(
            b"%s: %s\r\n" % (name, value) for name, value in request.headers if name not in _DROPPED
        )
        if request.chunked:
            headers += b"transfer-encoding: chunked\r\n"
        elif request.length is not None:
            headers += b"content-length: %d\r\n" % request.length
        if request.awaits_continue and request.unauthorized is None:
            headers += b"expect: 100-continue\r\n"  # what the route says, once it lets it in
        if not request.keep_alive:
            headers += b"connection: close\r\n"
        version = b"1.1" if request.http11 else b"1.0"
        line = b"%s %s HTTP/%s\r\n" % (request.method.encode(), request.target, version)
        self._handler.data_received(
            b"%s%sx-request-id: %s\r\n\r\n" % (line, headers, request.id.encode())
        )

    @property
    def begun(self) -> bool:
        """Whether something of the response was written."""
        return self._transport.begun

    def give_up(self) -> bool:
        """Have aiohttp say nothing further; return whether it has begun to."""
        self.lost(None)
        return self.begun

    def body(self, data: bytes) -> None:
        """Hand over a piece of the body."""
        if self._chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self._handler.data_received(data)

    def end_body(self) -> None:
        """The body is complete."""
        if self._chunked:
            self._handler.data_received(b"0\r\n\r\n")

    def enforce(self) -> None:
        """Raise where what is being answered is not allowed any more."""
        for condition in self._transport.conditions:
            condition(self._transport.get_extra_info(PRINCIPAL))

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def lost(self, exc: Exception | None) -> None:
        """The client has gone, or is told something else; running handlers are cancelled."""
        self._transport.cut()
        self._handler.connection_lost(exc)


_DROPPED = frozenset(
    {
        b"authorization",  # it was read, and nobody else needs to see a key
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
        b"x-request-id",
    }
)
