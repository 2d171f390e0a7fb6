"""The time of Redis, held against the time that passes: a clock that was set is corrected.

Leases and pauses are times, and there is one clock for all hosts: Redis'.  When somebody sets it,
all leases would be over at once, or none for a day.  Each host that looks after the jobs knows how
much time has passed since it looked last, and says so when it looks again; if Redis' clock says
something else nothing is due, and the difference is added from then on (`rj:offset`), by whoever
sees it first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.job_script_ends import CLOCK_SET

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at a moment: ids, of `lost` jobs each with its token; `mark` is empty, or
    the epoch and how many changes a new mark in the journal will stand for.
    """

    lost: Sequence[bytes] = ()
    late: Sequence[bytes] = ()
    stuck: Sequence[bytes] = ()
    old: Sequence[bytes] = ()
    mark: Sequence[bytes] = ()


class SiteClock:
    """What this process knows of Redis' clock."""

    def __init__(self, index: JobIndex) -> None:
        self._index = index
        self._last: tuple[float, float] | None = None  # Redis' time, ours after it was told

    async def look(self, kept: float) -> Due:
        """What is due, with results `kept` for so many seconds; correct the clock if it was set
        since the last call.  Raises errors.DatabaseFailure.
        """
        asked = time.monotonic()
        expected = None if self._last is None else self._last[0] + asked - self._last[1]
        said = "" if expected is None else f"{expected:.6f}"
        now, offset, *due = await self._index.call("look", kept, said)
        told = time.monotonic()
        if told - asked >= CLOCK_SET:  # when in this time Redis has looked nobody knows
            self._last = None
            return Due(*due)
        wrong = 0.0 if expected is None else float(now) - expected
        if abs(wrong) > CLOCK_SET + (told - asked):
            await self._correct(float(offset), wrong)
            self._last = float(now) - wrong, told
            return Due()
        self._last = float(now), told
        return Due(*due)

    async def _correct(self, offset: float, wrong: float) -> None:
        if await self._index.call("correct", f"{offset:.6f}", f"{-wrong:.6f}"):
            log.warning("Redis' clock was set by %+.0f s; leases and deadlines do not move", wrong)
