"""Engines with a crowd to serve are batch processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from runnerd.backends.cpu_policy import schedule

# Two threads that wait; the second line of input ends them.
PROGRAM = """
import sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("there", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def engine() -> Iterator[int]:
    """A process with two threads; its id."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    yield child.pid
    child.communicate(b"\n")


def policies(pid: int) -> set[int]:
    return {os.sched_getscheduler(int(name)) for name in os.listdir(f"/proc/{pid}/task")}


def test_all_threads_are_scheduled_and_again(engine: int) -> None:
    """Also those that the process began before; then as they were, which takes no rights."""
    assert len(os.listdir(f"/proc/{engine}/task")) == 2
    schedule(engine, batch=True)
    assert policies(engine) == {os.SCHED_BATCH}
    schedule(engine, batch=False)
    assert policies(engine) == {os.SCHED_OTHER}


def test_a_process_that_has_ended_is_none() -> None:
    """It may have ended a moment ago."""
    schedule(2**22 + 1, batch=True)


def test_a_policy_that_somebody_gave_the_daemon_stays(engine: int) -> None:
    """Its engines have it from the daemon."""
    schedule(engine, batch=True)

    def as_a_batch_process() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # of this thread alone
        schedule(engine, batch=False)

    thread = threading.Thread(target=as_a_batch_process)
    thread.start()
    thread.join()
    assert policies(engine) == {os.SCHED_BATCH}
