"""The folders of engine runs: a run's own from its start to its end, and nobody else's."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp import engine_runs
from runnerd.backends.llamacpp.command import Launch
from runnerd.backends.llamacpp.engine_runs import EngineRuns
from runnerd.tasks import spawn


class AnyEngine:
    """Engines that can be started; nobody does."""

    async def command(self, launch: Launch) -> None:
        """There is one."""


class Runs(EngineRuns):
    """Runs without engines: each has its folders and goes on until it is cancelled."""

    def __init__(self) -> None:
        nothing = cast(Any, None)
        super().__init__(nothing, nothing, cast(Any, AnyEngine()), nothing)
        self.running = asyncio.Event()

    async def _run(self, socket: Path, model: str, launch: Launch, ram_limit: int | None) -> None:
        self.running.set()
        await asyncio.Event().wait()


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    folder = tmp_path / "m3"
    nothing = cast(Any, None)
    slots = tmp_path / "m3.run"
    made = Launch(folder / "e.sock", "m3", nothing, None, BackendMode.COMPLETION, nothing)
    return replace(made, slots=slots)


class Held:
    """Making the folders, held in its thread until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._make = engine_runs._make_folders
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        monkeypatch.setattr(engine_runs, "_make_folders", self)

    def __call__(self, launch: Launch) -> Launch:
        if self.begun.is_set():
            return self._make(launch)
        self.begun.set()
        self.go.wait(30)
        try:
            return self._make(launch)
        finally:
            self.ended.set()


async def test_a_run_that_is_called_off_leaves_the_next_one_alone(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose engine has the same socket: its folder stays where it is."""
    held, runs, where = Held(monkeypatch), Runs(), launch.socket.parent
    first = spawn(runs.run(launch.socket, "m3", launch, None), name="first")
    await asyncio.to_thread(held.begun.wait, 30)
    first.cancel()
    await asyncio.wait([first], timeout=0.2)
    if not first.done():  # it waits for its thread, as it should
        held.go.set()
    await asyncio.wait([first])
    second = spawn(runs.run(launch.socket, "m3", launch, None), name="second")
    await runs.running.wait()
    (where / "e.sock").touch()
    held.go.set()
    await asyncio.to_thread(held.ended.wait, 30)
    assert (where / "e.sock").exists()
    second.cancel()
    await asyncio.wait([second])
    assert not where.exists()


async def test_a_run_that_is_called_off_leaves_nothing(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its folders were about to be made."""
    held, runs = Held(monkeypatch), Runs()
    task = spawn(runs.run(launch.socket, "m3", launch, None), name="run")
    await asyncio.to_thread(held.begun.wait, 30)
    task.cancel()
    await asyncio.wait([task], timeout=0.2)
    held.go.set()
    await asyncio.to_thread(held.ended.wait, 30)
    await asyncio.wait([task])
    assert list(launch.socket.parents[1].iterdir()) == []
    assert not runs.running.is_set()
