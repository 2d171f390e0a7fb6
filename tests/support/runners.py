"""A runner on a backend, for tests of what is between the two; the test is who owns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import Backend, EngineFailure
from runnerd.config import Settings
from runnerd.errors import BackendFailure
from runnerd.runner import LaunchSpec, Runner
from runnerd.scheduler import RunnerKey
from tests.support.waiting import LIMIT


class Owner:
    """Notes what a runner tells; `on_recall` is called when it may be given back what it knew."""

    def __init__(self, on_recall: Callable[[], None] | None = None) -> None:
        self.is_ready = asyncio.Event()
        self._on_recall = on_recall

    def ready(self, runner: Runner) -> None:
        self.is_ready.set()

    def retiring(self, runner: Runner) -> None: ...

    def failing(self, runner: Runner, failure: BackendFailure) -> None: ...

    def ended(self, runner: Runner, failure: BackendFailure | None) -> None: ...

    def heard_at(self, runner: Runner) -> float | None:
        return None

    async def recall(self, runner: Runner) -> None:
        if self._on_recall is not None:
            self._on_recall()
            await asyncio.Event().wait()  # until the engine's end is noticed

    async def remember(self, runner: Runner) -> None: ...


@asynccontextmanager
async def living(
    backend: Backend, socket: Path, model: str = "tiny", owner: Owner | None = None
) -> AsyncIterator[Runner]:
    """Run a model until the block ends; by then no process or socket may be left."""
    before = children()
    configuration = BackendConfiguration.model_validate({})
    runner = Runner(
        backend,
        LaunchSpec(model, f"ai/{model}", BackendMode.COMPLETION, configuration),
        socket,
        key=RunnerKey(backend.name, model, BackendMode.COMPLETION, ""),
        generation=1,
        timeouts=Settings(load_timeout=LIMIT, hang_timeout=LIMIT),
        watcher=owner or Owner(),
    )
    runner.start()
    try:
        yield runner
    finally:
        runner.stop_at_once()
        await runner.wait_ended()
        assert children() == before
        assert not socket.exists()
        assert not runner.engine_socket.exists()


async def failure_of(runner: Runner) -> EngineFailure:
    """Wait until a runner has failed by its engine's end; return how."""
    async with asyncio.timeout(LIMIT):
        failure = await runner.wait_ended()
    assert isinstance(failure, EngineFailure)
    return failure


def children() -> set[psutil.Process]:
    """Return every process that has come from this one."""
    return set(psutil.Process().children(recursive=True))
