"""One client connection: the transport, its deadlines and its back-pressure.

`http_reader` makes requests of its bytes, `request_dispatcher` answers of these.  While requests
wait for their turn, a few of them, the connection is not read any further.
"""

from __future__ import annotations

import asyncio
import enum
import select
import socket
from typing import Protocol, cast

from runnerd.errors import ClientError, Overloaded, RequestTimeout
from runnerd.relay.body_pace import BodyPace
from runnerd.relay.deadline import Deadline
from runnerd.relay.dispatcher_hosts import RelayHost
from runnerd.relay.half_close import HalfClosed, has_left
from runnerd.relay.http_reader import HttpReader
from runnerd.relay.peers import ConnectionPeer, Peers
from runnerd.relay.request_dispatcher import RequestDispatcher
from runnerd.relay.request_head_cache import RequestHeadCache

_PIPELINED = 16  # requests that may wait on a connection before it is not read further
_LINGER = 2.0  # seconds to let a refused client finish sending, so that it reads the refusal


class ConnectionHost(RelayHost, Protocol):
    """Who keeps count of the connections."""

    peers: Peers
    """Says who is at the other end."""

    def request_head_cache(self, *, unix: bool) -> RequestHeadCache:
        """What was remembered of requests over Unix sockets, or over TCP."""
        ...

    def admit(self, connection: ClientConnection) -> bool:
        """Count a connection; False when there are too many and all of them are in use."""
        ...

    def turn_away(self, connection: ClientConnection) -> bool:
        """Count a connection that is told so; False when there are too many even of those."""
        ...

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
        ...


class Use(enum.Enum):
    """What a connection is used for."""

    NEVER = enum.auto()  # it never asked for anything
    IDLE = enum.auto()
    IN_HEAD = enum.auto()  # nothing has come of a request but a part of its head
    SERVED = enum.auto()


