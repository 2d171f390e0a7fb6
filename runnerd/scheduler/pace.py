"""How quickly an engine answers, and how many requests it may therefore have at a time.

What waits here is served fairly; what an engine has been given it serves as it likes.  An engine
that answers within microseconds is worth more requests at a time than `overcommit` says: each
round of the event loop then carries more of them, and nobody waits noticeably longer for it.

Beside other programs engine and daemon wait for the processor, some milliseconds at a time.  Such
waits say nothing about the engine, and fewer requests at a time would only make more of them.
They can make responses late and never early, so the quickest of the last moment is what counts.
"""

from __future__ import annotations

import math

_COUNTED = 32  # responses in a row, and four times as many as an engine may complete in one go
_PERIOD = 0.25  # seconds; the quickest of the present one and of the one before counts
_AHEAD = 0.005  # seconds of work that an engine may have beyond what `overcommit` gives it
_MOST = 4  # times as many as `overcommit` gives it


class Pace:
    """The seconds from one response of a busy engine to the next: of many in a row the average,
    and the least of these averages in the last moment.

    It is unknown (None) until an engine has been busy for that many responses, and again once
    nothing has been quick for half a second.
    """

    __slots__ = (
        "_before", "_best", "_count", "_counted", "_known_until", "_least", "_period_ends", "_since"
    )  # fmt: skip

    def __init__(self, slots: int | None = None) -> None:
        """`slots`: how many responses the engine may complete at once, with pauses between."""
        self._counted = max(_COUNTED, 4 * (slots or 0))
        self._count = 0
        self._since = 0.0
        self._best = self._before = math.inf  # of this period, and of the one before
        self._least: float | None = None  # of both
        self._period_ends = self._known_until = 0.0

    def seconds(self, now: float) -> float | None:
        """The pace, None while it is unknown or no quick one."""
        return self._least if now < self._known_until else None

    def responded(self, now: float, *, busy: bool) -> bool:
        """A response is complete; `busy` says whether the engine has others to give.

        Whether the pace may be another one than before.
        """
        if not busy:
            self._count = 0
        elif self._count == 0:
            self._count, self._since = 1, now
        elif self._count < self._counted:
            self._count += 1
        else:
            self._note((now - self._since) / self._counted, now)
            self._count, self._since = 1, now
            return True
        return False

    def _note(self, average: float, now: float) -> None:
        if now >= self._period_ends:
            self._before = self._best if now < self._known_until else math.inf
            self._best = math.inf
            self._period_ends, self._known_until = now + _PERIOD, now + 2 * _PERIOD
        self._best = min(self._best, average)
        least = min(self._best, self._before)
        self._least = least if least <= _AHEAD else None

    def places(self, places: int, now: float) -> int:
        """How many requests an engine may have that `overcommit` gives so many places."""
        seconds = self.seconds(now)
        if seconds is None:
            return places
        most = _MOST * places
        if most * seconds <= _AHEAD:
            return most
        return max(places, int(_AHEAD / seconds))
