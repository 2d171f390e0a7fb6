"""A job on which its model crashes, each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import SECONDS, wait_for

_RAW = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    env = {
        "RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"path": str(fake_engine(tmp_path))}}),
        "RUNNERD_JOBS": json.dumps({"tries": 2}),
    }
    with running(tmp_path / "d", env=env) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        yield daemon


def submitted(daemon: DaemonProcess, **body: Any) -> str:
    messages = [{"role": "user", "content": "x"}]
    request = {"path": "/v1/chat/completions", "body": {"messages": messages, **body}}
    document = {"model": "tiny", "requests": [request]}
    return str(daemon.http.post("/runnerd/jobs", json=document).json()[0]["id"])


def ended(daemon: DaemonProcess, id: str) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        return dict(daemon.http.get(f"/runnerd/jobs/{id}").json())

    wait_for(lambda: job()["state"] not in ("queued", "running"), "its end", limit=60 * SECONDS)
    return job()


def test_it_has_failed(daemon: DaemonProcess) -> None:
    """With the reason of each try; others are run before and after it."""
    poison = submitted(daemon, raw=_RAW, then="die")
    job = ended(daemon, poison)
    assert job["state"] == "failed"
    assert 1 <= len(job["attempts"]) <= 2
    for attempt in job["attempts"]:
        assert attempt["reason"]
    assert job["reason"] == job["attempts"][-1]["reason"]
    good = ended(daemon, submitted(daemon))
    assert good["state"] == "completed", good
