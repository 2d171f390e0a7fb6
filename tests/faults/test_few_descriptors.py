"""A daemon that can have few open files, beside clients that only keep their connections open."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.long]

CHAT = {"model": "tiny", "prompt": "x", "max_tokens": 2}
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that can have 64 open files."""
    tiny.write_completion_model(tmp_path / "tiny.gguf", context_length=8192)
    daemon = DaemonProcess(tmp_path)
    daemon.prefix = (sys.executable, "-c", LIMITED)
    try:
        daemon.start()
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        yield daemon
    finally:
        daemon.close()


def test_idle_connections_do_not_keep_a_model_from_loading(daemon: DaemonProcess) -> None:
    """Forty of them are there, and a request to a model that is not loaded is answered."""
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(40)]
        for each in idle:
            each.connect(str(daemon.socket))
        response = daemon.http.post("/v1/completions", json=CHAT)
        assert response.status_code == 200, response.text
        idle[0].settimeout(60)
        assert idle[0].recv(1) == b"", "the first to come made room"
    assert "Too many open files" not in daemon.text()
    assert "Traceback" not in daemon.text()


def test_request_on_an_open_connection_is_served_when_all_places_are_taken(
    daemon: DaemonProcess,
) -> None:
    """Who is in use stays, whoever else comes."""
    with ExitStack() as stack:
        long = CHAT | {"max_tokens": 4000, "stream": True, "ignore_eos": True}
        client = stack.enter_context(daemon.client())
        stream = stack.enter_context(client.stream("POST", "/v1/completions", json=long))
        pieces = stream.iter_raw()
        next(pieces)
        for _ in range(40):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(daemon.socket))
        wait_for(lambda: len(daemon.ps()) == 1, "an answer beside them")
        next(pieces)
