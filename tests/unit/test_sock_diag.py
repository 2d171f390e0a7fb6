"""Who is at the other end of a loopback connection, by the kernel's word."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runnerd.sockets import sock_diag
from runnerd.sockets.sock_diag import SockDiag
from tests.support.ports import has_ipv6
from tests.support.strangers import NOBODY, needs_root

V4, V6 = socket.AF_INET, socket.AF_INET6


@contextmanager
def pair(
    listening: tuple[int, str], calling: tuple[int, str]
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the client's end and the one that was accepted."""
    with socket.socket(listening[0]) as listener, socket.socket(calling[0]) as client:
        if listening[0] == V6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((listening[1], 0))
        listener.listen()
        client.connect((calling[1], listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            yield client, accepted


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    diag = SockDiag()
    yield diag
    diag.close()


@pytest.mark.parametrize(
    ("listening", "calling"),
    [
        ((V4, "127.0.0.1"), (V4, "127.0.0.1")),
        ((V4, "127.0.0.1"), (V6, "::ffff:127.0.0.1")),
        ((V6, "::1"), (V6, "::1")),
        ((V6, "::"), (V4, "127.0.0.1")),
        ((V6, "::"), (V6, "::ffff:127.0.0.1")),
        ((V6, "::"), (V6, "::1")),
    ],
)
def test_our_own_uid(diag: SockDiag, listening: tuple[int, str], calling: tuple[int, str]) -> None:
    """Over IPv4, IPv6 and IPv4 written as IPv6; a client that is done sending is still there."""
    assert diag.why_not() is None
    if "::1" in (listening[1], calling[1]) and not has_ipv6():
        pytest.skip("this host has no IPv6")
    with pair(listening, calling) as (client, accepted):
        assert diag.peer_uid(accepted) == os.geteuid()
        client.shutdown(socket.SHUT_WR)
        assert diag.peer_uid(accepted) == os.geteuid()


def test_a_closed_socket_is_nobodys(diag: SockDiag) -> None:
    """Of an orphan the kernel tells the uid 0, which it must not be taken for."""
    with pair((V4, "127.0.0.1"), (V4, "127.0.0.1")) as (client, accepted):
        client.close()
        assert diag.peer_uid(accepted) is None


def test_a_reset_connection_is_nobodys(diag: SockDiag) -> None:
    """Its pair of addresses may be somebody else's by now."""
    with pair((V4, "127.0.0.1"), (V4, "127.0.0.1")) as (client, accepted):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert diag.peer_uid(accepted) is None


def test_a_listener_on_the_clients_port_is_not_the_client(diag: SockDiag) -> None:
    """Where no connected socket is left, the kernel finds who listens on that port."""
    assert any(_listens_instead(diag) for _ in range(20)), "the port was never free"


def _listens_instead(diag: SockDiag) -> bool:
    """Look for a client in whose place somebody listens; whether its port was free for that."""
    with pair((V4, "127.0.0.1"), (V4, "127.0.0.1")) as (client, accepted):
        name = client.getsockname()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(name)
            except OSError:  # another program has it now
                return False
            listener.listen()
            ours, theirs = sock_diag._address(accepted.getsockname()), sock_diag._address(name)
            assert diag._ask(diag._open(), theirs, ours) is None
            assert diag.peer_uid(accepted) is None
    return True


@needs_root()
def test_another_users_uid(diag: SockDiag) -> None:
    """A process with another uid is told apart, also by a daemon that is not root."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = f"import socket,sys; s=socket.create_connection(('127.0.0.1',{listener.getsockname()[1]})); sys.stdin.read()"  # noqa: E501
        caller = subprocess.Popen(
            ["/usr/bin/python3", "-I", "-c", program], user=NOBODY, stdin=subprocess.PIPE, cwd="/"
        )
        with caller, listener.accept()[0] as accepted:
            assert diag.peer_uid(accepted) == NOBODY
            assert _asked_as(NOBODY, accepted) == NOBODY


def _asked_as(uid: int, accepted: socket.socket) -> int:
    """What the kernel tells an ordinary user of a connection."""
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(uid, uid, uid)
            found = SockDiag().peer_uid(accepted)
        except BaseException:
            found = None
        os._exit(1 if found == uid else 2)
    _, status = os.waitpid(child, 0)
    return uid if os.waitstatus_to_exitcode(status) == 1 else -1


def test_what_may_not_be_asked_is_not_known(
    diag: SockDiag, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A service without AF_NETLINK says so once, and takes nobody for anybody."""

    def refuse() -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(diag, "_open", refuse)
    with pair((V4, "127.0.0.1"), (V4, "127.0.0.1")) as (_, accepted):
        assert [diag.peer_uid(accepted) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert "Address family" in (diag.why_not() or "")


def test_other_machines_are_not_asked_for(diag: SockDiag) -> None:
    """Only loopback has both ends on this host."""

    class Remote:
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.1", 80

        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.2", 4000

        def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
            raise AssertionError("asked")

    assert diag.peer_uid(Remote()) is None
    assert sys.platform == "linux"
