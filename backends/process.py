"""The only place that starts an operating-system process, and the one that sees to its end.

A child is the head of its own session and process group, so that whatever it starts can be ended
with it; the kernel ends it when the daemon dies, however the daemon dies; and its end is told by a
pidfd in the event loop, so nothing polls and no process id is used after it may belong to somebody
else.

The order at an end matters.  The pidfd turns readable while the child is still a zombie that keeps
the group's number taken: first the group is killed, then the child is reaped, then the group is
awaited, then the pipe is read empty.  A survivor that holds the pipe open cannot delay any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from runnerd import tasks
from runnerd.backends import cpu_policy
from runnerd.backends.child_setup import ChildSetup
from runnerd.backends.oom import OomCounter
from runnerd.backends.output import Output
from runnerd.backends.sandbox import Sandbox
from runnerd.errors import BackendFailure, HostExhausted

log = logging.getLogger(__name__)

T = TypeVar("T")

# Umasks: what an engine writes, its socket above all, is for its own user alone; what is installed
# is read by engines that run as other users.
PRIVATE, INSTALLED = 0o077, 0o022
_CHUNK = 64 * 2**10  # read at once
_PIPE_BYTES = 2**20  # that a child can print between two reads, where the kernel allows it
_READ_INTERVAL = 0.05  # seconds between two reads of a child that prints little at a time
_LAST_CHUNKS = 64  # read after the end: what was in the pipe, from a group that is gone
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_SWEEP_TIMEOUT = 2.0  # for killed members of the group to vanish
_SWEEP_INTERVAL = 0.005

NOTHING_MORE = Sandbox()


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a process ended: `code` or `signal` is set.  `uptime` is in seconds.

    `reason` is for people ("exit status 1", "killed by SIGSEGV"), `tail` what it printed last,
    `requested` whether we had asked it to end.
    """

    code: int | None
    signal: int | None
    reason: str
    tail: str
    uptime: float
    requested: bool


