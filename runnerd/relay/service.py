"""The relay as one thing: what all connections share, and the listeners they come from."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from aiohttp import web

from runnerd.access import Policy
from runnerd.backends.configuration import BackendMode
from runnerd.config import Limits
from runnerd.errors import RunnerdError
from runnerd.relay import routes
from runnerd.relay.admission import Admission
from runnerd.relay.capture import CapturingClient, Content
from runnerd.relay.client_connection import ClientConnection
from runnerd.relay.control_plane_bridge import make_server
from runnerd.relay.exchange import Exchange
from runnerd.relay.exchange_context import Client, ExchangeContext
from runnerd.relay.intake import Intake
from runnerd.relay.messages import Request
from runnerd.relay.pending_models import PendingModels
from runnerd.relay.plan import Plan
from runnerd.relay.planner import Planner
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import Records, RequestRecord
from runnerd.relay.request_head_cache import RequestHeadCache
from runnerd.relay.request_rewrites.null_members import without_nulls
from runnerd.relay.request_rewrites.ranked_documents import with_plain_documents
from runnerd.relay.routes import Route
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.sockets.descriptors import most_clients
from runnerd.supervisor import Supervisor

log = logging.getLogger(__name__)

_DRAIN_GRACE = 1.0  # seconds for the last bytes of cut answers to leave


@dataclass(frozen=True, slots=True)
class RelayDependencies:
    """What the relay is built from."""

    limits: Limits
    admission: Admission
    planner: Planner
    supervisor: Supervisor
    records: Records
    app: web.Application
    policy: Policy
    images_dir: Path  # for images on their way to an engine that cannot read them
    dialects: Mapping[str, Route] = field(default_factory=dict)  # by path
    pending_models: PendingModels | None = None
    captures: Callable[[], bool] = lambda: False


class Relay:
    """Accepts connections and keeps count of them.

    `drain` admits no further request on idle connections and waits for answers in flight; `close`
    ends everything.  Both are idempotent.
    """

    def __init__(self, parts: RelayDependencies) -> None:
        self.limits = parts.limits
        self.admission = parts.admission
        self.draining = False
        self._parts = parts
        self._context = ExchangeContext(
            parts.supervisor,
            parts.limits,
            EnginePools(parts.limits.requests_per_runner),
            StallTimeouts(parts.limits.upstream_timeout),
            Quarantine(),
        )
        self._intake = Intake(
            parts.planner,
            parts.policy,
            self._context.quarantine,
            parts.pending_models,
            parts.images_dir,
            parts.limits.body_bytes,
        )
        self._known_heads = {True: RequestHeadCache(), False: RequestHeadCache()}
        self._most_connections = most_clients(parts.limits.connections)
        self._connections: dict[ClientConnection, None] = {}  # in the order in which they came
        self._held_bytes = 0
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def open(self, listeners: list[socket.socket]) -> None:
        """Start to serve on listening sockets."""
        self._runner = await make_server(self._parts.app)
        if self._most_connections < self.limits.connections:
            log.warning(
                "at most %d clients at once: the limit of open files allows no more",
                self._most_connections,
            )
        for listener in listeners:
            await self.listen(listener)

    async def listen(self, listener: socket.socket) -> None:
        """Serve on one more listening socket."""
        loop = asyncio.get_running_loop()
        backlog = self.limits.connections  # the loop listens anew, with a short queue by default
        # uvloop insists on the right kind of call for each family.
        if listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(
                lambda: ClientConnection(self), sock=listener, backlog=backlog
            )
        else:
            server = await loop.create_server(
                lambda: ClientConnection(self), sock=listener, backlog=backlog
            )
        self._servers.append(server)

    def apply(self, admission: Admission) -> None:
        """Hold requests against other rules from now on."""
        self.admission = admission
        for heads in self._known_heads.values():
            heads.forget()  # they have passed the old rules

    def route(self, path: str) -> Route | None:
        """Return the inference route of a path, in whichever dialect."""
        return self._parts.dialects.get(path) or routes.find(path)

    @property
    def control_plane(self) -> web.Server:
        """aiohttp's server, for requests that are not inference."""
        assert self._runner is not None
        assert self._runner.server is not None
        return self._runner.server

    # what the connections call

    def request_head_cache(self, *, unix: bool) -> RequestHeadCache:
        """Return what was remembered of requests over Unix sockets, or over TCP."""
        return self._known_heads[unix]

    def admit(self, connection: ClientConnection) -> bool:
        """Count a connection; False when there are too many and all of them are in use.

        Of those that only stay open, those that came first make room.
        """
        if len(self._connections) >= self._most_connections and not self._close_idle():
            log.warning("refused a connection: %d are open and in use", len(self._connections))
            return False
        self._connections[connection] = None
        self._all_gone.clear()
        return True

    def _close_idle(self) -> bool:
        """Close some idle connections, so that not each new one has to look for one."""
        some = 1 + self._most_connections // 16
        idle = list(islice((each for each in self._connections if each.idle), some))
        for connection in idle:
            connection.drain()
            self.forget(connection)
        return bool(idle)

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._all_gone.set()

    def hold(self, size: int) -> bool:
        """Account for body bytes in memory; False when the budget is spent."""
        if self._held_bytes + size > self.limits.buffered_bytes:
            return False
        self._held_bytes += size
        return True

    def let_go(self, size: int) -> None:
        """Body bytes are in memory no more."""
        self._held_bytes -= size

    def exchange(self, client: Client, request: Request, route: Route) -> Exchange:
        """Check a complete inference request and return its exchange, not yet started.

        Raises errors of the 4xx kind; the request is recorded either way.
        """
        parts = self._parts
        if route.dialect is None:
            request.body = without_nulls(request.body)
            if route.operation.mode is BackendMode.RERANKING:
                request.body = with_plain_documents(request.body)
        record = RequestRecord(
            id=request.id,
            model="",
            operation=route.operation.name,
            origin=(route.dialect and route.dialect.origin) or request.origin,
            user_agent=request.user_agent,
            streamed=False,
            bytes_in=request.received,
        )
        parts.records.add(record)
        client = self._captured(client, request, record)
        try:
            plan = self._intake.plan(request, route, client.principal())
        except RunnerdError as error:
            record.status, record.error, record.duration = error.status, error.message[:500], 0.0
            raise
        if isinstance(plan, Plan):
            record.model, record.streamed = plan.model, plan.streams
        return Exchange(client, request, plan, record, self._context)

    def _captured(self, client: Client, request: Request, record: RequestRecord) -> Client:
        """The client, listened to where the owner wants to see what is asked and answered."""
        records = self._parts.records
        if not self._parts.captures():
            records.forget_content()
            return client
        content = Content.of(request.target.decode("latin-1"), request.body)
        records.keep_content(record, content)
        return CapturingClient(client, content)

    # the end

    async def drain(self, patience: float) -> None:
        """Let the answers in flight finish, for at most `patience` seconds.

        Listeners that are still open go on, so that new requests are told 503 instead of being
        refused blindly.
        """
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(patience):
                await self._all_gone.wait()
        except TimeoutError:
            log.warning(
                "%d connections did not finish within %g s", len(self._connections), patience
            )

    def stop_listening(self) -> None:
        """Accept nothing more.  Idempotent."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.transport.abort()
        try:
            async with asyncio.timeout(_DRAIN_GRACE):
                await self._all_gone.wait()
        except TimeoutError:
            log.warning("%d connections could not be closed", len(self._connections))
        self._context.watch.close()
        self._context.pools.close()
        if self._runner is not None:
            await self._runner.cleanup()
