"""runnerd.relay.client_connection: what the daemon's own mistakes do to a connection."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from runnerd.limit_settings import Limits
from runnerd.relay import routes
from runnerd.relay.admission import Admission
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.client_connection import ClientConnection, Use
from runnerd.relay.peers import Peers
from runnerd.relay.request_head_cache import RequestHeadCache
from runnerd.relay.service import Relay

REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)


class BrokenRelay:
    """A relay that cannot plan any request, for a reason that nobody foresaw."""

    limits = Limits()
    admission = Admission()
    draining = False
    peers = Peers()
    bodies = BodyBudget(limits)

    def request_head_cache(self, *, unix: bool) -> RequestHeadCache:
        return RequestHeadCache()

    def route(self, path: str) -> routes.Route | None:
        return routes.find(path)

    def authenticate(self, secret: str) -> None: ...

    def authorize(self, *arguments: object) -> None: ...

    def admit(self, front: ClientConnection) -> bool:
        return True

    def forget(self, front: ClientConnection) -> None: ...

    def exchange(self, *arguments: object) -> Any:
        raise ZeroDivisionError


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Socketed(Wire):
    """A transport over a real socket that the event loop has not read from yet."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self.end = end

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.end if name == "socket" else None


async def test_a_request_on_its_way_keeps_its_connection() -> None:
    """It lies in the socket when places are looked for, before the loop has read any of it: the
    connection looks unused and is not.  Seen over the wire only where both fall into one turn.
    """
    client, end = socket.socketpair()
    with client, end:
        connection = ClientConnection(cast(Relay, BrokenRelay()))
        connection.connection_made(Socketed(end))
        uses = [connection.use]
        client.sendall(REQUEST[:1])
        uses.append(connection.use)
        connection.data_received(end.recv(1))
        uses.append(connection.use)
        assert uses == [Use.NEVER, Use.SERVED, Use.IN_HEAD], "the rest is still to come"


@pytest.mark.parametrize("pieces", [[REQUEST], [REQUEST[:20], REQUEST[20:-1], REQUEST[-1:]]])
async def test_an_unforeseen_failure_is_answered(pieces: list[bytes]) -> None:
    """However a request arrives, it gets a 500 without details, and so do the ones after it."""
    front, wire = ClientConnection(cast(Relay, BrokenRelay())), Wire()
    front.connection_made(wire)
    for number in (1, 2, 3):
        for piece in pieces:
            front.data_received(piece)
        assert wire.written.count(b"HTTP/1.1 500 ") == number
    assert b"ZeroDivision" not in wire.written
    front.connection_lost(None)
