"""Looks at what runners hold while they work.

A need is foretold before the start and looked at when a model is ready; from then on it may grow:
with prompts that are kept, longer contexts, images.  So it is looked at again, often after
something has changed and seldom while nothing does, for as long as there are runners.  One look
reads one small file per engine, and asks the driver once per GPU and engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runnerd import tasks

log = logging.getLogger(__name__)

_OFTEN, _SELDOM = 1.0, 10.0  # seconds between looks
_BACK_OFF = 1.5


class MemoryWatch:
    """Calls `look` from time to time while it is awake; it says whether anything has changed, or
    None when there is nothing left to look at.
    """

    def __init__(self, look: Callable[[], Awaitable[bool | None]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self._pause = _OFTEN

    def wake(self) -> None:
        """Something has begun that may hold memory; idempotent."""
        self._pause = _OFTEN
        if self._task is None:
            self._task = tasks.spawn(self._watch(), name="memory watch")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            await tasks.cancel_and_wait(self._task)

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._pause)
                changed = await self._look()
                if changed is None:
                    return
                self._pause = _OFTEN if changed else min(_SELDOM, self._pause * _BACK_OFF)
        finally:
            self._task = None
