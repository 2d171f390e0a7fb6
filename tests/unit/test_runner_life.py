"""A runner's life with a backend, and an owner, that raise anything at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runnerd import tasks
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import EngineFailure
from runnerd.errors import BackendFailure, HostExhausted, ModelNotFound
from runnerd.runner import LaunchSpec, Runner, RunnerState
from runnerd.scheduler import Fault, RunnerKey
from runnerd.supervisor.refusals import fault_of
from tests.support.backends import BackendDouble
from tests.support.runners import living

MOMENTS = ("at once", "while it loads", "when it is ready", "when it ends", "recall", "remember")
ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: OSError(errno.EMFILE, "Too many open files"),
    lambda: RuntimeError("a mistake"),
    lambda: KeyError("model"),
    lambda: MemoryError(),
    lambda: TimeoutError("of its own"),
    lambda: SystemExit(3),
    lambda: asyncio.CancelledError(),
    lambda: ModelNotFound("it is gone"),
    lambda: BackendFailure("not installed"),
    lambda: EngineFailure("killed by SIGKILL", exit_reason="killed by SIGKILL"),
)


class Troubled(BackendDouble):
    """A backend, and the owner of its runner, that raise an error at one moment."""

    name = "troubled"

    def __init__(self, moment: str, error: Callable[[], BaseException], stops: str) -> None:
        self.moment, self.error, self.stops = moment, error, stops
        self.runner: Runner | None = None
        self.told: list[BackendFailure | None] = []
        self.was_ready = False
        self.asked_to_stop = False
        self.connections = 0

    def reach(self, moment: str) -> None:
        if moment == self.stops:
            self.asked_to_stop = True
            assert self.runner is not None
            self.runner.stop()
        if moment == self.moment:
            raise self.error()

    # the backend

    async def serve(self, socket: Path) -> None:
        self.reach("at once")
        async with await asyncio.start_unix_server(self._health, path=str(socket)):
            try:
                await asyncio.Event().wait()
            finally:
                self.reach("when it ends")

    async def _health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.connections -= 1

    # the owner

    def ready(self, runner: Runner) -> None:
        self.was_ready = True
        self.reach("when it is ready")

    def retiring(self, runner: Runner) -> None:
        pass

    def failing(self, runner: Runner, failure: BackendFailure) -> None:
        pass

    def ended(self, runner: Runner, failure: BackendFailure | None) -> None:
        self.told.append(failure)

    def heard_at(self, runner: Runner) -> float | None:
        return None

    async def recall(self, runner: Runner) -> None:
        self.reach("while it loads")
        self.reach("recall")

    async def remember(self, runner: Runner) -> None:
        self.reach("remember")


class _Timeouts:
    load_timeout = 30.0
    hang_timeout = 30.0


def run(work: Coroutine[Any, Any, Runner]) -> Runner:
    """Run on the daemon's kind of loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def a_runner(trouble: Troubled, folder: Path) -> Runner:
    """Make a runner whose backend and owner are the same."""
    spec = LaunchSpec("id", "name", BackendMode.COMPLETION, BackendConfiguration())
    return Runner(
        trouble,
        spec,
        folder / "s",
        key=RunnerKey(trouble.name, "id", "completion", ""),
        generation=1,
        timeouts=_Timeouts(),
        watcher=trouble,
    )


async def live(trouble: Troubled, folder: Path) -> Runner:
    """Let a runner live; whoever is not stopped by trouble is stopped when it is ready."""
    runner = trouble.runner = a_runner(trouble, folder)
    runner.start()
    if trouble.stops == "before its first step":
        trouble.asked_to_stop = True
        runner.stop()
    async with asyncio.timeout(60):
        while not trouble.told and not trouble.was_ready:
            await asyncio.sleep(0.001)
        if not trouble.told and trouble.moment not in ("when it is ready",):
            trouble.asked_to_stop = True
            runner.stop()
        await runner.wait_ended()
        while trouble.connections:
            await asyncio.sleep(0.001)
        for _ in range(8):  # transports close in steps of the loop
            await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task.get_name().endswith(" s")]
    assert left == []
    return runner


