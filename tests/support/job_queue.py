"""A queue in a folder with a clock that is moved by hand, and an engine that is a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runnerd.access import Principal
from runnerd.backoff import Backoff
from runnerd.database import Database
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.queue import SqliteQueue
from runnerd.jobs.sqlite.state import QueueRules
from runnerd.relay.streamed_response import StreamedResponse

POLICY = RetryPolicy(failures=3, losses=3, backoff=Backoff(1.0, 60.0), jitter=lambda: 1.0)


class SqliteHost:
    """The queue in the daemon's database, opened and closed as a daemon does it."""

    MOST_OPEN = 10
    MOST_BYTES = 10_000
    MOST_RESULTS = 1000

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.now = 1000.0

    async def open(self) -> None:
        self.database = Database(self._folder)
        rules = QueueRules(
            lambda: self.MOST_OPEN,
            lambda: 86400.0,
            lambda: POLICY,
            lambda: self.MOST_BYTES,
            most_results=lambda: self.MOST_RESULTS,
        )
        self.queue = SqliteQueue(
            self.database, rules, clock=lambda: 1e9 + self.now, passed=lambda: self.now
        )
        await self.database.open()
        await self.queue.open()

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        await self.queue.look()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def close(self) -> None:
        await self.queue.close()
        await self.database.close()


Script = Callable[[bytes, StreamedResponse], Any]


class ScriptedEngine:
    """What attempts ask: `script` is called with each body and tells the sink, or raises."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[bytes] = []
        self.background: list[bool] = []
        self.left = 0  # how many were left before their end
        self.has_places = True  # for whoever asks, at once

    @asynccontextmanager
    async def streamed(
        self, path: str, body: bytes, principal: Principal, *, background: bool = False
    ) -> AsyncIterator[StreamedResponse]:
        self.background.append(background)
        self.asked.append(body)
        sink = StreamedResponse(1 << 20)
        sink.has_place = self.has_places
        telling = asyncio.get_running_loop().create_task(self._tell(body, sink))
        try:
            yield sink
        finally:
            self.left += not sink.ended
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell(self, body: bytes, sink: StreamedResponse) -> None:
        told = self._script(body, sink)
        if asyncio.iscoroutine(told):
            await told
