"""Jobs come behind people who wait: with a real engine, over the real wire."""

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
from tests.support.wire import Wire, post

pytestmark = pytest.mark.engine

LONG = {"max_tokens": 4000, "ignore_eos": True}
LONGER = {"prompt": "x", "max_tokens": 7000, "ignore_eos": True, "stream": True, "model": "m"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "m.gguf"
    tiny.write_completion_model(file, context_length=16384)
    return file


def started(root: Path, model: Path, slots: int, **jobs: Any) -> Iterator[DaemonProcess]:
    with running(root, env={"RUNNERD_JOBS": json.dumps(jobs)}) as daemon:
        daemon.import_model(model, "m")
        flags = {"model": "m", "parallel": slots}
        configured = daemon.http.post("/engines/_configure", json=flags)
        assert configured.status_code in (200, 202), configured.text
        yield daemon


@pytest.fixture
def one_slot(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    yield from started(tmp_path, model, 1)


@pytest.fixture
def two_slots(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    yield from started(tmp_path, model, 2)


@pytest.fixture
def idle_only(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    yield from started(tmp_path, model, 2, idle_only=True)


def submitted(client: httpx.Client, **parameters: Any) -> str:
    document = {"model": "m", "prompt": "x", "parameters": {"temperature": 0, **parameters}}
    return str(client.post("/runnerd/jobs", json=document).json()[0]["id"])


def job(client: httpx.Client, id: str) -> dict[str, Any]:
    return dict(client.get(f"/runnerd/jobs/{id}").json())


def asked(client: httpx.Client) -> None:
    """Somebody asks, and is answered."""
    question = {"model": "m", "prompt": "x", "max_tokens": 2}
    assert client.post("/v1/completions", json=question).status_code == 200


def test_the_only_slot(one_slot: DaemonProcess) -> None:
    """A job that has it gives it to whoever comes, is run again, and counts no try."""
    client = one_slot.http
    id = submitted(client, **LONG)
    wait_for(lambda: job(client, id)["output"], "output")
    asked(client)
    assert job(client, id)["state"] != "completed"
    wait_for(lambda: job(client, id)["state"] == "completed", "the job", limit=100)
    assert job(client, id)["attempts"] == []


def leases(daemon: DaemonProcess) -> int:
    """How many requests are at the engine, or wait for it."""
    records = daemon.http.get("/engines/requests").json()
    return sum(record["duration_seconds"] is None for record in records)


def test_the_last_slot(two_slots: DaemonProcess) -> None:
    """It is left to people: of many jobs one is worked on, and people are answered beside it."""
    client = two_slots.http
    ids = [submitted(client, **LONG) for _ in range(4)]
    wait_for(lambda: any(job(client, id)["output"] for id in ids), "output")
    asked(client)
    assert sum(bool(job(client, id)["output"]) for id in ids) == 1
    assert [job(client, id)["attempts"] for id in ids] == [[], [], [], []]
    for id in ids:
        client.post(f"/runnerd/jobs/{id}/cancel")


def test_only_while_idle(idle_only: DaemonProcess) -> None:
    """Jobs are not worked on while somebody is served, and are as soon as nobody is."""
    client = idle_only.http
    running_job = submitted(client, **LONG)
    wait_for(lambda: job(client, running_job)["output"], "output")
    with Wire(idle_only.socket) as wire:
        wire.send(post("/v1/completions", LONGER))
        wait_for(lambda: job(client, running_job)["state"] == "queued", "the job to make room")
        other = submitted(client, max_tokens=2)
        assert job(client, other)["state"] == "queued"
    wait_for(lambda: job(client, other)["state"] == "completed", "the other job")
    client.post(f"/runnerd/jobs/{running_job}/cancel")


def test_jobs_never_come_before_people(two_slots: DaemonProcess) -> None:
    """People who come later than jobs, and one after the other, are all answered before."""
    client = two_slots.http
    ids = [submitted(client, **LONG) for _ in range(8)]
    for _ in range(10):
        asked(client)
    assert not all(job(client, id)["state"] == "completed" for id in ids)
    for id in ids:
        client.post(f"/runnerd/jobs/{id}/cancel")
