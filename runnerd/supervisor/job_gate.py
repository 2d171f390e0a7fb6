"""Where jobs wait that have not begun, until there is a pause between people."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Callable

from runnerd.scheduler import Scheduler


class JobGate:
    """For one who waits at a time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._news: asyncio.Event | None = None  # while somebody waits for them

    async def room(self, running: Callable[[], int]) -> int:
        """Wait until jobs may begin; return how many may.

        Beside people it is one, and none while others are `running`.
        """
        while True:
            now = time.monotonic()
            begins_at = self._scheduler.jobs_begin_at()
            if begins_at <= now and not self._scheduler.people_first:
                return sys.maxsize
            if begins_at <= now and not running():
                return 1
            self._scheduler.jobs_wait(now)
            await self._change(math.inf if running() else self._scheduler.jobs_begin_at())

    async def _change(self, at: float) -> None:
        """Wait for news, or for a time."""
        self._news = asyncio.Event()
        seconds = at - time.monotonic()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self._news.wait()
        finally:
            self._news = None

    def left(self) -> None:
        """Somebody has left; it may have been the last one."""
        if self._news is not None and not self._scheduler.people_first:
            self._news.set()

    def look(self) -> None:
        """A job is not run any more, or settings have changed."""
        if self._news is not None:
            self._news.set()
