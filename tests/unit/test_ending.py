"""runnerd.backends.ending: whatever an engine's user runs is ended, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runnerd.backends import ending, engine_users
from runnerd.backends.ending import anybody, end_all
from tests.support.waiting import wait_for

ENGINE, STRANGER = 60840, 60841
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may become other users")

BECOME = """
import ctypes, os, signal, sys, threading, time
os.setgroups([])
os.setresgid(*3 * [int(sys.argv[1])])
os.setresuid(*3 * [int(sys.argv[1])])
"""
WAITS = "print(flush=True); time.sleep(3600)"
# Whoever looks through /proc finds processes that have ended already.
FLEES = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.setsid()
print(flush=True)
os.close(1)
while True:
    if os.fork():
        os._exit(0)
"""
# Its first thread ends; the state of the process is that of one that has ended.
LOOKS_ENDED = """
threading.Thread(target=time.sleep, args=[3600]).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@contextmanager
def running(program: str, uid: int) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", BECOME + program, str(uid)], stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


def test_nobody() -> None:
    """A user without processes has none to end."""
    assert not anybody(ENGINE)
    assert end_all(ENGINE)


@pytest.mark.parametrize("program", [FLEES, LOOKS_ENDED])
def test_whatever_they_do(program: str) -> None:
    """All of one user's, and none of another's."""
    with running(WAITS, STRANGER) as other, running(program, ENGINE):
        assert anybody(ENGINE)
        wait_for(lambda: end_all(ENGINE), "the end of all")
        assert wait_for(lambda: ENGINE not in engine_users._running(), "their end")
        assert other.poll() is None


def test_only_an_engines_user_ends_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that has kept root's number, or a capability, ends nobody."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(pid))
    assert ending._Ending().problem() == "it is not an engine's user"
    assert sent == []
