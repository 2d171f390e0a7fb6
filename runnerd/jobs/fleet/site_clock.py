"""The time of Redis, held against the time that passes: a clock that was set is corrected.

Leases and pauses are times, and there is one clock for all hosts: Redis'.  When somebody sets it,
all leases would be over at once, or none for a day.  Each host that looks after the jobs knows how
much time has passed since it looked last; if Redis says something else, the difference is added
from then on (`rj:offset`), by whoever sees it first.
"""

from __future__ import annotations

import logging
import time

from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.job_script_ends import CLOCK_SET

log = logging.getLogger(__name__)


class SiteClock:
    """What this process knows of Redis' clock."""

    def __init__(self, index: JobIndex) -> None:
        self._index = index
        self._last: tuple[float, float] | None = None  # Redis' time, ours after it was told

    async def check(self) -> float:
        """Correct the clock if it was set since the last call; return Redis' time, corrected.

        Raises errors.DatabaseFailure.
        """
        asked = time.monotonic()
        now, offset = [float(value) for value in await self._index.call("clock")]
        told = time.monotonic()
        if self._last is not None and told - asked < CLOCK_SET:
            then, seen = self._last
            wrong = now - then - (told - seen)
            if abs(wrong) > CLOCK_SET + (told - asked):
                await self._correct(offset, wrong)
                self._last = None
                return now - wrong
        self._last = (now, told)
        return now

    async def _correct(self, offset: float, wrong: float) -> None:
        if await self._index.call("correct", f"{offset:.6f}", f"{-wrong:.6f}"):
            log.warning("Redis' clock was set by %+.0f s; leases and deadlines do not move", wrong)
