"""Each acknowledged job has exactly one result, whatever is killed while jobs run.

JOB_KILLS says how often the daemon and an engine are killed (default: a few times each).
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.integration.test_database_faults import fill, mounted
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.long]

KILLS = int(os.environ.get("JOB_KILLS", "3"))
TRIES = '{"tries": 1000}'  # an engine that is killed on purpose says nothing of its jobs


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    tiny.write_completion_model(tmp_path / "m.gguf")
    with running(tmp_path / "d", env={"RUNNERD_JOBS": TRIES}) as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        yield daemon


def job(number: int) -> dict[str, Any]:
    prompts = [f"prompt {number}"] * (1 + number % 3)
    parameters = {"max_tokens": 1 + number % 40, "ignore_eos": True}
    return {"model": "m", "prompts": prompts, "parameters": parameters, "id": f"job-{number}"}


class Submitting:
    """Clients that submit without end, and know what was acknowledged to them."""

    def __init__(self, daemon: DaemonProcess, clients: int = 3) -> None:
        self._daemon = daemon
        self._numbers = iter(range(10**9))
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._submit) for _ in range(clients)]
        self.acknowledged: list[int] = []

    def __enter__(self) -> Submitting:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self) -> None:
        number: int | None = None
        while not self._over.is_set():
            if not self._listens():
                time.sleep(0.05)  # the daemon is away
                continue
            with contextlib.suppress(httpx.TransportError), self._daemon.client() as client:
                while not self._over.is_set():
                    if number is None:
                        with self._lock:
                            number = next(self._numbers)
                    response = client.post("/runnerd/jobs", json=job(number))
                    if response.status_code == 201:
                        with self._lock:
                            self.acknowledged.append(number)
                        number = None
                    time.sleep(0.002)
            # It may have been kept without a word: the same job is submitted again.

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._daemon.socket)) == 0


def kill_engine(daemon: DaemonProcess) -> bool:
    """Kill one of the engines, if there is one."""
    for engine in daemon.engines():
        with contextlib.suppress(psutil.NoSuchProcess):
            engine.kill()
            return True
    return False


# httpx leaves a socket open that could not be connected, as while the daemon is away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(120 + 30 * KILLS)
def test_daemon_and_engine_are_killed(
    daemon: DaemonProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """At random moments under load; afterwards everything that was acknowledged is done, once."""
    chance = random.Random(20)
    engines = 0
    with Submitting(daemon) as submitting:
        for _ in range(KILLS):
            wait_for(lambda: bool(daemon.engines()), "an engine")
            time.sleep(chance.uniform(0.1, 1.0))
            engines += kill_engine(daemon)
            time.sleep(chance.uniform(0.1, 1.5))
            daemon.kill()
            daemon.start()
    numbers = sorted(submitting.acknowledged)
    assert len(numbers) > 10
    client = daemon.http

    def waiting() -> int:
        [queue] = client.get("/runnerd/queues").json()
        return int(queue.get("queued", 0) + queue.get("running", 0))

    wait_for(lambda: not waiting(), "all jobs to end", limit=90 * SECONDS)
    states: Counter[str] = Counter()
    attempts = 0
    for number in numbers:
        found = client.get(f"/runnerd/jobs/job-{number}").json()
        states[found["state"]] += 1
        attempts += len(found["attempts"])
        assert [response["status"] for response in found["responses"]] == [200] * (1 + number % 3)
        text = "\n".join(
            response["body"]["choices"][0]["message"]["content"] for response in found["responses"]
        )
        assert found["output"] == text
    with capsys.disabled():
        print(
            f"\n{KILLS} kills of the daemon, {engines} of an engine: {len(numbers)} jobs"
            f" acknowledged, {dict(states)}, {attempts} attempts came to nothing"
        )
    assert states == {"completed": len(numbers)}


def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be kept is refused and not acknowledged; what was is done once there is room."""
    tiny.write_completion_model(tmp_path / "m.gguf")
    state = tmp_path / "d" / "state"
    with mounted(state, "32m"), running(tmp_path / "d", env={"RUNNERD_JOBS": TRIES}) as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        client = daemon.http
        kept = [client.post("/runnerd/jobs", json=job(n)).status_code for n in range(20)]
        assert kept == [201] * 20
        fill(state / "filler")
        refused = 0
        for number in range(20, 2000):
            response = client.post("/runnerd/jobs", json=job(number))
            if response.status_code != 201:
                assert response.status_code == 507, response.text
                assert client.get(f"/runnerd/jobs/job-{number}").status_code == 404
                refused += 1
                break
            kept.append(201)
        assert refused
        (state / "filler").unlink()

        def done() -> bool:
            found = [client.get(f"/runnerd/jobs/job-{n}").json() for n in range(len(kept))]
            return all(each["state"] == "completed" for each in found)

        wait_for(done, "the jobs to be done", limit=90 * SECONDS)
        assert client.post("/runnerd/jobs", json=job(5000)).status_code == 201


def test_a_disk_that_is_full_of_results(tmp_path: Path) -> None:
    """Jobs whose results cannot be kept are run again when there is room, and have one each."""
    tiny.write_completion_model(tmp_path / "m.gguf", context_length=4096)
    state = tmp_path / "d" / "state"
    settings = {"RUNNERD_JOBS": '{"tries": 1000, "at_once": 2}'}
    with mounted(state, "32m"), running(tmp_path / "d", env=settings) as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        client = daemon.http
        parameters = {"max_tokens": 2000, "ignore_eos": True}
        document = {"model": "m", "prompts": ["x"] * 2, "parameters": parameters}
        ids = [client.post("/runnerd/jobs", json=document).json()[0]["id"] for _ in range(6)]
        fill(state / "filler")
        wait_for(lambda: "full" in daemon.text() or "space" in daemon.text(), "a write that fails")
        before = [client.get(f"/runnerd/jobs/{id}").json()["state"] for id in ids]
        assert "failed" not in before
        (state / "filler").unlink()

        def states() -> set[str]:
            return {client.get(f"/runnerd/jobs/{id}").json()["state"] for id in ids}

        wait_for(lambda: states() == {"completed"}, "the jobs", limit=150 * SECONDS)
        for id in ids:
            found = client.get(f"/runnerd/jobs/{id}").json()
            texts = [
                each["body"]["choices"][0]["message"]["content"] for each in found["responses"]
            ]
            assert found["output"] == "\n".join(texts)
            assert len(texts) == 2
