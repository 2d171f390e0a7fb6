"""What a request leaves in memory: nothing that has to be looked for.

A circle of references keeps the body of its request until the collector comes by, a thousand
requests later: with images that is the host's memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess
from tests.support.engines import fake_engine
from tests.support.ggufs import smallest_model
from tests.support.waiting import wait_for
from tests.support.wire import Wire, post

pytestmark = [pytest.mark.engine, pytest.mark.long]

TIMES = 8
# What each life of a runner leaves is little, and holds nothing of a request.
OF_A_REQUEST = {
    "Exchange",
    "Plan",
    "Request",
    "Lease",
    "EngineConnection",
    "RequestRecord",
    "ClientConnection",
}
SHORT = {"model": "tiny", "prompt": "x", "max_tokens": 2}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}


def asking(path: str, document: dict[str, Any], **headers: str) -> Callable[[DaemonProcess], None]:
    def ask(daemon: DaemonProcess) -> None:
        daemon.http.post(path, json=document, headers=headers)

    return ask


def leave(daemon: DaemonProcess) -> None:
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/chat/completions", CHAT | {"stream": True, "max_tokens": 4000}))
        wire.read(head_only=True)


def load(daemon: DaemonProcess) -> None:
    daemon.http.post("/engines/unload", json={"all": True})
    asking("/v1/chat/completions", CHAT | {"stream": True}, **{"X-Ping-Interval": "0.05"})(daemon)


def lose(daemon: DaemonProcess) -> None:
    body = CHAT | {"stream": True, "max_tokens": 4000}
    with daemon.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            pieces = response.iter_raw()
            next(pieces)
            for engine in daemon.engines():
                engine.kill()
            assert b"error" in b"".join(pieces)
    daemon.http.post("/engines/unload", json={"all": True})  # so that it is not held against it


REQUESTS = {
    "whole": asking("/v1/chat/completions", CHAT),
    "streamed": asking("/v1/chat/completions", CHAT | {"stream": True}),
    "embedded": asking("/v1/embeddings", {"model": "tiny", "input": "x"}),
    "by another name": asking("/v1/chat/completions", CHAT | {"model": "other", "stream": True}),
    "several": asking("/v1/completions", SHORT | {"n": 2, "stream": True}),
    "responses": asking("/v1/responses", {"model": "tiny", "input": "x", "max_output_tokens": 2}),
    "Ollama's": asking("/api/chat", CHAT | {"options": {"num_predict": 2}}),
    "Anthropic's": asking("/v1/messages", CHAT),
    "refused by the engine": asking("/v1/completions", {"model": "tiny", "prompt": "x" * 50_000}),
    "no JSON": asking("/v1/chat/completions", [1]),  # type: ignore[arg-type]
    "no such model": asking("/v1/chat/completions", CHAT | {"model": "none"}),
    "wrong type": asking("/v1/chat/completions", CHAT, **{"Content-Type": "text/html"}),
    "left": leave,
    "loading": load,
    "losing the engine": lose,
}


@contextmanager
def watched(root: Path, engine: Path | None = None) -> Iterator[DaemonProcess]:
    """Run a daemon with the model `tiny.gguf`, and see at its end that nothing of a request was
    left in a circle.
    """
    settings = {"llama.cpp": {"path": str(engine)}}
    env = {} if engine is None else {"RUNNERD_BACKENDS": json.dumps(settings)}
    daemon = DaemonProcess(root / "daemon", env)
    daemon.module = "tests.support.uncollected"
    try:
        daemon.start()
        daemon.import_model(root / "tiny.gguf", "tiny")
        yield daemon
        daemon.terminate()
    finally:
        daemon.close()
    found = json.loads(daemon.text().splitlines()[-1])
    assert not {name: count for name, count in found.items() if name in OF_A_REQUEST}


def test_no_request_is_left_in_a_circle(tmp_path: Path) -> None:
    """Of no kind of request, however it ends, is anything left that only the collector finds."""
    tiny.write_completion_model(tmp_path / "tiny.gguf", context_length=8192)
    with watched(tmp_path) as daemon:
        daemon.http.post("/models/tiny/tag", params={"repo": "other", "tag": "latest"})
        for ask in REQUESTS.values():
            for _ in range(TIMES):
                ask(daemon)


@pytest.mark.parametrize("fault", ["never-ready", "exit-at-once"])
def test_waiting_in_vain_leaves_nothing(tmp_path: Path, fault: str) -> None:
    """Neither a request that is called off in a queue nor one that is refused from there."""
    (tmp_path / "tiny.gguf").write_bytes(smallest_model())
    with watched(tmp_path, fake_engine(tmp_path, fault)) as daemon:
        for _ in range(TIMES):
            with Wire(daemon.socket) as wire:
                wire.send(post("/v1/chat/completions", CHAT))
                if fault == "exit-at-once":
                    assert wire.read().status == 502
                else:
                    wait_for(lambda: queued(daemon) == 1, "the request to wait")
            wait_for(lambda: queued(daemon) == 0, "it to be gone")


def queued(daemon: DaemonProcess) -> int:
    return int(daemon.http.get("/health").json()["queued"])
