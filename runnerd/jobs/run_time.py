"""How long an attempt has run: what it waited for a place does not count.

A job waits for people, for others' jobs and for its model, as long as that takes; its runtime is
what it may keep an engine for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

_LEAST = 0.1  # seconds between two looks


class RunTime:
    """The time of one attempt, which may take so many `seconds`; None: as many as it takes."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._waited = 0.0  # for places of prompts that are over
        self._waits: Callable[[], float] | None = None  # for the present one's
        self._look: asyncio.TimerHandle

    def ran(self) -> float:
        """Seconds without those in which it waited."""
        waits = 0.0 if self._waits is None else self._waits()
        return max(0.0, time.monotonic() - self._began - self._waited - waits)

    @contextlib.contextmanager
    def asking(self, waits: Callable[[], float]) -> Iterator[None]:
        """For the length of a block a prompt is asked, which `waits` for so many seconds so far."""
        self._waits = waits
        try:
            yield
        finally:
            self._waits = None
            self._waited += waits()

    @contextlib.asynccontextmanager
    async def limited(self) -> AsyncIterator[None]:
        """End the block with TimeoutError once it has run for too long."""
        loop, seconds = asyncio.get_running_loop(), self._seconds
        if seconds is None:
            yield
            return
        async with asyncio.timeout(None) as limit:

            def look() -> None:
                left = seconds - self.ran()
                if left <= 0:
                    limit.reschedule(loop.time())
                else:
                    self._look = loop.call_later(max(left, _LEAST), look)

            self._look = loop.call_later(seconds, look)
            try:
                yield
            finally:
                self._look.cancel()
