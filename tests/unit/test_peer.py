"""The kernel's word on who connected, on every kind of socket object that the daemon meets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from runnerd.sockets.peer import (
    Endpoint,
    PeerCredentials,
    check_listener,
    folder_owner,
    peer_credentials,
)

OURS = PeerCredentials(os.getpid(), os.geteuid(), os.getegid())


def test_unix_peer_is_us() -> None:
    """Both ends of a pair belong to this process."""
    left, right = socket.socketpair()
    with left, right:
        assert peer_credentials(left) == OURS


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_transport(
    run: Callable[[Awaitable[PeerCredentials | None]], PeerCredentials | None], tmp_path: Path
) -> None:
    """What asyncio and uvloop hand out as a transport's socket can be asked as well."""
    assert run(_peer_seen_by_a_server(tmp_path)) == OURS


async def _peer_seen_by_a_server(directory: Path) -> PeerCredentials | None:
    seen = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.set_result(peer_credentials(transport.get_extra_info("socket")))
            transport.close()

    path = str(directory / "s")
    server = await asyncio.get_running_loop().create_unix_server(Server, path)
    _, writer = await asyncio.open_unix_connection(path)
    try:
        found: PeerCredentials | None = await seen
        return found
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        Path(path).unlink(missing_ok=True)


def test_tcp_has_no_credentials() -> None:
    """Over TCP nobody is known, not even on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert peer_credentials(client) is None


def test_socket_without_peer_has_no_credentials() -> None:
    """The kernel's filler of all ones is not taken for a user."""
    with socket.socket(socket.AF_UNIX) as alone:
        assert peer_credentials(alone) is None


def test_closed_socket_has_no_credentials() -> None:
    """A client that is gone before it is asked for gives None, not an error."""
    left, right = socket.socketpair()
    left.close()
    right.close()
    assert peer_credentials(left) is None


def test_whose_socket_it_has_to_be(tmp_path: Path) -> None:
    """In a folder of ours anybody may listen; in another user's only that one."""
    path = str(tmp_path / "e.sock")
    assert folder_owner(path) is None
    assert Endpoint.of(Path(path)) == (path, None)
    assert folder_owner(str(tmp_path / "none" / "e.sock")) is None
    left, right = socket.socketpair()
    with left, right:
        check_listener(left, None)
        check_listener(left, os.geteuid())
        with pytest.raises(ConnectionRefusedError, match="somebody else"):
            check_listener(left, 60850)
    if os.geteuid() == 0:
        os.chown(tmp_path, 60850, 60850)
        assert folder_owner(path) == 60850
        assert Endpoint.of(Path(path)) == (path, 60850)
