"""How quickly an engine answers, and how many requests it may therefore have at a time.

What waits here is served fairly; what an engine has been given it serves as it likes.  An engine
that answers within microseconds is worth more requests at a time than `overcommit` says: each
round of the event loop then carries more of them, and nobody waits noticeably longer for it.
"""

from __future__ import annotations

_COUNTED = 32  # responses in a row that make a pace
_AHEAD = 0.005  # seconds of work that an engine may have beyond what `overcommit` gives it
_MOST = 4  # times as many as `overcommit` gives it


class Pace:
    """The seconds from one response of a busy engine to the next, as an average.

    It is unknown (None) until an engine has been busy for 32 responses in a row, and again as soon
    as one took longer than all that an engine may have ahead.
    """

    __slots__ = ("_count", "_last", "_since", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._count = 0
        self._since = self._last = 0.0

    def responded(self, now: float, *, busy: bool) -> bool:
        """A response is complete; `busy` says whether the engine has others to give.

        Whether the pace is another one than before.
        """
        known = self.seconds
        if now - self._last > _AHEAD and self._count:
            self.seconds, self._count = None, 0
        self._last = now
        if not busy:
            self._count = 0
        elif self._count == 0:
            self._count, self._since = 1, now
        elif self._count == _COUNTED:
            self.seconds, self._count, self._since = (now - self._since) / _COUNTED, 1, now
        else:
            self._count += 1
        return self.seconds != known

    def places(self, places: int) -> int:
        """How many requests an engine may have that `overcommit` gives so many places."""
        if self.seconds is None:
            return places
        most = _MOST * places
        if most * self.seconds <= _AHEAD:
            return most
        return max(places, int(_AHEAD / self.seconds))
