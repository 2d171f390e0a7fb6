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
    """For one who waits at a time: for `news`, None while nobody does."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.news: asyncio.Event | None = None
        self._until = math.inf  # when who waits looks again without news

    async def room(self, running: Callable[[], int]) -> int:
        """Wait until jobs may begin; return how many may.

        Beside people it is one, and none while others are `running`.  Once its time has come it
        stands in the scheduler's line, also where what others ask in the background was quicker:
        who asks for that again and again would be quicker each time.
        """
        turn = math.inf  # when one may begin beside people
        while True:
            now = time.monotonic()
            begins_at = self._scheduler.jobs_begin_at()
            people = self._scheduler.people_first
            if begins_at <= now and not people:
                return sys.maxsize
            if min(begins_at, turn) <= now and not running():
                return 1
            self._scheduler.jobs_wait(now)
            begins_at = self._scheduler.jobs_begin_at()
            turn = begins_at if people and not running() else math.inf
            await self._change(begins_at, alone=not running())

    async def _change(self, at: float, *, alone: bool) -> None:
        """Wait for news, and for a time where no job runs."""
        self.news = asyncio.Event()
        self._until = at if alone else -math.inf
        seconds = at - time.monotonic() if alone else math.inf
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self.news.wait()
        finally:
            self.news = None

    def left(self) -> None:
        """Somebody has left: the last one, or one in the background beside whom no job begins."""
        if self.news is None:
            return
        if self._scheduler.people_first:
            self._scheduler.jobs_wait(time.monotonic())  # from now on, where one has got done
            if self._scheduler.jobs_begin_at() >= self._until:
                return
        self.news.set()

    def people_first(self) -> bool:
        """Whether there are people beside whom no more than one job is let through."""
        return self._scheduler.people_first

    def look(self) -> None:
        """A job is not run any more, or settings have changed."""
        if self.news is not None:
            self.news.set()
