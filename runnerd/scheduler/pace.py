"""How quickly an engine answers, and how many requests it may therefore have at a time.

What waits here is served fairly; what an engine has been given it serves as it likes.  An engine
that answers within microseconds is worth more requests at a time than `overcommit` says: each
round of the event loop then carries more of them, and nobody waits noticeably longer for it.

What counts is a *round*: the requests that an engine has at one moment, from when the first of them
was given to it until they are answered.  That is more than what they took, whichever the engine
computes together and in whatever order.  Beside other programs engine and daemon wait for the
processor, some milliseconds in each round, and the more often the fewer requests a round has.  Such
waits make rounds longer and never shorter, so the shortest of the last moment is the truest.
"""

from __future__ import annotations

import math
from collections.abc import Collection

_COUNTED = 32  # responses in quick rounds, before an engine is a quick one
_PERIOD = 0.25  # seconds; the shortest round of the present one and of the one before counts
_QUICK = 0.005  # seconds of a round for each of its requests, at most
_ROUND = 0.02  # seconds in which an engine is to answer all that it is given
_MOST = 4  # times as many as `overcommit` gives it
_PAUSE = 0.0005  # seconds between responses that did not come in one go


class Pace:
    """The seconds of a round for each of its requests, of the shortest round of the last moment.

    It is unknown (None) until an engine that was at least half in use has given that many responses
    quickly, and again after half a second without a quick round.
    """

    __slots__ = (
        "_answered", "_before", "_began", "_best", "_burst_at", "_count", "_known_until", "_last",
        "_least", "_needed", "_period_ends", "_since", "_slots", "_until",
    )  # fmt: skip

    def __init__(self, slots: int | None = None) -> None:
        """`slots`: how many requests the engine serves at a time."""
        self._slots = slots or 0
        self._last = self._burst_at = -math.inf
        # The round: what was given within this time, some of which may take longer.
        self._since, self._until = math.inf, -math.inf
        self._began = 0.0
        self._answered = self._needed = 0
        self._best = self._before = math.inf  # of this period, and of the one before
        self._least: float | None = None  # of both
        self._count = 0
        self._period_ends = self._known_until = -math.inf

    def seconds(self, now: float) -> float | None:
        """The pace, None while it is unknown or no quick one."""
        return self._least if now < self._known_until else None

    def places(self, places: int, now: float) -> int:
        """How many requests an engine may have that `overcommit` gives so many places."""
        seconds = self._least
        if seconds is None or now >= self._known_until:
            return places
        most = _MOST * places
        return most if most * seconds <= _ROUND else max(places, int(_ROUND / seconds))

    def responded(self, given_at: float, now: float, others: Collection[float]) -> bool:
        """A response is complete; `given_at` is when its request was given to the engine, `others`
        when those were that it still has.

        Whether the pace may be another one than before.
        """
        if now - self._last > _PAUSE:
            # Best begun where the engine had answered all that it had, and got as much anew.
            self._begin([given_at, *others], since=self._burst_at)
            self._burst_at = now
        self._last = now
        if self._since <= given_at <= self._until:
            self._answered += 1
            if given_at < self._began:
                self._began = given_at
        if self._answered < self._needed:
            return False
        answered, took = self._answered, now - self._began
        self._begin(others, since=-math.inf)
        if not answered or 2 * answered < self._slots:
            return False
        self._note(took / answered, answered, now)
        return True

    def left(self, given_at: float) -> None:
        """A request has ended without a response that was computed, which shows nothing."""
        if self._since <= given_at <= self._until and self._needed > 1:
            self._needed -= 1

    def _begin(self, given: Collection[float], *, since: float) -> None:
        """Begin a round with what was given `since` then, if that is most of what there is.

        It is over when nearly all is answered: one of them may take longer, as long as most do not.
        """
        members = given if since == -math.inf else list(filter(since.__le__, given))
        size = len(members)
        if 4 * size >= 3 * len(given):
            self._since, self._until = since, max(members, default=-math.inf)
            self._needed = max(min(1, size), size - max(1, size // 8))
            self._answered, self._began = 0, math.inf

    def _note(self, seconds: float, answered: int, now: float) -> None:
        """Note a round that is over: `seconds` for each request, `answered` how many there were."""
        if seconds > _QUICK:
            return
        if now >= self._period_ends:
            if now >= self._known_until:
                self._best, self._least, self._count = math.inf, None, 0
            self._before, self._best = self._best, math.inf
            self._period_ends, self._known_until = now + _PERIOD, now + 2 * _PERIOD
        self._best = min(self._best, seconds)
        self._count += answered
        if self._count >= _COUNTED:
            self._least = min(self._best, self._before)
