"""Files and templates that are made to hurt: refused with the reason when they come in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running, seen_process
from tests.support.fileserver import serving
from tests.support.ggufs import STRING, U32, gguf, pair, tensor, text
from tests.support.waiting import wait_for

pytestmark = pytest.mark.long

EXPRESSION = ".Prompt"
for _ in range(24):
    EXPRESSION = f"(eq {EXPRESSION} 1 2)"
EXPLODING = f"{{{{ if {EXPRESSION} }}}}{{{{ .Prompt }}}}{{{{ end }}}}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path / "d") as daemon:
        yield daemon


def model_with(context: int) -> bytes:
    """A model whose header says so of its context."""
    return gguf(
        pair("general.architecture", STRING, text("llama")),
        pair("llama.block_count", U32, struct.pack("<I", 1)),
        pair("llama.context_length", U32, struct.pack("<I", context)),
        tensor("t", (4,), 0, 0),
        tensors=1,
        data=16,
    )


@pytest.mark.parametrize("context", [0, 2**31, 2**32 - 1])
def test_a_context_that_cannot_be(daemon: DaemonProcess, tmp_path: Path, context: int) -> None:
    """Its engine would abort at every chat: it does not come in, and the reason is said."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(model_with(context))
    response = daemon.http.post("/models/import", json={"path": str(path), "tag": "bad"})
    assert f"llama.context_length is {context}" in response.text
    assert daemon.http.get("/models").json() == []


def test_a_template_that_explodes(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A few hundred characters that would be hundreds of megabytes are a refusal, and cost none."""
    assert len(EXPLODING) < 400
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    daemon.import_model(tmp_path / "tiny.gguf", "tiny")
    assert daemon.process is not None
    before = seen_process(daemon.process.pid).memory_info().rss
    document = {"model": "new", "from": "tiny", "template": EXPLODING, "stream": False}
    response = daemon.http.post("/api/create", json=document)
    assert "characters in Jinja" in response.text, json.dumps(response.json())
    assert seen_process(daemon.process.pid).memory_info().rss - before < 64 * 2**20


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../b"])
def test_a_draft_model_is_no_path(daemon: DaemonProcess, tmp_path: Path, name: str) -> None:
    """It is refused when it is said, and the model goes on as it was configured."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    daemon.import_model(tmp_path / "tiny.gguf", "tiny")
    document = {"model": "tiny", "speculative": {"draft_model": name}}
    response = daemon.http.post("/engines/_configure", json=document)
    assert response.status_code == 400, response.text
    assert "draft_model" in response.text
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    assert daemon.http.post("/v1/chat/completions", json=chat).status_code == 200


QUOTA = 8 * 2**20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon whose models may take 8 MiB."""
    env = {"RUNNERD_STORE_QUOTA": str(QUOTA), "RUNNERD_ALLOWED_SOURCES": "127.0.0.1"}
    with running(tmp_path / "d", env=env) as daemon:
        yield daemon


def occupied(daemon: DaemonProcess) -> int:
    """The bytes of everything in the store."""
    files = (daemon.state_dir / "models").rglob("*")
    return sum(path.stat().st_blocks * 512 for path in files if path.is_file())


def test_an_upload_without_a_length(small: DaemonProcess) -> None:
    """It is refused as soon as it is too much, and leaves nothing."""
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(40):
            sent += 2**20
            yield bytes(2**20)

    digest = "sha256:" + hashlib.sha256(bytes(40 * 2**20)).hexdigest()
    before = occupied(small)
    try:
        response = small.http.post(f"/api/blobs/{digest}", content=body())
    except httpx.WriteError:
        pass  # it did not even read the rest
    else:
        assert response.status_code == 507, response.text
    assert occupied(small) == before
    assert small.http.head(f"/api/blobs/{digest}").status_code == 404


def test_a_pull_without_a_length(small: DaemonProcess) -> None:
    """A file of unknown size ends at the quota, and what cannot be resumed goes with it."""
    sent = 0
    most = 0

    def endless(handler: Any) -> None:
        nonlocal sent, most
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"GGUF" + bytes(2**20 - 4))
            while sent < 100:
                handler.wfile.write(bytes(2**20))
                sent += 1
                most = max(most, occupied(small))

    before = occupied(small)
    with serving() as server:
        server.routes["/endless.gguf"] = endless
        document = {"from": f"http://{server.host}/endless.gguf"}
        response = small.http.post("/models/create", json=document)
        assert "may occupy" in response.text, response.text
    assert most <= before + QUOTA + 2**20
    assert occupied(small) == before


def test_memory_of_a_burst_is_given_back(daemon: DaemonProcess) -> None:
    """Half a body from each of many clients: what they took is the system's again."""
    assert daemon.process is not None
    process = seen_process(daemon.process.pid)
    before = process.memory_info().rss
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"
    clients = []
    try:
        for _ in range(900):
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.connect(str(daemon.socket))
            client.sendall(head + bytes(100_000))
        wait_for(lambda: process.memory_info().rss > before + 60 * 2**20, "the bodies to arrive")
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: process.memory_info().rss < before + 24 * 2**20, "the memory to be free")


def test_a_template_that_runs_away_while_its_model_loads(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Its engine is under a limit that follows what is reserved for it, from its first moment."""
    tiny.write_completion_model(tmp_path / "tiny.gguf", chat_template='{{ "a" * 100000000000 }}')
    daemon.import_model(tmp_path / "tiny.gguf", "tiny")
    chat = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "x"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(chat)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as client:  # and when it leaves, so does the engine
        client.connect(str(daemon.socket))
        client.sendall(head.encode() + chat)
        wait_for(lambda: daemon.engines() and daemon.ps(), "the engine to load")
        [engine] = daemon.engines()
        limit, _ = resource.prlimit(engine.pid, resource.RLIMIT_DATA)
        reserved = daemon.ps()[0]["memory_reserved"]["ram"]
        assert 0 < limit < 3 * reserved + 5 * 2**30 + 16 * 2**20 * (os.cpu_count() or 1)
    wait_for(lambda: not daemon.engines(), "the engine to end")
