"""Clients leave when they have what they wait for, which is before HTTP's last chunk."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from runnerd.relay.records import LEFT
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import SECONDS, wait_for

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHAT = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = "data: [DONE]\n\n"
STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine."""
    folder = tmp_path_factory.mktemp("last")
    tiny.write_completion_model(folder / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(folder))}}
    with running(folder, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(folder / "tiny.gguf", "tiny")
        yield daemon


def chunk(text: str) -> str:
    return f"{len(text):x}\r\n{text}\r\n"


def record(daemon: DaemonProcess, id: str) -> dict[str, Any] | None:
    """What is kept of a request, once it has ended."""
    for found in daemon.http.get("/engines/requests").json():
        if found["id"] == id:
            assert isinstance(found, dict)
            return found
    return None


@pytest.mark.parametrize(
    ("path", "said", "left"),
    [
        pytest.param("/v1/chat/completions", (CHAT, DONE), False, id="OpenAI's end"),
        pytest.param("/v1/chat/completions", (CHAT + DONE,), False, id="in one piece"),
        pytest.param("/v1/messages", (CHAT, STOP), False, id="Anthropic's end"),
        pytest.param("/v1/chat/completions", (CHAT,), True, id="before the end"),
        pytest.param("/v1/chat/completions", (CHAT, DONE[:-1]), True, id="half an end"),
    ],
)
def test_who_leaves_behind_the_last_event_has_all(
    daemon: DaemonProcess, path: str, said: tuple[str, ...], left: bool
) -> None:
    """The engine's own end comes later, or never: that is no failure, and nobody has left."""
    asked = {
        "model": "tiny",
        "stream": True,
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "x"}],
        "raw": HEAD + "".join(map(chunk, said)),
        "then": "hold",
    }
    body = json.dumps(asked).encode()
    id = secrets.token_hex(8)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60 * SECONDS)
        client.connect(str(daemon.socket))
        client.sendall(head.encode() + body)
        wanted, came = said[-1].encode(), b""
        while wanted not in came:
            data = client.recv(2**16)
            assert data, came
            came += data
    found = wait_for(lambda: record(daemon, id), "the record")
    assert found is not None
    assert found["status_code"] == 200
    assert found["error"] == (LEFT if left else None)
