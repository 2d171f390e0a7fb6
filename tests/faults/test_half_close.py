"""Clients that shut down their writing side behind a request, and clients that have left."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import wait_for
from tests.support.wire import Wire, get, post

SHORT = {"model": "tiny", "prompt": "x", "max_tokens": 1}
STREAM = SHORT | {"stream": True, "max_tokens": 20}
HELD = SHORT | {"raw": "", "then": "hold"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine, with a model that is loaded."""
    folder = tmp_path_factory.mktemp("half")
    tiny.write_completion_model(folder / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(folder)), "stop_grace": 0.5}}
    with running(folder, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(folder / "tiny.gguf", "tiny")
        daemon.http.post("/v1/completions", json=SHORT)
        yield daemon


@pytest.fixture(params=["unix", "tcp"])
def wire(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Iterator[Wire]:
    """A connection of either kind."""
    with Wire(daemon.socket if request.param == "unix" else daemon.address) as wire:
        yield wire


def response(wire: Wire) -> bytes:
    """The body of the next response; interim ones are passed over."""
    while (found := wire.read()).status == 100:
        pass
    assert found.status == 200
    return found.body


@pytest.mark.parametrize(
    "sent",
    [
        post("/v1/completions", SHORT),
        post("/v1/completions", STREAM),
        post("/api/generate", STREAM),
        get("/engines/ps"),
        get("/v1/models", version="1.0"),
        post("/v1/completions", SHORT).replace(b"1.1", b"1.0", 1),
    ],
    ids=["whole", "stream", "ollama", "control plane", "1.0", "whole 1.0"],
)
def test_whole_response_comes_after_a_half_close(wire: Wire, sent: bytes) -> None:
    """And then the connection ends."""
    wire.send(sent)
    wire.socket.shutdown(socket.SHUT_WR)
    assert response(wire)
    assert wire.ended()


def test_half_a_request_behind_other_kinds_is_refused(wire: Wire) -> None:
    """Whatever the connection was used for before."""
    for sent in (get("/version"), post("/v1/completions", SHORT)):
        wire.send(sent)
        assert response(wire)
    wire.send(post("/v1/completions", SHORT)[:-1])
    wire.socket.shutdown(socket.SHUT_WR)
    refused = wire.read()
    assert refused.status == 400
    assert b"ended before it was complete" in refused.body
    assert wire.ended()


def test_all_that_was_asked_is_answered_after_a_half_close(wire: Wire) -> None:
    """In its order, of both kinds; what was not asked to its end is refused."""
    asked = [post("/v1/completions", STREAM), get("/version"), post("/v1/completions", SHORT)]
    wire.send(b"".join(asked) + post("/v1/completions", SHORT)[:-1])
    wire.socket.shutdown(socket.SHUT_WR)
    for _ in asked:
        assert response(wire)
    assert wire.read().status == 400
    assert wire.ended()


@pytest.mark.parametrize("sent", [b"GET /ver", post("/v1/completions", SHORT)[:-1]])
def test_request_that_ends_early_is_refused(wire: Wire, sent: bytes) -> None:
    """Who waits for a response hears that there will be none."""
    wire.send(sent)
    wire.socket.shutdown(socket.SHUT_WR)
    assert wire.read().status == 400
    assert wire.ended()


def in_use(daemon: DaemonProcess) -> int:
    """How many requests are at the engine."""
    return int(daemon.ps()[0]["in_use"])


@pytest.mark.parametrize("half_closed", [False, True])
def test_client_that_has_left_is_noticed(
    daemon: DaemonProcess, wire: Wire, *, half_closed: bool
) -> None:
    """Also one that half-closed first, and before anything was sent to it."""
    wire.send(post("/v1/completions", HELD))
    wait_for(lambda: in_use(daemon) == 1, "the request to be at its engine")
    if half_closed:
        wire.socket.shutdown(socket.SHUT_WR)
        wait_for(lambda: in_use(daemon) == 1, "it to stay there")
    wire.socket.close()
    wire._file.close()
    wait_for(lambda: in_use(daemon) == 0, "the engine to be free again")


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_client_that_leaves_in_a_stream_is_noticed(tmp_path: Path, kind: str) -> None:
    """By what it is sent."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(tmp_path, "slow-stream"))}}
    with running(tmp_path, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        with Wire(daemon.socket if kind == "unix" else daemon.address) as wire:
            wire.send(post("/v1/completions", STREAM))
            wire.socket.shutdown(socket.SHUT_WR)
            while wire.read(head_only=True).status == 100:
                pass
            assert wire.socket.recv(2**16), "it goes on"
            assert in_use(daemon) == 1
        wait_for(lambda: in_use(daemon) == 0, "the engine to be free again")
