"""Requests and responses that an owner has kept, in the form of Docker Model Runner's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.wire import Wire, get, post

pytestmark = pytest.mark.engine

DOCKER = {"User-Agent": "docker-model-cli/1.0"}
VIEW = "/engines/requests"
CHAT = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "a secret"}],
    "max_tokens": 3,
    "temperature": 0,
}


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon whose owner wants to see everything."""
    with running(tmp_path / "d", env={"RUNNERD_CAPTURE_REQUESTS": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def records(daemon: DaemonProcess, **query: str) -> list[dict[str, Any]]:
    """What was kept, in order."""
    groups = daemon.http.get(VIEW, params=query).json()
    for group in groups:
        assert set(group) == {"count", "model", "config", "records"}
        assert group["count"] == len(group["records"])
    return [record for group in groups for record in group["records"]]


def test_bodies_of_requests_and_responses(daemon: DaemonProcess) -> None:
    """Whole responses, streams folded into one object, errors, and images cut short."""
    whole = daemon.http.post("/v1/chat/completions", json=CHAT, headers=DOCKER)
    daemon.http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    daemon.http.post("/api/chat", json={**CHAT, "options": {"num_predict": 2}})
    daemon.http.post("/v1/chat/completions", json={**CHAT, "messages": 5})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    daemon.http.post(
        "/v1/chat/completions", json={**CHAT, "messages": [{"role": "user", "content": [image]}]}
    )
    first, streamed, ollama, *refused = records(daemon)
    assert json.loads(first["request"]) == CHAT
    assert json.loads(first["response"])["choices"] == whole.json()["choices"]
    assert (first["method"], first["url"]) == ("POST", "/v1/chat/completions")
    assert (first["status_code"], first["user_agent"]) == (200, DOCKER["User-Agent"])
    assert first["id"].startswith(first["model"] + "_")
    told = json.loads(streamed["response"])
    assert told["object"] == "chat.completion"
    assert (
        told["choices"][0]["message"]["content"]
        == (whole.json()["choices"][0]["message"]["content"])
    )
    assert ollama["origin"] == "ollama/completion"
    assert [json.loads(line)["done"] for line in ollama["response"].splitlines()][-1] is True
    assert all(record["status_code"] >= 400 for record in refused)
    assert all("messages" in record["error"] or "image" in record["error"] for record in refused)
    assert len(refused) == 2
    assert "[truncated 4900 chars]" in refused[-1]["request"]


def test_one_model_and_its_configuration(daemon: DaemonProcess, gguf: Path) -> None:
    """Grouped by model, each with what is configured."""
    daemon.import_model(gguf / "other.gguf", "other")
    daemon.http.post("/engines/_configure", json={"model": "tiny", "context-size": 256})
    for model in ("tiny", "other", "tiny"):
        daemon.http.post("/v1/chat/completions", json={**CHAT, "model": model})
    groups = {group["config"].get("context-size"): group for group in daemon.http.get(VIEW).json()}
    assert groups[256]["count"] == 2
    assert groups[None]["count"] == 1
    assert len(records(daemon, model="other")) == 1


def test_what_is_kept_is_bounded(daemon: DaemonProcess) -> None:
    """A hundred requests, and of each body so much."""
    long = {**CHAT, "messages": [{"role": "user", "content": "no base64: " + "é " * 100_000}]}
    daemon.http.post("/v1/chat/completions", json=long)
    [record] = records(daemon)
    assert len(record["request"].encode()) <= 2**16 + 3
    for number in range(110):
        daemon.http.post("/v1/completions", json={"model": "tiny", "number": number})
    kept = [json.loads(record["request"])["number"] for record in records(daemon)]
    assert kept == list(range(10, 110))


def test_stream_of_events(daemon: DaemonProcess) -> None:
    """What there is, and what comes, as it is done."""
    daemon.http.post("/v1/chat/completions", json=CHAT)
    with Wire(daemon.socket) as follower, Wire(daemon.socket) as wire:
        follower.send(get(f"{VIEW}?include_existing=true", "Accept: text/event-stream"))
        events = follower.socket.makefile("rb")
        head = iter(events.readline, b"\r\n")
        assert any(b"text/event-stream" in line for line in head)
        assert _event(events) == ("connected", {"status": "connected"})
        kind, [group] = _event(events)
        assert (kind, group["count"]) == ("existing_request", 1)
        wire.send(post("/v1/chat/completions", {**CHAT, "max_tokens": 1}))
        assert wire.read().status == 200
        kind, [group] = _event(events)
        assert (kind, json.loads(group["records"][0]["request"])["max_tokens"]) == (
            "new_request",
            1,
        )
        events.close()


def _event(lines: Any) -> tuple[str, Any]:
    """Read one event out of a chunked stream."""
    found: dict[str, str] = {}
    while len(found) < 2:
        name, colon, value = lines.readline().decode().strip().partition(": ")
        if colon and name in ("event", "data"):
            found[name] = value
    return found["event"], json.loads(found["data"])


def test_it_is_off_until_the_owner_wants_it(tmp_path: Path, gguf: Path) -> None:
    """No content anywhere, and Docker's client is told what to switch on."""
    with running(tmp_path / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.http.post("/v1/chat/completions", json=CHAT)
        assert "secret" not in daemon.http.get(VIEW).text
        for headers in (DOCKER, {"Accept": "text/event-stream"}):
            response = daemon.http.get(VIEW, headers=headers)
            assert response.status_code == 403
            assert "RUNNERD_CAPTURE_REQUESTS=1" in response.text
