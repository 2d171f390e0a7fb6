"""Memory that the daemon has freed and the C library keeps: given back to the system.

A burst of large bodies, or one model with a large header, leaves a heap in pieces that glibc keeps
for good.  It is asked to let go of them when the process has become larger than it was, and
again when that has changed; where nothing can be had, it is seldom asked.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from functools import cache

from runnerd import threads

_INTERVAL = 5.0  # seconds between looks
_PATIENCE = 60.0  # seconds after which a process that stayed large is tried once more
_WORTH = 32 * 2**20  # bytes more than the least that it has had
_CHANGED = 8 * 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


class SpareMemory:
    """Decides when it is worth it; `run` it as a task."""

    def __init__(self) -> None:
        self._least: int | None = None
        self._after = 0  # what was left when it was last done
        self._done_at = -_PATIENCE

    async def run(self) -> None:
        """Look, and give back, for as long as the daemon lives."""
        trim = _trim()
        if trim is None:
            return
        loop = asyncio.get_running_loop()
        self.done(await threads.run(held), loop.time())
        while True:
            await asyncio.sleep(_INTERVAL)
            if self.wanted(await threads.run(held), loop.time()):
                await threads.run(trim, 0)
                self.done(await threads.run(held), loop.time())

    def wanted(self, bytes: int, now: float) -> bool:
        """Whether a process that holds so much should be asked to give back."""
        self._least = bytes if self._least is None else min(self._least, bytes)
        if bytes - self._least < _WORTH:
            return False
        return abs(bytes - self._after) >= _CHANGED or now - self._done_at >= _PATIENCE

    def done(self, bytes: int, now: float) -> None:
        """Note what is held now that it was asked."""
        self._after, self._done_at = bytes, now
        self._least = bytes if self._least is None else min(self._least, bytes)


def held() -> int:
    """The bytes of RAM that this process holds.  Reads /proc."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # another C library than glibc
        return None
    return trim
