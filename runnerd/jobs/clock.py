"""Unix time that does not jump when somebody sets the host's clock.

Deadlines, pauses and how long results are kept must not end because a clock was a day wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_SMALL = 300.0  # seconds; what a time server corrects little by little


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Follows the host's clock as long as that differs little from the time that has passed."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        passed: Callable[[], float] = _since_boot,
    ) -> None:
        self._wall = wall
        self._passed = passed
        self._offset = wall() - passed()

    def __call__(self) -> float:
        """Unix time in seconds."""
        wall, passed = self._wall(), self._passed()
        if abs(wall - passed - self._offset) <= _SMALL:
            self._offset = wall - passed
        return passed + self._offset
