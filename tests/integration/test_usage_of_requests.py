"""Requests over the wire, and what is counted of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path / "daemon") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def usage(daemon: DaemonProcess, by: str) -> list[dict[str, Any]]:
    found = daemon.http.get("/runnerd/usage", params={"by": by}).json()
    assert isinstance(found, list), found
    return found


def test_what_requests_took(daemon: DaemonProcess) -> None:
    """As the engine reports it, in every API, streamed or not; kept over a restart."""
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    told = [daemon.http.post("/v1/chat/completions", json=chat).json()["usage"]]
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = daemon.http.post("/v1/chat/completions", json=chat | counted)
    last = [line for line in streamed.text.splitlines() if '"usage":{' in line][-1]
    told.append(httpx.Response(200, content=last.removeprefix("data: ")).json()["usage"])
    ollama = {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 3}}
    document = daemon.http.post("/api/generate", json=ollama).json()
    told.append(
        {
            "prompt_tokens": document["prompt_eval_count"],
            "completion_tokens": document["eval_count"],
        }
    )
    assert daemon.http.post("/v1/chat/completions", json={"model": "no"}).status_code == 404

    sums = {
        "requests": 3,
        "failures": 0,
        "prompt_tokens": sum(each["prompt_tokens"] for each in told),
        "completion_tokens": sum(each["completion_tokens"] for each in told),
    }
    assert sums["completion_tokens"] > 3
    [by_user], [by_model], [by_day] = (usage(daemon, by) for by in ("user", "model", "day"))
    assert by_user.pop("user") == by_user.pop("id") == f"uid {os.getuid()}"
    assert by_model.pop("model") == "ai/tiny:latest"
    assert len(by_day.pop("day")) == len("2026-01-01")
    assert by_user == by_model == by_day == sums
    daemon.terminate()
    daemon.start()
    assert usage(daemon, "model") == [{"model": "ai/tiny:latest", **sums}]


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_of_anthropics_api_count(daemon: DaemonProcess, stream: bool) -> None:
    """In a stream, too, which tells them at its beginning; what was cached is part of them."""
    chat = {
        "model": "tiny", "max_tokens": 2, "stream": stream,
        "messages": [{"role": "user", "content": "the same prompt"}],
    }  # fmt: skip
    counts = []
    for _ in range(2):
        daemon.http.post("/v1/messages", json=chat).raise_for_status()
        record = daemon.http.get("/engines/requests").json()[-1]
        assert record["operation"] == "messages"
        counts.append((record["prompt_tokens"], record["completion_tokens"]))
    assert counts[0] == counts[1]
    assert counts[0][0] > 5
    assert record["cached_tokens"] > 0


@pytest.mark.parametrize("query", ["by=nobody", "days=0", "days=401", "days=x", "user=nobody"])
def test_what_cannot_be_asked(unchanged: DaemonProcess, query: str) -> None:
    """It is said what can."""
    assert 400 <= unchanged.http.get(f"/runnerd/usage?{query}").status_code <= 404
