"""Since when an engine is waited for."""

from __future__ import annotations

import time
from pathlib import Path

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.runner.engine_watch import EngineWatch
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
