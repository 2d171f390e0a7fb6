"""Whose batches are: how many somebody may have, and with which key they are submitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

CHAT = "/v1/chat/completions"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that keeps jobs and works on none."""
    tiny.write_completion_model(tmp_path / "m.gguf")
    settings = {"RUNNERD_JOBS": json.dumps({"at_once": 0, "batches": 2})}
    with running(tmp_path / "d", env=settings) as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        yield daemon


def uploaded(client: httpx.Client, lines: int) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    content = "".join(
        json.dumps({"custom_id": str(n), "method": "POST", "url": CHAT, "body": body}) + "\n"
        for n in range(lines)
    )
    files = {"file": ("in.jsonl", content.encode())}
    return str(client.post("/v1/files", data={"purpose": "batch"}, files=files).json()["id"])


def started(client: httpx.Client, file: str) -> httpx.Response:
    document = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    return client.post("/v1/batches", json=document)


def batch(client: httpx.Client, id: str) -> dict[str, Any]:
    return dict(client.get(f"/v1/batches/{id}").json())


def test_so_many_each(daemon: DaemonProcess) -> None:
    """One more is refused in OpenAI's words, with the setting; others are not concerned."""
    with daemon.stranger("ann") as ann, daemon.stranger("ben") as ben:
        file = uploaded(ann, 1)
        assert [started(ann, file).status_code for _ in range(2)] == [200, 200]
        refused = started(ann, file)
        assert refused.status_code == 429
        assert "jobs.batches" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"]
        assert started(ben, uploaded(ben, 1)).status_code == 200
        theirs = ben.get("/v1/batches").json()["data"][0]["id"]
        assert ann.get("/v1/batches", params={"after": theirs}).json()["data"] == []


def test_a_key_that_is_rotated(daemon: DaemonProcess) -> None:
    """A batch that is submitted anew after the daemon was killed goes by the key of then."""
    with daemon.stranger("rita") as rita:
        id = started(rita, uploaded(rita, 5000)).json()["id"]
    [key] = daemon.http.get("/runnerd/users/rita").json()["keys"]
    assert daemon.http.post(f"/runnerd/keys/{key['id']}/rotate").status_code in (200, 201)
    assert batch(daemon.http, id)["status"] == "validating"
    daemon.kill()
    daemon.start()
    wait_for(lambda: batch(daemon.http, id)["status"] != "validating", "the batch to be submitted")
    found = batch(daemon.http, id)
    assert (found["status"], found["errors"]) == ("in_progress", None)
    assert found["request_counts"]["total"] == 5000
