"""Daemons of the tests are forked: each is as alone as one that was started, and none stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import preloaded
from tests.support.daemon import running
from tests.support.preloaded import ForkedDaemon
from tests.support.waiting import SECONDS, wait_for

# It starts a daemon as tests do, says its number, and waits for its end.
_TEST = """\
import sys
from pathlib import Path
from tests.support.daemon import running
with running(Path(sys.argv[1])) as daemon:
    print(daemon.process.pid, daemon.runtime_dir, flush=True)
    sys.stdin.read()
"""


def test_how_it_ended_is_known(tmp_path: Path) -> None:
    """As of any process: by a status, or by a signal."""
    with running(tmp_path / "a") as daemon, running(tmp_path / "b") as other:
        assert isinstance(daemon.process, ForkedDaemon)
        assert isinstance(other.process, ForkedDaemon)
        assert {daemon.process.pid, other.process.pid} <= set(preloaded.living())
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(0)
        daemon.kill()
        assert daemon.process.poll() == -signal.SIGKILL
        assert other.process.poll() is None
        assert other.terminate() == 0
    assert not {daemon.process.pid, other.process.pid} & set(preloaded.living())


def test_one_that_forks_no_more_is_replaced(tmp_path: Path) -> None:
    """A test may have ended it."""
    with running(tmp_path / "a") as daemon:
        assert daemon.process is not None
        forker = psutil.Process(daemon.process.pid).parent()
        assert forker is not None
    forker.kill()
    with running(tmp_path / "b") as other:
        assert isinstance(other.process, ForkedDaemon)
        assert psutil.Process(other.process.pid).parent() != forker


def test_what_python_reads_at_its_start_takes_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only our own settings can be given to a process that has imported everything."""
    assert preloaded.fits({**os.environ, "RUNNERD_PAGE": "0"})
    assert not preloaded.fits({**os.environ, "SSL_CERT_FILE": "/dev/null"})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert not preloaded.fits(dict(os.environ))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_none_outlives_its_test(tmp_path: Path, number: signal.Signals) -> None:
    """However the test's process ends, so do its daemons."""
    command = [sys.executable, "-c", _TEST, str(tmp_path / "d")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as test:
        assert test.stdout is not None
        pid, folder = test.stdout.readline().split()
        daemon = psutil.Process(int(pid))
        test.send_signal(number)
        test.wait(60 * SECONDS)
    wait_for(lambda: not daemon.is_running(), "the daemon to end")
    shutil.rmtree(os.fsdecode(folder), ignore_errors=True)  # who was killed could not do it
