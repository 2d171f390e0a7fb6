"""The queue in the daemon's database keeps what every queue promises, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.backoff import Backoff
from runnerd.database import Database
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.queue import SqliteQueue
from runnerd.jobs.sqlite.state import QueueRules
from tests.support.queue_suite import *  # noqa: F403

POLICY = RetryPolicy(failures=3, losses=3, backoff=Backoff(1.0, 60.0), jitter=lambda: 1.0)


class SqliteHost:
    """A queue in a folder, and a clock that is moved by hand."""

    MOST_OPEN = 10

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.now = 1000.0

    async def open(self) -> None:
        self._database = Database(self._folder)
        rules = QueueRules(lambda: self.MOST_OPEN, lambda: 86400.0, lambda: POLICY)
        clock = lambda: 1e9 + self.now  # noqa: E731
        self.queue = SqliteQueue(self._database, rules, clock=clock, passed=lambda: self.now)
        await self._database.open()
        await self.queue.open()

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        await self.queue.look()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def close(self) -> None:
        await self.queue.close()
        await self._database.close()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SqliteHost]:
    host = SqliteHost(tmp_path)
    await host.open()
    yield host
    await host.close()
