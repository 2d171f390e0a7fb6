"""An engine that was taken over says what it likes over its real socket.  Whichever route a client
has asked by, it is told what is wrong, the daemon's memory stays where it was, and others go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.long

MIB = 2**20
KEPT = 256 * MIB
"""Of a response that is put together, at most."""

WORDS = ("the engine", "the response is", "an event of a stream", "xxxx", "[[[[")
"""One of which an error has that says what is wrong with a response."""

PIECE = 2**16
JSON = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"
EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"x"},"text":"x"}]}\n\n'


def endless(head: str, piece: str, size: int = 2**30) -> dict[str, Any]:
    """A response of that many bytes in chunks, which does not end."""
    chunk = f"{len(piece):x}\r\n{piece}\r\n"
    said = {"first": head + CHUNKED, "raw": chunk, "times": size // len(piece)}
    return {**said, "then": "hold"}


def one_event(data: str) -> dict[str, Any]:
    event = f"data: {data}\n\n"
    return {"raw": f"{EVENTS}{CHUNKED}{len(event):x}\r\n{event}\r\n0\r\n\r\n", "then": "close"}


LIES: dict[str, dict[str, Any]] = {
    "an event of 16 MiB": {
        "first": EVENTS + '\r\ndata: {"choices":[{"text":"',
        "raw": "x" * PIECE,
        "times": 256,
        "then": "hold",
    },
    "an event without end": endless(EVENTS, "x" * PIECE),
    "2^16 nested lists": one_event('{"choices":' + "[" * 2**16),
    "2^16 nested lists, closed": one_event('{"choices":' + "[" * 2**16 + "]" * 2**16 + "}"),
    "2^16 nested lists that are the body": {
        "raw": f"{JSON}Content-Length: {2**16}\r\n\r\n{'[' * 2**16}"
    },
    "events without end": endless(EVENTS, EVENT * 200),
    "text without end": endless(EVENTS, EVENT.replace('"x"', f'"{"x" * 2**15}"')),
    "comments without end": endless(EVENTS, f": {'x' * 500}\n\n" * 128),
    "a head of 1 MiB": {"raw": f"{JSON}X: {'x' * 2**16}", "times": 16, "then": "hold"},
    "headers without end": {
        "first": JSON,
        "raw": "X-Y: z\r\n" * 8000,
        "times": 2**14,
        "then": "hold",
    },
    "too short a length": {"raw": f'{JSON}Content-Length: 3\r\n\r\n{{"a": 1}}'},
    "too long a length": {
        "raw": f'{JSON}Content-Length: 50\r\n\r\n{{"a": 1}}',
        "then": "close",
    },
    "a length of 2^63": {"raw": f"{JSON}Content-Length: {2**63}\r\n\r\n{{", "then": "close"},
    "a length of 2^200": {"raw": f"{JSON}Content-Length: {2**200}\r\n\r\n{{", "then": "close"},
    "two responses": {"raw": f"{JSON}Content-Length: 2\r\n\r\n{{}}", "times": 2},
    "two streams": {"raw": f"{EVENTS}{CHUNKED}0\r\n\r\n", "times": 2},
    "garbage behind the end": {"raw": f"{EVENTS}{CHUNKED}0\r\n\r\n\0\xff garbage"},
    "a body of 1 GiB without end": {
        "first": f"{JSON}\r\n",
        "raw": "0," * (PIECE // 2),
        "times": 2**14,
        "then": "hold",
    },
    "an error of 1 GiB without end": {
        "first": "HTTP/1.1 500 Wrong\r\nContent-Type: application/json\r\n\r\n",
        "raw": "x" * PIECE,
        "times": 2**14,
        "then": "hold",
    },
    "an error of 2^15 nested lists": {
        "raw": f"HTTP/1.1 500 Wrong\r\nContent-Length: {2**15}\r\n\r\n{'[' * 2**15}"
    },
    "a chunk of 2^63": {"raw": f"{EVENTS}{CHUNKED}{2**63:x}\r\nx", "then": "close"},
    "a chunk of 2^64": {"raw": f"{EVENTS}{CHUNKED}{2**64:x}\r\nx", "then": "close"},
    "numbers without end": {
        "first": f'{JSON}Content-Length: {2**27}\r\n\r\n{{"data":[{{"index":0,"embedding":[0',
        "raw": ",0" * (PIECE // 2),
        "times": 2**11,
        "then": "close",
    },
}

PASSED = {"2^16 nested lists that are the body", "2^16 nested lists", "2^16 nested lists, closed"}
"""What the count of tokens, which nobody reads on its way, may be."""


def ways(said: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Routes whose responses are kept to their end, and a body of each that says what to say."""
    chat = {"model": "tiny", "messages": [{"role": "user", "content": said}], "max_tokens": 5}
    embedding = {"model": "tiny", "input": [said]}
    return {
        "chat": ("/v1/chat/completions", chat),
        "several texts": ("/v1/completions", {"model": "tiny", "prompt": said, "n": 12}),
        "responses": ("/v1/responses", {"model": "tiny", "input": said}),
        "messages": ("/v1/messages", chat),
        "tokens of messages": ("/v1/messages/count_tokens", chat),
        "ollama": ("/api/chat", {**chat, "stream": False}),
        "embeddings": ("/v1/embeddings", {**embedding, "dimensions": 2}),
        "ollama embeddings": ("/api/embed", embedding),
    }


PAIRS = [
    (lie, way)
    for lie in LIES
    for way in ways("{}")
    if lie != "events without end" or way == "chat"  # each takes a processor some 20 s
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine, with short patience and two models."""
    root = tmp_path_factory.mktemp("lies")
    tiny.write_completion_model(root / "tiny.gguf")
    tiny.write_completion_model(root / "other.gguf", seed=1)
    env = {
        "RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"path": str(fake_engine(root))}}),
        "RUNNERD_LIMITS__UPSTREAM_TIMEOUT": "1",
    }
    with running(root, env=env) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(root / "other.gguf", "other")
        yield daemon


def peak(process: psutil.Process) -> int:
    """The most memory that a process has held since this was asked last, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(("lie", "way"), PAIRS)
def test_it_is_told_and_nobody_else_notices(daemon: DaemonProcess, lie: str, way: str) -> None:
    """An error that says what happened, at most as much memory as a response may take, and a
    response of the other model.
    """
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)
    peak(process)
    before = process.memory_info().rss
    path, body = ways(json.dumps(LIES[lie]))[way]
    response = daemon.http.post(path, json=body, timeout=LIMIT)
    if way == "tokens of messages" and lie in PASSED:
        assert response.status_code == 200
    elif way == "tokens of messages" and lie == "two responses" and response.status_code == 200:
        assert response.json() == {}  # the first had come alone, and was whole
    else:
        assert response.status_code >= 500, response.text[:1000]
        assert len(response.content) < 2000
        error = response.json()["error"]
        message = error if isinstance(error, str) else error["message"]
        assert any(word in message for word in WORDS), message
        assert ("xxxx" in message) == (lie == "an error of 1 GiB without end")
    assert peak(process) - before < 2 * KEPT  # a buffer that grows may be there twice
    other = daemon.http.post("/v1/completions", json={"model": "other", "prompt": "x"})
    assert other.status_code == 200, other.text
