"""One lazily re-armed timer per connection.

Deadlines move with every byte; a timer that were cancelled and set again each time would cost more
than the byte.  The timer is therefore left alone while the deadline moves away, and looks again
when it fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `expired` once the time set last has passed without being cleared or moved."""

    __slots__ = ("_at", "_due_at", "_expired", "_loop", "_timer")

    def __init__(self, expired: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._expired: Callable[[], None] | None = expired
        self._at: float | None = None
        self._due_at = 0.0  # of the timer; uvloop's handle for "now" does not know
        self._timer: asyncio.Handle | None = None

    def set(self, seconds: float) -> None:
        """Expire in `seconds` from now, instead of whenever it was."""
        self._at = at = self._loop.time() + seconds
        if self._timer is not None:
            if self._due_at <= at:
                return
            self._timer.cancel()
        self._due_at = at
        self._timer = self._loop.call_at(at, self._fire)

    @property
    def is_set(self) -> bool:
        """Whether it is going to expire."""
        return self._at is not None

    def clear(self) -> None:
        """Do not expire."""
        self._at = None

    def close(self) -> None:
        """Give the timer and `expired` back; the deadline must not be used any more."""
        self._at = None
        self._expired = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._due_at = self._at
            self._timer = self._loop.call_at(self._at, self._fire)
        else:
            self._at = None
            if self._expired is not None:
                self._expired()
