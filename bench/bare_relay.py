"""The least that a relay on uvloop can be: bytes from one Unix socket to another, and back.

It reads no HTTP, knows no model, no user and no limit, and counts nothing: what it costs is the
floor for any relay in Python on this event loop, and the bars of `bench/RESULTS.md` are to be seen
against it.  Each client has a connection to the engine, and a new one where the engine has closed
that; a request that met such an end is sent once more.  It rests on what the synthetic engine and
the load do: one request at a time, which comes in one piece.

    python bench/bare_relay.py SOCKET ENGINE
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import cast

import uvloop

_CLOSES, _STAYS = b"\r\nConnection: close", b"\r\nConnection: keeps"


class Client(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, engine: str) -> None:
        self._path = engine
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._engine: asyncio.Transport | None = None
        self._connecting: asyncio.Task[object] | None = None
        self.unanswered = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._engine is not None:
            self._engine.abort()

    def data_received(self, data: bytes) -> None:
        self.unanswered = data
        if self._engine is None:
            self._connect()
        else:
            self._engine.write(data)

    def _connect(self) -> None:
        if self._transport is None:
            return
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        connection.connect(self._path)
        made = self._loop.create_unix_connection(lambda: Engine(self), sock=connection)
        self._connecting = self._loop.create_task(made)

    def connected(self, transport: asyncio.Transport) -> None:
        """There is a connection to the engine, which has to be asked."""
        self._engine = transport
        transport.write(self.unanswered)

    def disconnected(self) -> None:
        """It has ended."""
        self._engine = None
        if self.unanswered:
            self._connect()


class Engine(asyncio.Protocol):
    """A client's connection to the engine."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client.connected(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.disconnected()

    def data_received(self, data: bytes) -> None:
        client = self._client
        client.unanswered = b""
        client.write(data.replace(_CLOSES, _STAYS))


async def _serve(path: str, engine: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Client(engine), path, backlog=8192)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
