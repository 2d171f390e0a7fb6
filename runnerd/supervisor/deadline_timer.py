"""The supervisor's one timer: it wakes at the scheduler's next deadline, and never else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

SLACK = 0.05  # seconds that it may be late: each request moves a deadline on by microseconds


class DeadlineTimer:
    """Calls `wake` when the earliest deadline has come; `next_deadline` says when that is."""

    def __init__(self, next_deadline: Callable[[], float | None], wake: Callable[[], None]) -> None:
        self._next_deadline = next_deadline
        self._wake = wake
        self._handle: asyncio.Handle | None = None
        self._due_at = math.inf  # when it goes off; uvloop's handle for "now" does not know

    def arm(self) -> None:
        """Take note that deadlines have changed."""
        deadline = self._next_deadline()
        if self._handle is not None:
            if deadline is None or self._due_at <= deadline + SLACK:
                return  # wakes early enough, and re-arms then; to cancel costs more than to wake
            self.cancel()
        if deadline is not None:
            self._due_at = deadline
            self._handle = asyncio.get_running_loop().call_at(deadline, self._ring)

    def wakes_by(self, deadline: float | None) -> bool:
        """Return whether it is set and early enough for a deadline."""
        if self._handle is None:
            return False
        return deadline is None or self._due_at <= deadline + SLACK

    def cancel(self) -> None:
        """Do not wake."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._wake()
