"""Where an engine dies within a response: how each API tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHAT = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine."""
    folder = tmp_path_factory.mktemp("broken")
    tiny.write_completion_model(folder / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(folder))}}
    with running(folder, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(folder / "tiny.gguf", "tiny")
        yield daemon


STOP = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def chunk(text: str) -> str:
    return f"{len(text):x}\r\n{text}\r\n"


PLACES = {
    "nowhere": "",
    "head": HEAD,
    "half event": HEAD + chunk(CHAT[:20]),
    "behind an event": HEAD + chunk(CHAT),
    "within an event": HEAD + chunk(CHAT) + chunk(CHAT[:20]),
    "within a chunk": HEAD + chunk(CHAT) + "ff\r\n" + CHAT[:20],
    "within a chunk's size": HEAD + chunk(CHAT) + "f",
    "before the end": HEAD + chunk(CHAT) + chunk(STOP),
    "without an end": HEAD + chunk(CHAT) + "0\r\n\r\n",
}
NOTHING_SENT = ("nowhere", "head", "half event")


@pytest.mark.parametrize(("path", "then"), [("/api/chat", "die"), ("/api/generate", "close")])
@pytest.mark.parametrize("place", list(PLACES))
def test_ollamas_stream_ends_with_its_error_line(
    daemon: DaemonProcess, path: str, place: str, then: str
) -> None:
    """Wherever it breaks; and where nothing was sent yet, with a status of its own."""
    text = json.dumps({"raw": PLACES[place], "then": then})
    members = {"prompt": text, "messages": [{"role": "user", "content": text}]}
    daemon.http.post("/engines/unload", json={"all": True})  # which forgets its failures
    name = "prompt" if path == "/api/generate" else "messages"
    found = daemon.http.post(path, json={"model": "tiny", name: members[name]})
    if place in NOTHING_SENT:
        assert found.status_code == 502, found.text
        assert found.json()["error"]
        return
    assert found.status_code == 200, found.text
    last = json.loads(found.text.splitlines()[-1])
    assert "error" in last, found.text
