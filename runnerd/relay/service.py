"""The relay as one thing: what all connections share, and the listeners they come from."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field

from aiohttp import web

from runnerd.limit_settings import Limits
from runnerd.relay.admission import Admission
from runnerd.relay.authentication import Authenticate
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.client_connection import ClientConnection, Use
from runnerd.relay.control_plane_bridge import make_server
from runnerd.relay.exchanges import Exchanges
from runnerd.relay.peers import Peers
from runnerd.relay.request_head_cache import RequestHeadCache
from runnerd.sockets.descriptors import most_clients
from runnerd.sockets.tls import ServerCertificate

log = logging.getLogger(__name__)

_DRAIN_GRACE = 1.0  # seconds for the last bytes of cut answers to leave


@dataclass(frozen=True, slots=True)
class RelayDependencies:
    """What the relay is built from."""

    limits: Limits
    admission: Admission
    exchanges: Exchanges
    app: web.Application
    authenticate: Authenticate = lambda secret: None
    peers: Peers = field(default_factory=Peers)
    certificate: ServerCertificate | None = None  # TCP is TLS where there is one


class Relay:
    """Accepts connections and keeps count of them.

    `drain` admits no further request on idle connections and waits for answers in flight; `close`
    ends everything.  Both are idempotent.
    """

    def __init__(self, parts: RelayDependencies) -> None:
        self.limits = parts.limits
        self.admission = parts.admission
        self.draining = False
        self.route = parts.exchanges.route
        self.exchange = parts.exchanges.exchange
        self.authorize = parts.exchanges.authorize
        self.authenticate = parts.authenticate
        self.peers = parts.peers
        self._certificate = parts.certificate
        self._exchanges = parts.exchanges
        self._app = parts.app
        self._known_heads = {True: RequestHeadCache(), False: RequestHeadCache()}
        self._most_connections = most = most_clients(parts.limits.connections)
        self._reserve = max(1, most // 16)  # of connections that only Unix sockets have
        self._over_tcp = 0
        self._turned_away: set[ClientConnection] = set()
        self._connections: dict[ClientConnection, None] = {}  # in the order in which they came
        self.bodies = BodyBudget(parts.limits)
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def open(self, listeners: list[socket.socket]) -> None:
        """Start to serve on listening sockets."""
        self._runner = await make_server(self._app)
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
        # For Unix sockets too: create_unix_server() would remove the socket's file at the end, from
        # Python 3.13 on, also where it is systemd's and clients wait at it for our successor.
        tls = None if listener.family == socket.AF_UNIX else self._certificate
        server = await loop.create_server(
            lambda: ClientConnection(self),
            sock=listener,
            backlog=backlog,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else self.limits.head_timeout,
        )
        self._servers.append(server)

    def apply(self, admission: Admission) -> None:
        """Hold requests against other rules from now on."""
        self.admission = admission
        for heads in self._known_heads.values():
            heads.forget()  # they have passed the old rules

    def users_changed(self) -> None:
        """Users or keys have changed: nothing that was found of them counts any more."""
        for heads in self._known_heads.values():
            heads.forget()
        self.enforce()

    def enforce(self, *, peers: bool = False) -> None:
        """End what is not allowed any more: to users, whose time may be over, and with `peers` to
        those who showed no key, where other rules have come into force.
        """
        for connection in list(self._connections):
            connection.enforce(peers=peers)
        self._exchanges.enforce()

    @property
    def control_plane(self) -> web.Server:
        """aiohttp's server, for requests that are not inference."""
        assert self._runner is not None
        assert self._runner.server is not None
        return self._runner.server

    # what the connections call

    def request_head_cache(self, *, unix: bool) -> RequestHeadCache:
        """What was remembered of requests over Unix sockets, or over TCP."""
        return self._known_heads[unix]

    def admit(self, connection: ClientConnection) -> bool:
        """Count a connection; False when there are too many and all of them are in use.

        Over TCP there are too many sooner, and these make room among themselves: whoever comes over
        a Unix socket, an owner with a command, finds a place whatever strangers do.
        """
        unix, most = connection.unix, self._most_connections
        full = len(self._connections) >= most
        if not unix:
            full = full or self._over_tcp >= most - self._reserve
        if full and not self._close_idle(unix=unix):
            log.warning("refused a connection: %d are open and in use", len(self._connections))
            return False
        self._connections[connection] = None
        self._over_tcp += not unix
        self._all_gone.clear()
        return True

    def turn_away(self, connection: ClientConnection) -> bool:
        """Count a connection that is told that there are too many; False when there are too many
        even of those.
        """
        if len(self._turned_away) >= self._reserve:
            return False
        self._turned_away.add(connection)
        return True

    def _close_idle(self, *, unix: bool) -> bool:
        """Close some idle connections, so that not each new one has to look for one.

        First those that never asked for anything, and then those that came first: a client that
        keeps a connection may be about to ask again.  Where there are none, those that have sent
        nothing but a part of a head.
        """
        some = 1 + self._most_connections // 16
        found: dict[Use, list[ClientConnection]] = {use: [] for use in Use}
        for each in self._connections:
            if unix or not each.unix:
                found[each.use].append(each)
                if len(found[Use.NEVER]) >= some:
                    break
        idle = found[Use.NEVER] or found[Use.IDLE] or found[Use.IN_HEAD]
        for connection in idle[:some]:
            connection.drain()
            self.forget(connection)
        return bool(idle)

    def forget(self, connection: ClientConnection) -> None:
        """A connection has ended."""
        self._turned_away.discard(connection)
        if self._connections.pop(connection, connection) is None:
            self._over_tcp -= not connection.unix
        if not self._connections:
            self._all_gone.set()

    # the end

    async def drain(self, patience: float) -> None:
        """Let the responses in flight finish, for at most `patience` seconds.

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
        self._exchanges.close()
        self.peers.close()
        if self._runner is not None:
            await self._runner.cleanup()