class ClientConnection(asyncio.Protocol):
    """Owns one client connection from accept to close.

    `reading_ended`: nothing further is read, and the connection ends after the response;
    `write_paused`: the client does not keep up; `used`: it has ever sent something; `unix`: it came
    over a Unix socket.
    """

    def __init__(self, relay: ConnectionHost) -> None:
        self._relay = relay
        self._limits = relay.limits
        self._transport: asyncio.Transport | None = None
        self.unix = False
        self._deadline = Deadline(self._expired)
        self.expect_nothing = self._deadline.clear  # it is our turn
        self._reading_paused = False
        self._pace = BodyPace(relay.limits)
        self._half_closed: HalfClosed | None = None
        self._lingers = False  # only until the client has read why it is hung up on
        self.reading_ended = False
        self.write_paused = self.used = False

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are no subclasses of asyncio's.
        transport = self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket")
        unix = self.unix = peer is not None and peer.family == socket.AF_UNIX
        known = self._relay.request_head_cache(unix=unix)
        self._reader = HttpReader(self._limits, known)
        self._requests = RequestDispatcher(self, self._relay, known, unix=unix)
        self._peer = ConnectionPeer(self._relay.peers, transport)
        self.principal = self._peer.principal
        if self._relay.admit(self):
            self._deadline.set(self._limits.idle_timeout)
        elif self._relay.turn_away(self):
            self._requests.refuse(Overloaded("too many connections are in use", retry_after=1))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reading_ended = True
        self._reader.close()
        self._deadline.close()
        if self._half_closed is not None:
            self._half_closed.close()
        self._requests.lost(exc)
        del self._requests  # it refers to this
        self._relay.forget(self)

    def eof_received(self) -> bool:
        """Whether the connection stays for the responses to what was asked (`half_close`)."""
        transport, requests = self.transport, self._requests
        incomplete = self._reader.in_head or requests.reading is not None
        if self._lingers or not (incomplete or requests.active) or has_left(transport):
            return False
        self._half_closed = HalfClosed(transport, requests.probe, transport.abort)
        if incomplete:
            requests.refuse(ClientError("the request ended before it was complete"))
        self.reading_ended = True
        self.expect()
        return True

    def data_received(self, data: bytes) -> None:
        if self.reading_ended:
            return
        self.used = True
        if self._peer.unknown:
            self._peer.hold(data, self.data_received)
            return
        requests, reader = self._requests, self._reader
        if requests.active is None:
            known = reader.known(data)
            if known is not None and requests.start_known(known[0], data, known[1]):
                return
        was_in_head = reader.in_head
        events = reader.feed(data)
        if reader.in_head and (events or not was_in_head):
            self._deadline.set(self._limits.head_timeout)
        for event in events:
            if not self.reading_ended:
                requests.take(event)
        self.expect()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._pace.stop()
        self._deadline.set(self._limits.stall_timeout)
        self._requests.flow(paused=True)

    def resume_writing(self) -> None:
        self.write_paused = False
        self._requests.flow(paused=False)
        self.expect()

    # deadlines

    def expect(self) -> None:
        """Set the deadline that fits what is expected next of the client."""
        if self.reading_ended:
            if self._half_closed is not None and not self.write_paused:
                self._deadline.clear()
            return
        requests = self._requests
        if self._reader.in_head:
            pass  # it was set when that began
        elif self.write_paused and requests.active is not None:
            pass  # it was set when the client stopped to read
        elif requests.reading is not None and not self._reading_paused:
            request = requests.reading.request
            if request is not self._pace.request or not self._deadline.is_set:
                self._deadline.set(self._pace.begin(request))
        elif requests.active is None:
            self._deadline.set(self._limits.idle_timeout)
        else:
            self._deadline.clear()
        if len(requests.queue) >= _PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    def _expired(self) -> None:
        if self._transport is None:
            return
        reading = self._requests.reading
        if self.write_paused or self.reading_ended:
            self._transport.abort()
        elif reading is not None and reading.request is self._pace.request and self._pace.kept:
            self._deadline.set(self._pace.begin(reading.request))
        elif self._reader.in_head or reading is not None:
            self._requests.refuse(RequestTimeout("the request did not arrive in time"))
        else:
            self._transport.close()

    # what its requests call

    @property
    def transport(self) -> asyncio.Transport:
        """The client's transport."""
        assert self._transport is not None
        return self._transport

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes to the client, if it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Read nothing further for now: nobody takes it."""
        self._reading_paused = True
        if self.is_open:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.is_open and self._half_closed is None:
            self.transport.resume_reading()
        if self._reading_paused:
            self._reading_paused = False
            self.expect()

    def close(self) -> None:
        """Close once everything is sent."""
        self.reading_ended = True
        if self._transport is not None:
            self._transport.close()

    def hang_up(self, *, linger: bool) -> None:
        """Read nothing further and close; `linger` while the client may still be sending."""
        self.reading_ended = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if linger and self._half_closed is None and transport.can_write_eof():
            self._lingers = True
            # Closing with unread bytes would reset the connection and could destroy the response.
            transport.write_eof()
            transport.resume_reading()
            self._deadline.set(_LINGER)
        else:
            transport.close()

    # what the relay calls

    @property
    def use(self) -> Use:
        """What it is used for at this moment."""
        requests = self._requests
        if requests.active is not None or requests.reading is not None:
            return Use.SERVED
        if self._reader.in_head:
            return Use.IN_HEAD
        if _has_unread(self.transport):
            return Use.SERVED  # a request is on its way into this process
        return Use.IDLE if self.used else Use.NEVER

    def enforce(self, *, peers: bool) -> None:
        """End what is not allowed any more, to a user or, with `peers`, to who has connected."""
        self._requests.enforce(peers=peers)
        if peers and self._peer.changed and self._requests.active is None:
            self.transport.close()  # the next connection is looked at by the new rules

    def drain(self) -> None:
        """The daemon shuts down: an idle connection ends now, a busy one behind its response."""
        if self._requests.active is None and self._requests.reading is None:
            self.transport.close()


def _has_unread(transport: asyncio.Transport) -> bool:
    """Say whether something has arrived, a request perhaps, that was not read yet."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
