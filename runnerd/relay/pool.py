"""The relay's connections to the engines, kept where an engine keeps them.

llama-server closes a connection after a stream, after 100 requests, and after 5 idle seconds.  A
connection is therefore kept only after a response of known length, is given up well before those
limits, and the one used last is used first.  Every request that finds a kept one takes it, so that
kept ones never hold a thread of the engine that another request needs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runnerd.errors import Overloaded
from runnerd.relay.engine import Buffer
from runnerd.relay.engine_connection import EngineConnection
from runnerd.relay.poller import Poller
from runnerd.relay.response_receiver import ResponseReceiver
from runnerd.sockets.peer import Endpoint

_KEPT_SECONDS = 3.0
_KEPT_REQUESTS = 90
_KEPT_CONNECTIONS = 256
_LATE = 3  # ends in a row that were not told, and the engine is one that does not hang up


class EnginePool:
    """The connections to one engine."""

    __slots__ = ("_endpoint", "_idle", "_late", "_limit", "_poller", "active")

    def __init__(self, endpoint: Endpoint, limit: int, poller: Poller) -> None:
        self._endpoint = endpoint
        self._poller = poller
        self._limit = limit
        self._idle: list[EngineConnection] = []
        self._late = 0
        self.active = 0

    def ask(
        self,
        receiver: ResponseReceiver,
        request: Sequence[Buffer],
        *,
        fresh: bool = False,
        at_the_end: bool = False,
    ) -> EngineConnection:
        """Send a request to the engine, on a kept connection or (always if `fresh`) on a new one.

        `at_the_end` is as in `EngineConnection.ask`.
        Raises OSError when the engine does not accept, errors.Overloaded when it has enough to do.
        """
        if self.active >= self._limit:
            raise Overloaded("the model has too many requests to answer", retry_after=1)
        connection = None if fresh else self._kept()
        if connection is None:
            connection = EngineConnection(self._endpoint, self._poller, self._keep, self._closed)
            connection.hangs_up = self._late < _LATE
        self.active += 1
        connection.ask(receiver, request, at_the_end=at_the_end)
        return connection

    @property
    def empty(self) -> bool:
        """Whether there is no connection at all."""
        return self.active == 0 and not self._idle

    def close_idle(self) -> None:
        """Close what is kept."""
        for connection in list(self._idle):
            connection.close()

    def _kept(self) -> EngineConnection | None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since > oldest:
                return connection
            self.active += 1  # `_closed` takes it off again
            connection.close()
        return None

    def _keep(self, connection: EngineConnection) -> None:
        if connection.served < _KEPT_REQUESTS and len(self._idle) < _KEPT_CONNECTIONS:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
            self.active -= 1
        else:
            connection.close()

    def _closed(self, connection: EngineConnection) -> None:
        if connection.late is not None:
            self._late = self._late + 1 if connection.late else 0
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.active -= 1


class EnginePools:
    """One pool per engine.  `limit` is how many requests may be at one engine at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pools: dict[Endpoint, EnginePool] = {}
        self.poller = Poller()

    def of(self, endpoint: Endpoint) -> EnginePool:
        """Return the pool of the engine that listens there."""
        pool = self._pools.get(endpoint)
        if pool is None:
            for empty in [each for each, pool in self._pools.items() if pool.empty]:
                del self._pools[empty]
            pool = self._pools[endpoint] = EnginePool(endpoint, self._limit, self.poller)
        return pool

    def close(self) -> None:
        """Close every kept connection; to be called when no other is left."""
        for pool in self._pools.values():
            pool.close_idle()
        self.poller.close()
