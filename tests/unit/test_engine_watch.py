"""Since when an engine is waited for."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.runner import engine_watch
from runnerd.runner.engine_watch import EngineWatch
from runnerd.runner.engine_work import EngineWork
from runnerd.runner.failures import EngineHang
from runnerd.runner.launch import LaunchSpec
from tests.unit.test_engine_work import engine_at

LIMIT = 0.3


class Timeouts:
    """A short limit."""

    load_timeout = 60.0
    hang_timeout = LIMIT


class Users:
    """Whoever has the engine: now and then for a moment, and after a while for ever."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.asked = 0
        self.asked_late = 0

    def heard_at(self) -> float | None:
        """Each look finds that it was used, and then that nobody has it; later somebody has."""
        self.asked += 1
        if time.monotonic() - self.began > 2 * LIMIT:
            self.asked_late += 1
            return 0.0
        return 0.0 if self.asked % 2 else None


async def test_who_was_through_was_not_waited_for(tmp_path: Path) -> None:
    """Short requests that come again and again are no silence, although no look finds a slot at
    work: the last one alone is waited for, and not ended by the first look that finds it.
    """
    users = Users()
    spec = LaunchSpec("m", "m", BackendMode.COMPLETION, BackendConfiguration())
    async with engine_at(tmp_path / "e") as engine:
        engine.slots = [{"is_processing": False}]
        engine.turns.set()
        watch = EngineWatch("m", tmp_path / "e", spec, Timeouts(), users.heard_at)
        failure = await watch.wait_failed(lambda: None)
    assert isinstance(failure, EngineHang)
    assert users.asked_late > 2


async def test_who_left_while_it_only_seemed_to_work_left_in_the_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with one core that is caught in a request is given time, for it computes; once it
    hangs, that was no sign of life, and whoever left it meanwhile is to blame.
    """
    computes = partial(EngineWork, busy_threads=lambda before, after: 8)
    monkeypatch.setattr(engine_watch, "EngineWork", computes)
    used_from: list[float] = []

    def heard_at() -> float:
        used_from.append(time.monotonic())
        return 0.0

    timeouts = Timeouts()
    timeouts.hang_timeout = 0.05
    spec = LaunchSpec("m", "m", BackendMode.COMPLETION, BackendConfiguration())
    async with engine_at(tmp_path / "e") as engine:  # it does not answer for its work
        watch = EngineWatch("m", tmp_path / "e", spec, timeouts, heard_at)
        failure = await watch.wait_failed(lambda: None)
        engine.turns.set()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
    assert isinstance(failure, EngineHang)
    assert failure.silent_since <= used_from[0]