@settings(max_examples=150, deadline=None)
@given(
    moment=st.sampled_from(MOMENTS),
    error=st.sampled_from(ERRORS),
    stops=st.sampled_from(("", "before its first step", "at once", "while it loads")),
)
@example(moment="", error=ERRORS[0], stops="before its first step")
def test_nothing_is_stopped_unasked(
    moment: str, error: Callable[[], BaseException], stops: str
) -> None:
    """It ends once, failed with a reason unless somebody wanted it to end."""
    trouble = Troubled(moment, error, stops)
    with tempfile.TemporaryDirectory(prefix="rl") as folder, contextlib.suppress(SystemExit):
        runner = run(live(trouble, Path(folder)))
        [failure] = trouble.told
        assert runner.failure is failure
        if failure is None:
            assert runner.state is RunnerState.STOPPED
            assert trouble.asked_to_stop, "stopped although nobody wanted that"
        else:
            assert runner.state is RunnerState.FAILED
            assert failure.message
            assert fault_of(failure) in Fault
        if moment == "at once" and not stops:
            assert failure is not None


def test_error_is_told_with_its_kind_and_its_words(tmp_path: Path) -> None:
    """Whoever reads it can do something with it."""
    with tempfile.TemporaryDirectory(prefix="rl") as folder:
        runner = run(live(Troubled("at once", ERRORS[0], ""), Path(folder)))
    assert isinstance(runner.failure, EngineFailure)
    assert runner.failure.message == "backend troubled failed: OSError: Too many open files"
    assert fault_of(runner.failure) is Fault.CRASH


def test_what_the_host_lacks_now_may_be_there_in_a_moment() -> None:
    """No descriptor for a pipe is no reason to blame the model."""
    assert fault_of(HostExhausted("cannot start llama-server")) is Fault.CRASH


def test_unit_of_the_test_is_no_rubber_stamp() -> None:
    """A runner that nobody stops and that has no trouble is ready."""
    trouble = Troubled("", ERRORS[0], "")
    with tempfile.TemporaryDirectory(prefix="rl") as folder:
        run(live(trouble, Path(folder)))
    assert trouble.was_ready


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


class _Saving(Troubled):
    """Saves for ever what the runner has evaluated."""

    def __init__(self) -> None:
        super().__init__("", ERRORS[0], "")
        self.saving = asyncio.Event()

    async def remember(self, runner: Runner) -> None:
        self.saving.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("stops", [1, 2, 3])
async def test_only_who_says_so_cuts_the_saving_short(tmp_path: Path, stops: int) -> None:
    """Asking to stop once more is asking the same; to stop at once is another request."""
    owner = _Saving()
    with tempfile.TemporaryDirectory(prefix="rl") as folder:
        runner = a_runner(owner, Path(folder))
        runner.start()
        async with asyncio.timeout(60):
            while not owner.was_ready:
                await asyncio.sleep(0.001)
            runner.stop()
            await owner.saving.wait()
            for _ in range(stops - 1):
                runner.stop()
            ended = tasks.spawn(runner.wait_ended(), name="ended")
            for _ in range(8):
                await asyncio.sleep(0)
            assert not ended.done()
            runner.stop_at_once()
            assert await ended is None
    assert runner.state is RunnerState.STOPPED
    assert owner.told == [None]


async def test_stopped_at_once_nothing_is_saved(tmp_path: Path) -> None:
    """Not even begun."""
    owner = _Saving()
    with tempfile.TemporaryDirectory(prefix="rl") as folder:
        runner = a_runner(owner, Path(folder))
        runner.start()
        async with asyncio.timeout(60):
            while not owner.was_ready:
                await asyncio.sleep(0.001)
            runner.stop_at_once()
            assert await runner.wait_ended() is None
    assert not owner.saving.is_set()


async def test_each_start_has_its_own_owner_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is loaded again has the same socket and another engine user."""
    owners = iter((60850, 60851))
    monkeypatch.setattr("runnerd.sockets.peer.folder_owner", lambda path: next(owners))
    socket = tmp_path / "e.sock"
    async with living(BackendDouble(), socket) as first:
        assert first.endpoint == first.endpoint == (str(socket), 60850)
    async with living(BackendDouble(), socket) as second:
        assert second.endpoint == (str(socket), 60851)
