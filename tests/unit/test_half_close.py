"""runnerd.relay.half_close: how a client that has left is told from one that has half-closed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from runnerd.relay.half_close import HalfClosed, has_left


class Transport:
    """A transport over one end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def get_extra_info(self, name: str) -> Any:
        return self._end if name == "socket" else None

    def is_closing(self) -> bool:
        return False


def pair(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """The client's end and ours."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
async def test_half_closed_client_is_found_once_it_has_left(family: socket.AddressFamily) -> None:
    """Over TCP because of what it was sent."""
    client, end = pair(family)
    with client, end:
        transport = cast(asyncio.Transport, Transport(end))
        probed, left = asyncio.Event(), asyncio.Event()
        client.shutdown(socket.SHUT_WR)
        assert not has_left(transport)
        watch = HalfClosed(transport, probed.set, left.set)
        await probed.wait()
        client.close()
        end.settimeout(None)
        if family == socket.AF_INET:
            end.send(b"something")
        await left.wait()
        assert has_left(transport)
        watch.close()


async def test_nothing_is_called_once_it_is_closed() -> None:
    """Whoever has left meanwhile."""
    client, end = socket.socketpair()
    with client, end:
        watch = HalfClosed(cast(asyncio.Transport, Transport(end)), _fail, _fail)
        watch.close()
        watch.close()
        watch._look()


def _fail() -> None:
    raise AssertionError
