"""One stranger does not take what all share: memory for bodies, connections, an engine's slots."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import wait_for
from tests.support.wire import Wire, get, post

MIB = 2**20
SHORT = {"model": "tiny", "prompt": "x", "max_tokens": 1}
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: {size}\r\n\r\n"
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine whose limits are small enough to be met by a test."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(tmp_path)), "stop_grace": 0.5}}
    env = {
        "RUNNERD_BACKENDS": json.dumps(settings),
        "RUNNERD_LIMITS__BODY_BYTES": str(MIB),
        "RUNNERD_LIMITS__BUFFERED_BYTES": str(9 * MIB),
        "RUNNERD_LIMITS__CONNECTIONS": "32",
    }
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        yield daemon


def half_body(size: int, path: str = "/v1/completions") -> bytes:
    """All of a large body but its last byte, in a request whose response it waits for."""
    return HEAD.format(path=path, size=size).encode() + b" " * (size - 1)


def refused(wire: Wire) -> bool:
    """Whether a response has come."""
    return bool(select.select([wire.socket], [], [], 0)[0])


def large(daemon: DaemonProcess) -> bytes:
    """A request with a body that counts."""
    return post("/v1/completions", SHORT | {"user": "x" * (MIB - 200)})


@pytest.mark.parametrize("path", ["/v1/completions", "/models/import"])
def test_body_that_only_trickles_is_refused(tmp_path: Path, path: str) -> None:
    """A byte now and then is no body, also where much came at once before."""
    env = {"RUNNERD_LIMITS__BODY_TIMEOUT": "0.3", "RUNNERD_LIMITS__BODY_RATE": "1000"}
    with running(tmp_path, env=env) as daemon, Wire(daemon.socket) as wire:
        wire.send(HEAD.format(path=path, size=MIB).encode() + b" " * 1000)
        while not select.select([wire.socket], [], [], 0.01)[0]:
            wire.send(b" ")
        assert wire.read().status == 408


def test_half_bodies_of_one_client_leave_memory_for_others(daemon: DaemonProcess) -> None:
    """Also for the same user's command over the Unix socket."""
    with ExitStack() as stack:
        held = [stack.enter_context(Wire(daemon.address)) for _ in range(9)]
        for wire in held:
            wire.send(half_body(MIB))
        wait_for(lambda: sum(map(refused, held)) >= 5, "a part of them to be refused")
        assert all(wire.read().status == 429 for wire in held if refused(wire))
        other = stack.enter_context(Wire(daemon.socket))
        other.send(large(daemon))
        assert other.read().status == 200


def test_half_bodies_of_all_the_world_leave_memory_for_the_owner(daemon: DaemonProcess) -> None:
    """However many addresses they come from."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(Wire(daemon.address, source=f"127.0.0.{number}"))
            for number in range(1, 20)
        ]
        for wire in held:
            wire.send(half_body(MIB))
        wait_for(lambda: sum(map(refused, held)) >= 10, "a part of them to be refused")
        owner = stack.enter_context(Wire(daemon.socket))
        owner.send(large(daemon))
        assert owner.read().status == 200


def run_ps(daemon: DaemonProcess) -> subprocess.CompletedProcess[str]:
    """`runnerd ps`, as an owner runs it."""
    return subprocess.run(
        [sys.executable, "-m", "runnerd", "ps"],
        env={"RUNNERD_SOCKET": str(daemon.socket), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("sent", [b"", b"POST /", half_body(1000)], ids=["idle", "head", "body"])
def test_connections_over_tcp_leave_places_to_the_unix_socket(
    daemon: DaemonProcess, sent: bytes
) -> None:
    """Whether they are idle or in use; and who comes in vain is told why."""
    daemon.http.close()
    with ExitStack() as stack:
        wires: list[Wire] = []
        for _ in range(40):
            wires.append(stack.enter_context(Wire(daemon.address)))
            wires[-1].socket.sendall(sent)
        if sent.endswith(b" "):
            wait_for(lambda: any(map(refused, wires)), "one to be refused")
            response = next(filter(refused, wires)).read()
            assert response.status == 429
            assert "too many connections" in response.json()["error"]["message"]
        found = run_ps(daemon)
        assert found.returncode == 0, found.stderr


def test_idle_and_slow_connections_make_room(daemon: DaemonProcess) -> None:
    """For one that asks: first those that ask nothing, then those that do not end to ask."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(daemon.address)) for _ in range(40)]
        for wire in wires[20:]:
            wire.socket.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(40):
            wire = stack.enter_context(Wire(daemon.address))
            wire.send(get("/version"))
            assert wire.read().status == 200


def test_command_says_that_there_are_too_many_connections(daemon: DaemonProcess) -> None:
    """And not that there is no daemon."""
    with ExitStack() as stack:
        daemon.http.close()
        for _ in range(32):
            stack.enter_context(Wire(daemon.socket)).socket.sendall(half_body(1000))
        wait_for(lambda: "too many connections" in run_ps(daemon).stderr, "the command to say so")


def test_trailers_of_a_request_that_waits_are_no_headers(daemon: DaemonProcess) -> None:
    """They came after its headers were checked."""
    queued = (
        b"GET /version HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        b"Origin: http://localhost:1\r\nX-Request-Id: trailer\r\n\r\n"
    )
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/completions", SHORT) + queued)
        assert wire.read().status == 200
        response = wire.read()
        assert response.status == 200
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["x-request-id"] != "trailer"
    with Wire(daemon.socket) as wire:
        wire.send(queued[:-2] + b"A: b\r\n" * 5000)
        assert wire.read().status == 431


STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("kind", ["unix", pytest.param("tcp", marks=pytest.mark.long)])
def test_streams_that_nobody_reads_give_their_places_to_who_waits(
    tmp_path: Path, kind: str
) -> None:
    """And end with a reason, behind all that was generated."""
    event = f"data: {{}}\n\n: {'x' * 60_000}\n\n"
    chunks = f"{len(event):x}\r\n{event}\r\n" * (12 if kind == "unix" else 150)
    unread = SHORT | {"stream": True, "raw": STREAM + chunks, "then": "hold"}
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(tmp_path)), "stop_grace": 0.5}}
    with (
        running(tmp_path, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon,
        ExitStack() as stack,
    ):
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        daemon.http.post("/v1/completions", json=SHORT)
        places = 2 * int(daemon.ps()[0]["slots"])
        where = daemon.socket if kind == "unix" else daemon.address
        wires = [stack.enter_context(Wire(where)) for _ in range(places)]
        for wire in wires:
            wire.send(post("/v1/completions", unread))
        wait_for(lambda: daemon.ps()[0]["requests"] == places, "all places to be taken")
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
        assert daemon.ps()[0]["requests"] < places
        told = [wire for wire in wires if b"was not read while others wait" in last_of(wire)]
        assert len(told) == 1 or kind == "tcp", "where the buffers hold too much, it only ends"


def last_of(wire: Wire) -> bytes:
    """The end of what is there to be read."""
    wire.socket.settimeout(1)
    last = b""
    try:
        while data := wire.socket.recv(2**20):
            last = (last + data)[-1000:]
    except TimeoutError:
        pass
    return last
