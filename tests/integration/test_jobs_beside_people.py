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
def sharing(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    """Jobs work beside people."""
    yield from started(tmp_path, model, 2, patience=0)


@pytest.fixture
def sharing_one(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    """Jobs work beside people, at an engine with one slot."""
    yield from started(tmp_path, model, 1, patience=0)


@pytest.fixture
def impatient(tmp_path: Path, model: Path) -> Iterator[DaemonProcess]:
    """One job is let through beside people at once."""
    yield from started(tmp_path, model, 3, patience=0.001)


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


def test_the_last_slot(sharing: DaemonProcess) -> None:
    """It is left to people: of many jobs one is worked on, and people are answered beside it."""
    client = sharing.http
    ids = [submitted(client, **LONG) for _ in range(4)]
    wait_for(lambda: any(job(client, id)["output"] for id in ids), "output")
    asked(client)
    assert sum(bool(job(client, id)["output"]) for id in ids) == 1
    assert [job(client, id)["attempts"] for id in ids] == [[], [], [], []]
    for id in ids:
        client.post(f"/runnerd/jobs/{id}/cancel")


def test_who_waits_for_a_place_is_queued(sharing_one: DaemonProcess) -> None:
    """In lists and counts of jobs, too: a worker has the job, and no engine works on it."""
    client = sharing_one.http
    ended: list[str] = []
    for _ in range(5):  # the person's stream may be at its end before all is asked
        with Wire(sharing_one.socket) as person:
            person.send(post("/v1/completions", LONGER))
            assert person.read(head_only=True).status == 200
            id = submitted(client, max_tokens=2)
            wait_for(lambda: leases(sharing_one) != 1, "the job's request to be there")
            found = job(client, id)
            listed = [
                [each["id"] for each in client.get("/runnerd/jobs", params={"state": state}).json()]
                for state in ("queued", "running")
            ]
            queues = client.get("/runnerd/queues").json()
            theirs = client.get(f"/jobs/{id}").json()
            if job(client, id)["state"] == "queued":
                break
        wait_for(lambda: job(client, id)["state"] == "completed", "the job")  # noqa: B023
        ended.append(id)
    else:
        pytest.fail("no job has waited for long enough")
    assert (found["state"], found["started"], found["runtime_seconds"]) == ("queued", None, 0)
    assert listed == [[id], []]
    done = {"completed": len(ended)} if ended else {}
    assert queues == [{"model": "m", "queued": 1, **done}]
    assert "provisioning" in json.dumps(theirs)
    wait_for(lambda: job(client, id)["state"] == "completed", "the job")


def test_in_pauses(two_slots: DaemonProcess) -> None:
    """Jobs are not worked on while somebody is served, and are when nobody is any more."""
    client = two_slots.http
    running_job = submitted(client, **LONG)
    wait_for(lambda: job(client, running_job)["output"], "output")
    with Wire(two_slots.socket) as wire:
        wire.send(post("/v1/completions", LONGER))
        wait_for(lambda: job(client, running_job)["state"] == "queued", "the job to make room")
        other = submitted(client, max_tokens=2)
        assert job(client, other)["state"] == "queued"
    wait_for(lambda: job(client, other)["state"] == "completed", "the other job")
    client.post(f"/runnerd/jobs/{running_job}/cancel")


def test_background_requests_wait_for_pauses(two_slots: DaemonProcess) -> None:
    """So it is with what other programs ask in the background, as `runnerd worker` does."""
    client = two_slots.http
    background = {"model": "m", "prompt": "x", "max_tokens": 2}
    with Wire(two_slots.socket) as worker:
        with Wire(two_slots.socket) as person:
            person.send(post("/v1/completions", LONGER))
            assert person.read(head_only=True).status == 200
            worker.send(post("/v1/completions", background, "Priority: u=7"))
            wait_for(lambda: leases(two_slots) == 2, "the request to be there")
            [runner] = client.get("/engines/ps").json()
            assert (runner["requests"], runner["waiting"]) == (1, 1)
            assert client.get("/runnerd/overview").json()["queue"]["waiting"] == 1
            with two_slots.stranger("ann", models=["others/*"]) as ann:
                queue = ann.get("/runnerd/overview").json()["queue"]
            assert queue == {"waiting": 0, "models": []}, "a model that is not for her"
        assert worker.read().status == 200


def test_one_is_let_through(impatient: DaemonProcess) -> None:
    """Where people leave no pauses, jobs are worked on beside them, one at a time."""
    client = impatient.http
    with Wire(impatient.socket) as wire:
        wire.send(post("/v1/completions", LONGER))
        assert wire.read(head_only=True).status == 200
        ids = [submitted(client, max_tokens=2) for _ in range(3)]
        wait_for(
            lambda: all(job(client, id)["state"] == "completed" for id in ids), "the jobs", limit=60
        )
        assert leases(impatient) == 1


def test_jobs_never_come_before_people(two_slots: DaemonProcess) -> None:
    """People who come later than jobs, and one after the other, are all answered before."""
    client = two_slots.http
    ids = [submitted(client, **LONG) for _ in range(8)]
    for _ in range(10):
        asked(client)
    assert not all(job(client, id)["state"] == "completed" for id in ids)
    for id in ids:
        client.post(f"/runnerd/jobs/{id}/cancel")
