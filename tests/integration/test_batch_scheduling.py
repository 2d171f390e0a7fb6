"""How engines are scheduled, by how many requests they have: on a real engine."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runnerd.supervisor.batch_scheduling import A_CROWD
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

BODY = json.dumps(
    {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True, "ignore_eos": True}
).encode()
REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon whose engine gets all requests at once."""
    with running(tmp_path, env={"RUNNERD_OVERCOMMIT": "0"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def ask(daemon: DaemonProcess) -> socket.socket:
    """Ask for a long stream, of which nothing is read."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(daemon.socket))
    client.sendall(REQUEST)
    return client


def at_the_engine(daemon: DaemonProcess) -> int:
    """Return how many requests the engine has."""
    return sum(runner["requests"] for runner in daemon.ps())


def policies(daemon: DaemonProcess) -> set[int]:
    """Return the policies of the engine's threads."""
    [engine] = daemon.engines()
    threads = os.listdir(f"/proc/{engine.pid}/task")
    return {os.sched_getscheduler(int(thread)) for thread in threads}


def test_an_engine_is_a_batch_process_while_it_has_a_crowd(daemon: DaemonProcess) -> None:
    """A few requests change nothing, many make it one, and when they have gone it is as before."""
    with ExitStack() as few, ExitStack() as many:
        for _ in range(A_CROWD // 2 - 1):
            few.enter_context(ask(daemon))
        wait_for(lambda: at_the_engine(daemon) == A_CROWD // 2 - 1, "a few requests")
        assert policies(daemon) == {os.SCHED_OTHER}
        for _ in range(A_CROWD):
            many.enter_context(ask(daemon))
        wait_for(lambda: policies(daemon) == {os.SCHED_BATCH}, "a batch process")
        many.close()
        wait_for(lambda: policies(daemon) == {os.SCHED_OTHER}, "a process as any other")
