"""Daemons that are forked from a process that has imported runnerd, and nothing more.

Three quarters of a daemon's start is that Python imports it, and the tests start hundreds.  A
test's process has one such process beside it, which has one thread and no event loop; a daemon that
it forks is given its environment, folder and output, and runs what `python -m
tests.support.nonblocking` runs.  Whatever Python or a library reads as it is loaded cannot be
given to it any more: `fits` says who needs a fresh Python.

When the test's process ends, however it ends, so do the daemons that it has left.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_LOADED = (
    "runnerd.cli.arguments",
    "runnerd.cli.serve",
    "runnerd.config",
    "runnerd.daemon",
    "runnerd.backends.llamacpp.backend",
    "tests.support.blocking",
)
_STATUS = struct.Struct("i")
_MESSAGE_BYTES = 2**17
_GRACE = 10.0  # seconds for daemons whose test's process has ended
_EACH_TEST = "PYTEST_CURRENT_TEST"


class ForkedDaemon:
    """One forked daemon, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self._told = told  # tells how it ended
        self.returncode: int | None = None
        self.pid = pid
        _living.add(self)

    def poll(self) -> int | None:
        """Return how it ended, as Popen does; None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raise TimeoutExpired after so many seconds."""
        if (status := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired("runnerd serve", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            data = self._told.recv(_STATUS.size)
            self._told.close()
            _living.discard(self)
            assert data, "the process that forks daemons has ended"
            self.returncode = os.waitstatus_to_exitcode(*_STATUS.unpack(data))
        return self.returncode


class _Nursery:
    """The process that forks, seen from the test's."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # It leaves us at once, so that it is no child that a test could have left.
            subprocess.run(
                [sys.executable, "-m", "tests.support.preloaded", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],  # where `tests` is, wherever the test stands
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Let the process end, with all that it has forked."""
        self._control.close()

    def fork(self, flags: Sequence[str], env: Mapping[str, str], output: int) -> ForkedDaemon:
        mask = os.umask(0o022)
        os.umask(mask)
        said = {"flags": list(flags), "env": dict(env), "folder": os.getcwd(), "umask": mask}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                message = json.dumps(said).encode()
                socket.send_fds(self._control, [message], [output, theirs.fileno()])
            if not (told := ours.recv(_STATUS.size)):
                raise BrokenPipeError("the process that forks daemons has ended")
        except OSError:
            ours.close()
            raise
        [pid] = _STATUS.unpack(told)
        return ForkedDaemon(pid, ours)


_nursery: _Nursery | None = None
_living: set[ForkedDaemon] = set()


def fits(env: Mapping[str, str]) -> bool:
    """Say whether a daemon with this environment may be forked: our settings alone differ."""
    first = os.environ if _nursery is None else _nursery.environment
    names = {name for name, _ in set(env.items()) ^ set(first.items())}
    return all(name.startswith("RUNNERD_") or name == _EACH_TEST for name in names)


def fork(flags: Sequence[str], env: Mapping[str, str], output: int) -> ForkedDaemon:
    """Start `runnerd serve` with these flags; `output` is a file's number."""
    global _nursery
    if _nursery is None:
        _nursery = _Nursery()
    try:
        return _nursery.fork(flags, env, output)
    except OSError:  # some test has ended it
        _nursery.close()
        _nursery = _Nursery()
    return _nursery.fork(flags, env, output)


def living() -> list[int]:
    """The forked daemons that have not ended."""
    return [each.pid for each in list(_living) if each.poll() is None]


# the process that forks


class _Forker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._daemons: dict[int, socket.socket] = {}
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def run(self) -> None:
        """Fork whenever it is asked for, until the test's process has ended."""
        while True:
            ready, _, _ = select.select([self._control, self._woken], [], [])
            self._reap()
            if self._control not in ready:
                continue
            message, files, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 2)
            if not message:
                break
            self._fork(json.loads(message), *files)
        self._end()

    def _fork(self, said: dict[str, object], output: int, told: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_daemon(said, output, told)
        os.close(output)
        self._daemons[pid] = socket.socket(fileno=told)
        self._daemons[pid].send(_STATUS.pack(pid))

    def _become_daemon(self, said: dict[str, object], output: int, told: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._control, self._woken, self._wake, *self._daemons.values()):
            each.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.close(told)
        status = 1
        try:
            _run(said)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096, socket.MSG_DONTWAIT)
        while self._daemons:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if (told := self._daemons.pop(pid, None)) is not None:
                with suppress(OSError):
                    told.send(_STATUS.pack(status))
                told.close()

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._daemons:
                os.kill(pid, number)
            deadline = time.monotonic() + _GRACE
            while self._daemons and (left := deadline - time.monotonic()) > 0:
                select.select([self._woken], [], [], left)
                self._reap()


def _run(said: dict[str, object]) -> None:
    from runnerd.relay import messages

    # What is drawn as a module is loaded must be another in each daemon.
    messages._RUN = f"req-{os.urandom(4).hex()}-"
    assert isinstance(said["env"], dict)
    assert isinstance(said["flags"], list)
    assert isinstance(said["umask"], int)
    os.environ.clear()
    os.environ.update(said["env"])
    os.umask(said["umask"])
    os.chdir(str(said["folder"]))
    sys.argv = ["runnerd", "serve", *said["flags"]]
    runpy.run_module("tests.support.nonblocking", run_name="__main__", alter_sys=True)


def _main() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()  # Ctrl-C is for the test's process
    for name in _LOADED:
        importlib.import_module(name)
    _Forker(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    _main()
