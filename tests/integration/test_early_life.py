"""A start with closed streams, and signals at every step of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runnerd.sockets.paths import RuntimeDirectory
from tests.support.daemon import DaemonProcess
from tests.support.waiting import LIMIT, wait_for

STEPS = (
    "runnerd.cli.arguments",
    "runnerd.config",
    "uvloop",
    "runnerd.sockets.lock/DirectoryLock.acquire",
    "runnerd.logs/set_up",
    "runnerd.models.store/Store.open",
    "runnerd.supervisor.service/Supervisor.__init__",
    "runnerd.sockets.listeners/listen_tcp",
    "runnerd.stop_signals/StopSignals.listen",
)


def started(root: Path, step: str, number: signal.Signals) -> DaemonProcess:
    daemon = DaemonProcess(root, {"SIGNALLED": f"{step}:{number.value}"})
    daemon.module = "tests.support.signalled"
    return daemon.start(ready=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", STEPS)
def test_asked_to_end_before_it_serves(step: str, number: signal.Signals, tmp_path: Path) -> None:
    """It ends well, says nothing that frightens, and leaves no lock and no socket behind."""
    daemon = started(tmp_path, step, number)
    try:
        assert daemon.process is not None
        assert daemon.process.wait(LIMIT) == 0
        for directory in (daemon.state_dir, daemon.runtime_dir):
            lock = directory / "lock"
            assert not lock.exists() or lock.read_bytes() == b""
        assert not daemon.socket.exists()
        assert "Traceback" not in daemon.text()
    finally:
        daemon.close()


@pytest.mark.parametrize("step", [STEPS[0], STEPS[2], STEPS[5], STEPS[8]])
def test_a_reload_before_it_serves(step: str, tmp_path: Path) -> None:
    """SIGHUP while it starts keeps nobody from starting."""
    daemon = started(tmp_path, step, signal.SIGHUP)
    try:
        wait_for(daemon.answers, "the daemon to answer")
        assert daemon.terminate() == 0
        assert "Traceback" not in daemon.text()
    finally:
        daemon.close()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams(closed: tuple[int, ...], tmp_path: Path) -> None:
    """What is closed is opened on /dev/null, so that nothing else gets its number."""
    daemon = DaemonProcess(tmp_path)
    redirections = " ".join(f"{number}>&-" for number in closed)
    command = f'exec "$@" {redirections}'
    arguments = [
        *(sys.executable, "-m", "runnerd", "serve", "--state-dir", str(daemon.state_dir)),
        *("--runtime-dir", str(daemon.runtime_dir), "--listen", "127.0.0.1:0"),
    ]
    daemon.output.touch()
    daemon.process = subprocess.Popen(["sh", "-c", command, "sh", *arguments])
    try:
        wait_for(daemon.answers, "the daemon to answer")
        pid = daemon.process.pid
        if os.getuid() == 0:  # others are not shown what a daemon has open
            for number in closed:
                assert os.readlink(f"/proc/{pid}/fd/{number}") == os.devnull
        assert daemon.terminate() == 0
        assert "stopped" in (daemon.state_dir / "logs" / "runnerd.log").read_text()
    finally:
        daemon.close()


def test_nothing_is_left_of_a_long_runtime_directory(tmp_path: Path) -> None:
    """The folder that the runners' sockets are in instead goes, also where a start has failed."""
    first, second = (DaemonProcess(tmp_path / "d") for _ in range(2))
    folders = []
    for daemon in (first, second):
        # Short enough for the control socket, too long for those of runners.
        long = daemon.runtime_dir / ("x" * (91 - len(str(daemon.runtime_dir))))
        daemon.runtime_dir, daemon.socket = long, long / "runnerd.sock"
        folders.append(RuntimeDirectory(long).runners)
        assert long not in folders[-1].parents
    try:
        first.start()
        assert folders[0].is_dir()
        second.start(ready=False)
        assert second.process is not None
        assert second.process.wait(LIMIT) == 1
        assert "uses the state directory" in second.text()
        assert folders[0].is_dir()
        assert first.terminate() == 0
        assert not any(folder.exists() for folder in folders)
    finally:
        for daemon in (first, second):
            daemon.close()
            daemon.runtime_dir.parent.rmdir()
