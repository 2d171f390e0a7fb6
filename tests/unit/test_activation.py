"""Inherited listeners, handed over by the real systemd-socket-activate where there is one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import runnerd
from runnerd.errors import StartupError
from runnerd.sockets.activation import inherited_sockets
from tests.support.ports import reserved_port

CHECKOUT = Path(runnerd.__file__).parent.parent

# Prints what it inherited and what its own children would see, then serves one client per listener.
CHILD = """
import fcntl, json, os, sys
from runnerd.errors import StartupError
from runnerd.sockets.activation import inherited_sockets
try:
    listeners = inherited_sockets()
except StartupError as error:
    sys.exit(error.message)
print(json.dumps({
    "families": [listener.family.name for listener in listeners],
    "blocking": [listener.getblocking() for listener in listeners],
    "inheritable": [listener.get_inheritable() for listener in listeners],
    "variables": [name for name in os.environ if name.startswith("LISTEN_")],
    "again": len(inherited_sockets()),
}), flush=True)
for listener in listeners:
    listener.setblocking(True)
    client, _ = listener.accept()
    client.sendall(b"served")
    client.close()
    listener.close()
"""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate"
)


@contextmanager
def activated(*arguments: str, listeners: int) -> Iterator[subprocess.Popen[str]]:
    """Start CHILD behind systemd-socket-activate; the body runs once all listeners are open."""
    command = ["systemd-socket-activate", "-E", f"PYTHONPATH={CHECKOUT}", *arguments]
    with subprocess.Popen(
        [*command, sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for _ in range(listeners):
                line = process.stderr.readline()
                assert "Listening on" in line, line + process.stderr.read()
            yield process
        finally:
            process.kill()
            for name in arguments:
                if name.startswith("/"):
                    Path(name).unlink()


@needs_systemd
def test_unix_and_tcp_listeners_are_served(tmp_path: Path) -> None:
    """Both listeners arrive in order, serve clients, and nothing of them reaches children."""
    path = tmp_path / "s"
    with (
        reserved_port() as port,
        activated("-l", str(path), "-l", f"127.0.0.1:{port}", listeners=2) as process,
        socket.socket(socket.AF_UNIX) as first,
    ):
        first.connect(str(path))
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {
            "families": ["AF_UNIX", "AF_INET"],
            "blocking": [False, False],
            "inheritable": [False, False],
            "variables": [],
            "again": 0,
        }
        assert first.recv(100) == b"served"
        with socket.create_connection(("127.0.0.1", port)) as second:
            assert second.recv(100) == b"served"
        assert process.wait() == 0


@needs_systemd
def test_datagram_listener_is_refused_by_name(tmp_path: Path) -> None:
    """A ListenDatagram= line cannot be served; the message has the descriptor and its name."""
    arguments = ("--datagram", "--fdname=web", "-l", str(tmp_path / "s"))
    with (
        activated(*arguments, listeners=1) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        client.sendto(b"x", str(tmp_path / "s"))
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "descriptor 3 (web) is no stream socket" in errors


def run_child(redirection: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run CHILD with descriptor 3 made by the shell and LISTEN_PID its own."""
    script = f'LISTEN_PID=$$; export LISTEN_PID; exec "$0" -c "$1" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, sys.executable, CHILD],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_descriptor_that_is_no_socket_is_refused() -> None:
    """A file in a socket's place is named."""
    done = run_child("3</dev/null", LISTEN_FDS="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "descriptor 3 (unnamed) is not a socket" in done.stderr


def test_descriptor_that_is_not_open_is_refused() -> None:
    """A count beyond what is open is an error, not a listener less."""
    done = run_child("3<&-", LISTEN_FDS="1")
    assert done.returncode == 1
    assert "is not a socket: Bad file descriptor" in done.stderr


def test_socket_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connected socket (Accept=yes) is refused, closed, and the remedy named."""
    left, right = socket.socketpair()
    _pretend_first_descriptor(monkeypatch, left)
    with right, pytest.raises(StartupError, match=r"does not listen; .*Accept=no"):
        inherited_sockets(_meant_for_us("1"))
    assert left.detach() >= 0  # its descriptor is closed already


def test_all_are_closed_if_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The good listener before the bad descriptor does not stay open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        fd = fcntl.fcntl(server, fcntl.F_DUPFD_CLOEXEC, 200)  # the next one is nobody's
    with socket.socket(fileno=fd) as listener:
        _pretend_first_descriptor(monkeypatch, listener)
        listener.detach()
    with pytest.raises(StartupError):
        inherited_sockets(_meant_for_us("2"))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address).close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "us"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "a:b"},
    ],
)
def test_sockets_meant_for_others_are_ignored(environ: Mapping[str, str]) -> None:
    """Without a count, or with another's pid, there is nothing; the variables go all the same."""
    left = {**environ, "PATH": "/bin"}
    assert inherited_sockets(left) == []
    assert left == {"PATH": "/bin"}


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "٣", "9" * 5000])
def test_count_that_is_no_number_is_refused(count: str) -> None:
    """A broken hand-over is an error, not a start without listeners."""
    with pytest.raises(StartupError, match="LISTEN_FDS="):
        inherited_sockets(_meant_for_us(count))


def _meant_for_us(count: str) -> dict[str, str]:
    return {"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())}


def _pretend_first_descriptor(monkeypatch: pytest.MonkeyPatch, sock: socket.socket) -> None:
    """Let the hand-over begin at `sock`: pytest itself has descriptor 3."""
    monkeypatch.setattr("runnerd.sockets.activation._FIRST_FD", sock.fileno())
