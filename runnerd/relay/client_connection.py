"""One client connection: reads requests, decides whose they are, answers them in order.

An inference request is collected whole, under limits, before anything is done with it (a slow
client never holds an engine's thread), and becomes an exchange.  Every other request is lent to
the control plane with its body as it comes.  Both kinds may follow each other on one connection.
Requests that arrive while one is being answered wait here, a few of them; then the connection is
not read any further.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from runnerd.access import NOBODY, Principal, address_principal, local_principal
from runnerd.errors import (
    ClientError,
    InternalError,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    RunnerdError,
)
from runnerd.relay import routes
from runnerd.relay.control_plane_bridge import ControlPlaneBridge
from runnerd.relay.deadline import Deadline
from runnerd.relay.exchange import Exchange
from runnerd.relay.head_validation import check_inference, check_request, head_too_large
from runnerd.relay.messages import CONTINUE, Request, error_response, new_request_id
from runnerd.sockets.peer import peer_credentials

if TYPE_CHECKING:
    from runnerd.relay.service import Relay

log = logging.getLogger(__name__)

_PIPELINED = 16  # requests that may wait on a connection before it is not read further
_LINGER = 2.0  # seconds to let a refused client finish sending, so that it reads the refusal


class _Entry:
    """A request of this connection, with what is to become of it."""

    __slots__ = ("error", "request", "route")

    def __init__(self, request: Request, route: routes.Route | None) -> None:
        self.request = request
        self.route = route
        self.error: RunnerdError | None = None


class ClientConnection(asyncio.Protocol):
    """Owns one client connection from accept to close."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._limits = relay.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._unix = False
        self._principal: Principal | None = None
        self._deadline = Deadline(self._expired)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._in_head = False
        self._whole: bytes | None = None  # what may be one whole message, while it is parsed
        self._reading: _Entry | None = None  # its body is still arriving
        self._active: _Entry | None = None  # it is being answered
        self._queue: deque[_Entry] = deque()
        self._exchange: Exchange | None = None
        self._bridge: ControlPlaneBridge | None = None
        self._bridge_answered = False
        self._deaf = False  # nothing further is read; the connection ends after the answer
        self._write_paused = False
        self._body_paused = False

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclasses of asyncio's.
        transport = self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket")
        self._unix = peer is not None and peer.family == socket.AF_UNIX
        self._known = self._relay.request_head_cache(unix=self._unix)
        if not self._relay.admit(self):
            transport.abort()
            return
        self._deadline.set(self._limits.idle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        del self._parser  # it refers to this, and so does the deadline
        self._deadline.close()
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        if self._bridge is not None:
            self._bridge.lost(exc)
            self._bridge = None
        for entry in (self._active, self._reading, *self._queue):
            self._forget_body(entry)
        self._relay.forget(self)

    def eof_received(self) -> bool:
        return False  # a client that has closed its side is taken as gone

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        between = self._active is None and self._reading is None and not self._in_head
        if between and self._take_known(data):
            return
        self._whole = data if between else None
        if self._in_head or between:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade is not offered: the request is answered as any other, and is the last one.
            self._hang_up_after_answer()
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be handled")
            self._refuse(InternalError())
        except httptools.HttpParserError:
            self._refuse(ClientError("malformed HTTP request"))
        self._watch()

    def _take_known(self, data: bytes) -> bool:
        """Start a request whose head has been read before; False when it must be parsed."""
        found = self._known.find(data)
        if found is None:
            return False
        known, start = found
        size = len(data) - start
        if size > self._limits.body_bytes or not self._relay.hold(size):
            return False
        self._active = entry = _Entry(known.request.repeated(data[start:]), known.route)
        self._start_exchange(entry)
        return True

    def _watch(self) -> None:
        """Set the deadline that fits what is expected next."""
        if self._deaf:
            return
        if self._in_head:
            if self._head_bytes > self._limits.head_bytes:
                self._refuse(head_too_large(self._limits))
        elif self._reading is not None and not self._body_paused:
            self._deadline.set(self._limits.body_timeout)
        elif self._active is None:
            self._deadline.set(self._limits.idle_timeout)
        elif not self._write_paused:
            self._deadline.clear()
        if len(self._queue) >= _PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    def _expired(self) -> None:
        if self._transport is None:
            return
        if self._write_paused or self._deaf:
            self._transport.abort()
        elif self._in_head or self._reading is not None:
            self._refuse(RequestTimeout("the request did not arrive in time"))
        else:
            self._transport.close()

    # reading: called by llhttp

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._in_head = True
        self._deadline.set(self._limits.head_timeout)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        request = self._read_head()
        entry = _Entry(request, None)
        try:
            check_request(request, self._limits, self._relay.admission, unix=self._unix)
            if request.method == "POST":
                entry.route = self._relay.route(request.path)
            if entry.route is not None:
                dialect = entry.route.dialect
                if dialect is not None and dialect.shapes_errors:
                    request.dialect = dialect
                check_inference(request, entry.route.media_type, unix=self._unix)
                request.read_labels()
                if (request.length or 0) > self._limits.body_bytes:
                    raise self._too_large()
                if self._whole is not None:
                    self._known.remember(self._whole, request, entry.route)
        except RunnerdError as error:
            entry.error = error.with_traceback(None)  # it would refer to this entry
        self._reading = entry
        if self._active is None and not self._queue:
            self._activate(entry)
        else:
            self._queue.append(entry)

    def on_body(self, data: bytes) -> None:
        entry = self._reading
        if entry is None or entry.error is not None or self._deaf:
            return
        request = entry.request
        request.received += len(data)
        if entry is self._active and self._bridge is not None and entry.route is None:
            self._bridge.body(data)
            return
        if entry.route is not None and request.received > self._limits.body_bytes:
            self._spoil(entry, self._too_large())
        elif not self._relay.hold(len(data)):
            request.received -= len(data)
            self._spoil(entry, Overloaded("too many request bodies in memory", retry_after=5))
        else:
            request.collect(data)

    def on_message_complete(self) -> None:
        entry, self._reading = self._reading, None
        if entry is None:
            return
        entry.request.complete = True
        if entry is not self._active or entry.error is not None:
            return
        if entry.route is not None:
            self._start_exchange(entry)
        elif self._bridge is not None:
            self._bridge.end_body()
            if self._bridge_answered:
                self.control_plane_done()

    def _read_head(self) -> Request:
        headers = self._headers
        target, _, query = self._target.partition(b"?")
        while b"//" in target:
            target = target.replace(b"//", b"/")
        if self._unix and target.startswith(_DESKTOP_PREFIX + b"/"):
            target = target[len(_DESKTOP_PREFIX) :]
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            target=b"%s?%s" % (target, query) if query else target,
            path=target.decode("latin-1"),
            headers=headers,
            http11=self._parser.get_http_version() == "1.1",
            keep_alive=self._parser.should_keep_alive(),
            length=None,
            chunked=False,
            id="",
        )
        for name, value in headers:
            if name == b"content-length":
                request.length = int(value) if value.isdigit() else None
            elif name == b"transfer-encoding":
                request.chunked = True
        request.id = new_request_id(request.header(b"x-request-id"))
        return request

    # answering

    def _activate(self, entry: _Entry) -> None:
        self._active = entry
        if entry.error is not None:
            self._answer_error(entry.request, entry.error)
            return
        request = entry.request
        if request.expects_continue and not request.complete and not request.body:
            self.write(CONTINUE)
        if entry.route is None:
            self._begin_bridge(entry)
        elif request.complete:
            self._start_exchange(entry)

    def _start_exchange(self, entry: _Entry) -> None:
        assert entry.route is not None
        request = entry.request
        self._deadline.clear()
        try:
            self._exchange = self._relay.exchange(self, request, entry.route)
        except RunnerdError as error:
            self._unplanned(request, error)
            return
        except Exception:  # whatever it is, the client is told and the next one served
            log.exception("a request could not be planned")
            self._unplanned(request, InternalError())
            return
        if self._write_paused:
            self._exchange.pause()
        self._exchange.start()

    def _unplanned(self, request: Request, error: RunnerdError) -> None:
        self.write(error_response(request, error, keep_alive=request.keep_alive))
        self.exchange_done(keep_alive=request.keep_alive)

    def _begin_bridge(self, entry: _Entry) -> None:
        request = entry.request
        if self._bridge is None:
            self._bridge = ControlPlaneBridge(self, self._relay.control_plane)
        self._bridge_answered = False
        self._bridge.begin(request)
        body, request.body = request.body, b""
        if body:
            self._relay.let_go(len(body))
            self._bridge.body(bytes(body))
        if request.complete:
            self._bridge.end_body()

    def _next(self) -> None:
        """Go on with the next request, or wait for one."""
        self._forget_body(self._active)
        self._active = None
        if self._transport is None or self._transport.is_closing():
            return
        if self._queue:
            self._transport.resume_reading()
            self._activate(self._queue.popleft())
        elif self._deaf or self._relay.draining:
            self._transport.close()
        self._watch()

    # what exchange and turn call

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def write(self, data: bytes) -> None:
        """Send bytes to the client, if it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def principal(self) -> Principal:
        """Who makes the requests of this connection; nobody once it is closed."""
        if self._principal is None:
            if self._transport is None:
                return NOBODY
            self._principal = _principal_of(self._transport, unix=self._unix)
        return self._principal

    def exchange_done(self, *, keep_alive: bool) -> None:
        """The exchange's answer is complete."""
        self._exchange = None
        if not keep_alive:
            self._deaf = True
            self._queue.clear()
        self._next()

    def control_plane_done(self) -> None:
        """The control plane's answer is complete; the request may still be arriving."""
        self._bridge_answered = True
        if self._active is not None and self._active.request.complete:
            if not self._active.request.keep_alive:
                self._deaf = True
            self._next()

    def close(self) -> None:
        """The control plane ends the connection."""
        self._deaf = True
        if self._transport is not None:
            self._transport.close()

    def pause_body(self) -> None:
        self._body_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_body(self) -> None:
        self._body_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._deadline.set(self._limits.stall_timeout)
        if self._exchange is not None:
            self._exchange.pause()
        if self._bridge is not None:
            self._bridge.pause_writing()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.resume()
        if self._bridge is not None:
            self._bridge.resume_writing()
        self._watch()

    @property
    def idle(self) -> bool:
        """Whether it is open and nothing else."""
        return self._active is None and self._reading is None and not self._in_head

    def has_unread(self) -> bool:
        """Say whether something has arrived, a request perhaps, that was not read yet."""
        if self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def drain(self) -> None:
        """The daemon is shutting down: an idle connection ends now, a busy one after its answer."""
        if self._active is None and self._reading is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # refusing

    def _too_large(self) -> RunnerdError:
        return PayloadTooLarge(f"the request body exceeds {self._limits.body_bytes} bytes")

    def _spoil(self, entry: _Entry, error: RunnerdError) -> None:
        """Refuse a request whose body is arriving."""
        entry.error = error
        self._forget_body(entry)
        if entry is self._active:
            self._answer_error(entry.request, error)

    def _refuse(self, error: RunnerdError) -> None:
        """Refuse what cannot be read as a request, after what was asked before."""
        if self._deaf:
            return
        request = Request("", b"", "", [], True, False, None, False, new_request_id(None))
        entry = _Entry(request, None)
        entry.error = error
        if self._reading is not None and self._reading is self._active:
            self._forget_body(self._active)
            self._active = None
        self._reading = None
        if self._active is None and not self._queue:
            self._activate(entry)
        else:
            self._queue.append(entry)
            self._deaf = True

    def _answer_error(self, request: Request, error: RunnerdError) -> None:
        """Answer with an error and hang up: what the client still sends is not read as requests."""
        self.write(error_response(request, error, keep_alive=False))
        self._deaf = True
        self._queue.clear()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof() and not request.complete:
            # Closing with unread bytes would reset the connection and could destroy the answer.
            transport.write_eof()
            transport.resume_reading()
            self._deadline.set(_LINGER)
        else:
            transport.close()

    def _hang_up_after_answer(self) -> None:
        self._deaf = True
        for entry in (self._active, *self._queue):
            if entry is not None:
                entry.request.keep_alive = False

    def _forget_body(self, entry: _Entry | None) -> None:
        """Give the memory of a collected body back to the budget, once."""
        if entry is not None and entry.request.body:
            self._relay.let_go(len(entry.request.body))
            entry.request.body = b""


_DESKTOP_PREFIX = routes.DESKTOP_PREFIX.encode()


def _principal_of(transport: asyncio.Transport, *, unix: bool) -> Principal:
    if unix:
        peer = peer_credentials(transport.get_extra_info("socket"))
        return NOBODY if peer is None else local_principal(peer.uid)
    name = transport.get_extra_info("peername")
    return address_principal(str(name[0]) if name else "")
