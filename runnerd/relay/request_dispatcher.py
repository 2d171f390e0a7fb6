"""The requests of one connection, in their order: what is made of each, and when.

An inference request is collected whole, under limits, before anything is done with it (a slow
client never holds an engine's thread), and becomes an exchange.  Every other request is lent to the
control plane with its body as it comes.  Both kinds may follow each other on one connection.
Requests that arrive while one is being answered wait here; what a head begins, or is refused for,
says `head_acceptance`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from runnerd.errors import (
    InternalError,
    Overloaded,
    RunnerdError,
)
from runnerd.relay.body_budget import SMALL
from runnerd.relay.control_plane_bridge import ControlPlaneBridge
from runnerd.relay.dispatcher_hosts import Connection, RelayHost
from runnerd.relay.exchange import Exchange
from runnerd.relay.head_acceptance import HeadAcceptance, too_large
from runnerd.relay.http_reader import Event, Head, Malformed
from runnerd.relay.http_response import HttpResponse
from runnerd.relay.messages import CONTINUE, Request, error_response, new_request_id
from runnerd.relay.pipelined_request import PipelinedRequest
from runnerd.relay.request_head_cache import CachedHead, RequestHeadCache

log = logging.getLogger(__name__)


class RequestDispatcher:
    """Owns the requests of a connection: `reading` is the one whose body is still arriving,
    `active` the one that is being answered (it may be the same), those in `queue` wait.
    """

    def __init__(
        self, connection: Connection, relay: RelayHost, known: RequestHeadCache, *, unix: bool
    ) -> None:
        self._connection = connection
        self._relay = relay
        self._bodies = relay.bodies
        self._heads = HeadAcceptance(relay, connection, known, unix=unix)
        self._unix = unix
        self.queue: deque[PipelinedRequest] = deque()
        self._exchange: Exchange | None = None
        self._bridge: ControlPlaneBridge | None = None
        self._bridge_answered = False
        self.reading: PipelinedRequest | None = None
        self.active: PipelinedRequest | None = None
        self.unread_bytes: Callable[[], int] = partial(_unread_bytes, connection)
        self.write: Callable[[bytes], None] = connection.write  # what a response needs of it

    @property
    def write_paused(self) -> bool:
        """Whether the client does not keep up."""
        return self._connection.write_paused

    def probe(self) -> None:
        """Send a client over TCP an interim response, if nothing of the response was sent yet."""
        active = self.active
        if self._unix or active is None:
            return
        responder = self._exchange or self._bridge
        awaited = active.request.http11 and active.request.complete
        if awaited and responder is not None and not responder.begun:
            self.write(CONTINUE)

    def lost(self, exc: Exception | None) -> None:
        """The client has gone, and with it all that it asked for."""
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        if self._bridge is not None:
            self._bridge.lost(exc)
            self._bridge = None
        for entry in (self.active, self.reading, *self.queue):
            if entry is not None:
                entry.forget_body(self._bodies)

    # requests, as they are read

    def start_known(self, known: CachedHead, data: bytes, start: int) -> bool:
        """Start a request whose head was read before and whose body begins at `start`; False when
        it has to be read as others are.
        """
        size = len(data) - start
        if size > self._relay.limits.body_bytes or not self._bodies.hold(size, self._unix):
            return False
        self.active = entry = PipelinedRequest(known.request.repeated(data[start:]), known.route)
        self._start_exchange(entry)
        return True

    def take(self, event: Event) -> None:
        """Take what was read of a request."""
        if isinstance(event, bytes):
            self._body(event)
        elif isinstance(event, Head):
            self._head(event)
        elif isinstance(event, Malformed):
            self.refuse(event.error)
        else:
            self._end()

    def _head(self, head: Head) -> None:
        self.reading = entry = self._heads.accept(head)
        self.queue.append(entry)
        self._go_on()

    def _body(self, data: bytes) -> None:
        entry = self.reading
        if entry is None or entry.error is not None:
            return
        request = entry.request
        request.received += len(data)
        large = len(request.body) + len(data) > SMALL
        claimant = None
        if large:
            peer = self._connection.principal
            claimant = (request.user or peer(request.forwarded_for)).id
        if entry is self.active and self._bridge is not None and entry.route is None:
            self._bridge.body(data)
        elif entry.route is not None and request.received > self._relay.limits.body_bytes:
            self._spoil(entry, too_large(self._relay.limits))
        elif not entry.hold(len(data), self._bodies, claimant, unix=self._unix):
            request.received -= len(data)
            self._spoil(entry, Overloaded("too many request bodies in memory", retry_after=5))
        else:
            request.collect(data)

    def _end(self) -> None:
        entry, self.reading = self.reading, None
        if entry is None:
            return
        entry.request.complete = True
        if entry is not self.active or entry.error is not None:
            return
        if entry.route is not None:
            self._start_exchange(entry)
        elif self._bridge is not None:
            self._bridge.end_body()
            if self._bridge_answered:
                self._control_plane_done()

    # answering, one after the other

    def _go_on(self) -> None:
        """Begin to answer the first in the queue, unless another one is being answered."""
        if self.active is not None:
            return
        self.active = entry = self.queue.popleft()
        if entry.error is not None:
            self._respond_with_error(entry.request, entry.error)
            return
        request = entry.request
        if entry.route is None:
            self._begin_bridge(entry)
            return
        if request.awaits_continue:
            self.write(CONTINUE)
        if request.complete:
            self._start_exchange(entry)

    def _start_exchange(self, entry: PipelinedRequest) -> None:
        assert entry.route is not None
        request = entry.request
        self._connection.expect_nothing()
        try:
            principal = request.principal(self._connection.principal)
            sink = HttpResponse(self, request)
            self._exchange = self._relay.exchange(sink, request, entry.route, principal)
        except Exception as error:  # whatever it is, the client is told and the next one served
            if not isinstance(error, RunnerdError):
                log.exception("a request could not be planned")
                error = InternalError()
            self.write(error_response(request, error, keep_alive=request.keep_alive))
            self.exchange_done(keep_alive=request.keep_alive)
            return
        if self._connection.write_paused:
            self._exchange.flow(paused=True)
        self._exchange.start()

    def _begin_bridge(self, entry: PipelinedRequest) -> None:
        request = entry.request
        if self._bridge is None:
            self._bridge = ControlPlaneBridge(
                self._connection, self._relay.control_plane, self._control_plane_done
            )
        self._bridge_answered = False
        self._bridge.begin(request)
        if request.body:
            body = bytes(request.body)
            entry.forget_body(self._bodies)
            self._bridge.body(body)
        if request.complete:
            self._bridge.end_body()

    def exchange_done(self, *, keep_alive: bool) -> None:
        """The exchange's response is complete."""
        self._exchange = None
        if not keep_alive:
            self._connection.reading_ended = True
            self.queue.clear()
        self._next()

    def _control_plane_done(self) -> None:
        """The control plane's response is complete; the request may still be arriving."""
        self._bridge_answered = True
        if self.active is not None and self.active.request.complete:
            if not self.active.request.keep_alive:
                self._connection.reading_ended = True
            self._next()

    def _next(self) -> None:
        """Go on with the next request, or wait for one."""
        if self.active is not None:
            self.active.forget_body(self._bodies)
            self.active = None
        connection = self._connection
        if not connection.is_open:
            return
        if self.queue:
            connection.resume_reading()
            self._go_on()
        elif connection.reading_ended or self._relay.draining:
            connection.close()
        connection.expect()

    def enforce(self, *, peers: bool) -> None:
        """End the request that is being answered where who asks may not do so any more; with
        `peers` also where that is known of the connection, and not of a key.
        """
        active = self.active
        if active is None or active.error is not None or not (peers or active.request.user):
            return
        try:
            principal = active.request.principal(self._connection.principal)
            if self._exchange is not None:
                self._exchange.enforce(principal)
            elif active.route is not None:
                self._relay.authorize(active.request, active.route, principal)
            elif self._bridge is not None:
                self._bridge.enforce()
        except RunnerdError as error:
            if active.route is None:
                self._connection.transport.abort()  # aiohttp has the word, and cannot be told
            else:
                self._spoil(active, error)

    # flow control: the client reads slowly, or again

    def flow(self, *, paused: bool) -> None:
        """The client does not keep up with the response, or reads again."""
        if self._exchange is not None:
            self._exchange.flow(paused=paused)
        if self._bridge is not None:
            if paused:
                self._bridge.pause_writing()
            else:
                self._bridge.resume_writing()

    # refusing

    def refuse(self, error: RunnerdError) -> None:
        """Refuse what cannot be read as a request, after what was asked before."""
        if self._connection.reading_ended:
            return
        request = Request("", b"", "", [], True, False, None, False, new_request_id(None))
        entry = PipelinedRequest(request, None)
        entry.error = error
        broken, self.reading = self.reading, None
        if broken is not None:
            broken.forget_body(self._bodies)
            if broken is self.active:
                self.active = None
                bridge = self._bridge
                if bridge is not None and broken.route is None:  # else it is of an earlier request
                    self._bridge = None
                    if bridge.give_up():
                        self._connection.hang_up(linger=True)
                        return
            else:
                self.queue.remove(broken)  # which will never be complete
        self.queue.append(entry)
        self._go_on()
        self._connection.reading_ended = True

    def _spoil(self, entry: PipelinedRequest, error: RunnerdError) -> None:
        """Refuse a request whose body is arriving."""
        entry.error = error
        entry.forget_body(self._bodies)
        if entry is self.active:
            self._respond_with_error(entry.request, error)

    def _respond_with_error(self, request: Request, error: RunnerdError) -> None:
        """Answer with an error and hang up: what the client still sends is not read as requests."""
        self._connection.write(error_response(request, error, keep_alive=False))
        self.queue.clear()
        self._connection.hang_up(linger=not request.complete)


def _unread_bytes(connection: Connection) -> int:
    return connection.transport.get_write_buffer_size() if connection.is_open else 0