class EngineProcess:
    """One child process and the group that it heads, from its start until all of it is gone."""

    def __init__(self, child: subprocess.Popen[bytes], pipe: int, output: Output) -> None:
        self.pid = child.pid
        self._child = child
        self._pipe = pipe
        self._output = output
        self._started_at = time.monotonic()
        self._requested = False
        self._killed = False
        self._oom = OomCounter()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ExitRecord] = self._loop.create_future()
        self._pidfd = os.pidfd_open(child.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        os.set_blocking(pipe, False)
        self._next_read: asyncio.TimerHandle | None = None
        self._loop.add_reader(pipe, self._readable)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        output: Output,
        environment: Mapping[str, str],
        sandbox: Sandbox | None = NOTHING_MORE,
        directory: Path | None = None,
        umask: int = PRIVATE,
        data_limit: int | None = None,
    ) -> EngineProcess:
        """Start `argv` with its output going to `output`, which it owns and closes from now on.

        `sandbox` is what it may reach, None for whatever the daemon can.
        It can have at most `data_limit` bytes of writable memory of its own (RLIMIT_DATA).
        Only from the main thread: the parent-death signal follows the thread that forked, not the
        process.  Raises errors.BackendFailure when it cannot be started.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("processes are started from the main thread only")
        try:
            if sandbox is not None and sandbox.user is not None:
                directory = directory or Path("/")  # the daemon's own may be closed to it
            with ChildSetup(sandbox, data_limit) as setup:
                child, pipe = _fork(argv, output, environment, setup, directory, umask)
        except BackendFailure:
            output.close()
            raise
        try:
            return cls(child, pipe, output)
        except BaseException as error:
            child.kill()
            child.wait()
            os.close(pipe)
            output.close()
            if isinstance(error, OSError):
                raise _failure(f"cannot watch {argv[0]}", error) from error
            raise

    def schedule(self, *, batch: bool) -> None:
        """Schedule it as a batch process or as any other (`cpu_policy`)."""
        if self._pidfd >= 0:  # not reaped yet, so the number is still its own
            cpu_policy.schedule(self.pid, batch=batch)

    async def wait(self) -> ExitRecord:
        """Wait until the process and its group are gone; any number of callers, any time."""
        return await asyncio.shield(self._ended)

    async def stop(self, grace: float) -> ExitRecord:
        """Ask it to end, kill the whole group after `grace` seconds; wait until it is gone.

        Idempotent.  A cancelled caller leaves a process that was asked to end: see `uninterrupted`.
        """
        if not self._requested:
            self._requested = True
            self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            log.warning("process %d did not end within %g s; killing its group", self.pid, grace)
        self.kill()
        return await self.wait()

    def kill(self) -> None:
        """Kill the whole group; `wait` tells when it is gone."""
        self._requested = self._killed = True
        if self._pidfd >= 0:  # not reaped yet, so the group's number is still ours
            self._kill_group()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    # the pipe

    def _readable(self) -> None:
        """Read once: the loop comes back for more, after everybody else had their turn.

        llama-server prints ten lines for each request.  Nobody waits for them, so they are read
        together, every now and then; only a child that prints much is read without a pause.
        """
        size = self._read()
        if size == 0:
            self._close_pipe()
        elif size is not None and size < _CHUNK:
            self._loop.remove_reader(self._pipe)
            self._next_read = self._loop.call_later(_READ_INTERVAL, self._read_again)

    def _read_again(self) -> None:
        self._loop.add_reader(self._pipe, self._readable)

    def _read(self) -> int | None:
        """Return the bytes read, 0 at the end, None when there is nothing at the moment."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return 0
        self._output.feed(data)
        return len(data)

    def _close_pipe(self) -> None:
        if self._next_read is not None:
            self._next_read.cancel()
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    # the end

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._kill_group()
        code = self._child.wait()  # at once: the pidfd has said so
        os.close(self._pidfd)
        self._pidfd = -1
        tasks.spawn(self._finish(code), name=f"end of process {self.pid}")

    async def _finish(self, code: int) -> None:
        try:
            await self._group_gone()
            for _ in range(_LAST_CHUNKS):
                if self._pipe < 0 or not self._read():
                    break
        finally:
            self._close_pipe()
            self._output.close()
            if not self._ended.done():
                self._ended.set_result(self._record(code))

    async def _group_gone(self) -> None:
        deadline = time.monotonic() + _SWEEP_TIMEOUT
        while living_members(self.pid):
            if time.monotonic() > deadline:
                log.error("processes of group %d are still there after SIGKILL", self.pid)
                return
            await asyncio.sleep(_SWEEP_INTERVAL)

    def _record(self, code: int) -> ExitRecord:
        number = -code if code < 0 else None
        return ExitRecord(
            code=code if number is None else None,
            signal=number,
            reason=self._reason(code),
            tail=self._output.tail,
            uptime=time.monotonic() - self._started_at,
            requested=self._requested,
        )

    def _reason(self, code: int) -> str:
        if code >= 0:
            return f"exit status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if -code == signal.SIGKILL and not self._killed:
            match self._oom.rose():
                case True:
                    return f"killed by {name} (probably the kernel's out-of-memory killer)"
                case None:
                    return f"killed by {name} (possibly the kernel's out-of-memory killer)"
        return f"killed by {name}"


def _fork(
    argv: Sequence[str],
    output: Output,
    environment: Mapping[str, str],
    setup: ChildSetup,
    directory: Path | None,
    umask: int,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the child; return it and the reading end of its output."""
    try:
        pipe, writing = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        output.close()
        raise _failure(f"cannot start {argv[0]}", error) from error
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=dict(environment),
            cwd=directory,
            umask=umask,
            close_fds=True,
            start_new_session=True,
            preexec_fn=setup,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        os.close(pipe)
        output.close()
        raise _failure(f"cannot start {argv[0]}", error) from error
    finally:
        os.close(writing)
    with contextlib.suppress(OSError):  # a user's pipes may have less in all
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return child, pipe


def _failure(what: str, error: Exception) -> BackendFailure:
    """Return a start's error in our words: what the host lacks now, it may have in a moment."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    lacks = isinstance(error, OSError) and error.errno in _EXHAUSTED
    return (HostExhausted if lacks else BackendFailure)(f"{what}: {reason}")


def living_members(group: int) -> list[int]:
    """Return the processes of a group that are not zombies (those wait for their own parent)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    members = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:  # gone meanwhile
                continue
            if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
                members.append(int(entry.name))
    return members
