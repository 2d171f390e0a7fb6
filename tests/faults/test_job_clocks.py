"""A host's clock that is set by days ends no job, and loses no result."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.long]

DAYS = 86400.0
SETTABLE = """
import mmap, os, struct, time

real, real_ns = time.time, time.time_ns

with open(os.environ["CLOCK"], "rb") as file:
    seconds = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

def offset():
    return struct.unpack("d", seconds)[0]

time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + int(offset() * 1e9)
"""


class Clock:
    """The clock that the daemon believes in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SETTABLE)
        self._file = folder / "offset"
        self.environment = {"PYTHONPATH": str(folder), "CLOCK": str(self._file)}
        self.set(0)

    def set(self, days: float) -> None:
        with open(self._file, "wb" if not self._file.exists() else "r+b") as file:
            file.write(struct.pack("d", days * DAYS))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def daemon(tmp_path: Path, clock: Clock) -> Iterator[DaemonProcess]:
    tiny.write_completion_model(tmp_path / "m.gguf", context_length=16384)
    settings = {"RUNNERD_JOBS": json.dumps({"at_once": 1})}
    with running(tmp_path / "d", env=settings | clock.environment) as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        yield daemon


def submitted(client: httpx.Client, tokens: int, **said: Any) -> str:
    parameters = {"max_tokens": tokens, "ignore_eos": True}
    document = {"model": "m", "prompt": "x", "parameters": parameters, **said}
    response = client.post("/runnerd/jobs", json=document)
    assert response.status_code == 201, response.text
    return str(response.json()[0]["id"])


def state(client: httpx.Client, id: str) -> str:
    return str(client.get(f"/runnerd/jobs/{id}").json()["state"])


@pytest.mark.parametrize("days", [1, -1, 30, -30])
def test_the_clock_is_set(daemon: DaemonProcess, clock: Clock, days: int) -> None:
    """While one job runs, others wait with deadlines, and one has its result; and back again."""
    client = daemon.http
    done = submitted(client, 2)
    wait_for(lambda: state(client, done) == "completed", "the first job")
    before = [submitted(client, 5000, runtime=600), submitted(client, 2, expires_in=600)]
    wait_for(lambda: state(client, before[0]) == "running", "a job to run")
    clock.set(days)
    during = submitted(client, 2, expires_in=600)
    wait_for(
        lambda: not {state(client, id) for id in (*before, during)} & {"queued", "running"},
        "the jobs' end",
    )
    for id in (*before, during):
        assert client.get(f"/runnerd/jobs/{id}").json()["attempts"] == []
    clock.set(0)
    late = submitted(client, 2, expires_in=600)
    wait_for(lambda: state(client, late) == "completed", "the last job")
    assert [state(client, id) for id in (done, *before, during)] == ["completed"] * 4
    too_late = submitted(client, 16000, expires_in=0.5)
    wait_for(lambda: state(client, too_late) == "expired", "a deadline that counts")
