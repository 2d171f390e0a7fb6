"""How much a user may do, counted: requests per minute, requests at once, tokens per day.

Pure: the time is given with each call.  A minute is any sixty seconds, a day one of UTC.  What is
refused is not counted.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from runnerd.access.users import UserLimits
from runnerd.errors import LimitReached

_MINUTE = 60.0
_DAY = 86400.0
_A_MOMENT = 1.0  # seconds until one of several requests at once may have ended


class LastMinute:
    """Requests of the last sixty seconds, by the second in which they came: no more than a minute
    of them is remembered, however many there are, and one counts for up to a second longer.
    """

    __slots__ = ("_seconds", "count")

    def __init__(self) -> None:
        self._seconds: Final[deque[list[int]]] = deque()  # each with how many came in it
        self.count = 0

    def forget(self, now: float) -> None:
        """Count no more what is too long ago."""
        while self._seconds and self._seconds[0][0] + 1 + _MINUTE <= now:
            self.count -= self._seconds.popleft()[1]

    def add(self, now: float) -> None:
        """Count a request; where the clock was put back it is one of the latest second."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0])
        self._seconds[-1][1] += 1
        self.count += 1

    def wait(self, now: float) -> float:
        """The seconds until the oldest counts no more."""
        return self._seconds[0][0] + 1 + _MINUTE - now if self._seconds else _MINUTE


class UserCounts:
    """What one user has done."""

    __slots__ = ("_day", "_tokens", "requests", "reserved", "running")

    def __init__(self) -> None:
        self.requests: Final = LastMinute()
        self.running = 0
        self.reserved = 0  # tokens that requests under way may still take
        self._day = 0
        self._tokens = 0

    def tokens(self, now: float) -> int:
        """The tokens of this day."""
        return self._tokens if self._day == now // _DAY else 0

    def spend(self, tokens: int, now: float) -> None:
        """Count the tokens of a request and its response."""
        self._tokens = self.tokens(now) + tokens
        self._day = int(now // _DAY)


class Limiter:
    """Counts for all users, by id.  `begin` and `end` frame each request."""

    def __init__(self) -> None:
        self._counts: dict[str, UserCounts] = {}

    def begin(self, user: str, limits: UserLimits, now: float) -> UserCounts:
        """Count a request that begins.  Raises errors.LimitReached, which names the limit."""
        counts = self._counts.get(user)
        if counts is None:
            counts = self._counts[user] = UserCounts()
        if limits.concurrent_requests is not None and counts.running >= limits.concurrent_requests:
            raise _reached("concurrent_requests", limits.concurrent_requests, _A_MOMENT)
        if limits.tokens_per_day is not None:
            _check_day(counts, limits.tokens_per_day, now)
        if limits.requests_per_minute is not None:
            _count_minute(counts.requests, limits.requests_per_minute, now)
        counts.running += 1
        return counts

    def left(self, user: str, tokens_per_day: int, now: float) -> int:
        """How many tokens are left of a day, beside those that are used or reserved."""
        counts = self._counts.get(user)
        return tokens_per_day - (counts.tokens(now) + counts.reserved if counts else 0)

    def reserve(self, user: str, tokens: int) -> None:
        """Keep tokens for a request that is under way."""
        self._counts[user].reserved += tokens

    def end(self, user: str, now: float, *, reserved: int = 0) -> None:
        """Count a request that has ended, for which so many tokens were reserved."""
        counts = self._counts[user]
        counts.reserved -= reserved
        counts.running -= 1
        if not counts.running and not counts.tokens(now) and not counts.requests.count:
            del self._counts[user]  # nothing is known of it that would count

    def spend(self, user: str, tokens: int, now: float) -> None:
        """Count tokens, of a request that has ended or of what was used before a restart."""
        self._counts.setdefault(user, UserCounts()).spend(tokens, now)


def _check_day(counts: UserCounts, most: int, now: float) -> None:
    """Raise errors.LimitReached where no token of a day is left."""
    used = counts.tokens(now)
    if used >= most:
        raise _reached("tokens_per_day", most, _DAY - now % _DAY)
    if used + counts.reserved >= most:  # until some of these have ended
        raise _reached("tokens_per_day", most, _A_MOMENT)


def _count_minute(requests: LastMinute, most: int, now: float) -> None:
    requests.forget(now)
    if requests.count >= most:
        raise _reached("requests_per_minute", most, requests.wait(now))
    requests.add(now)


def _reached(name: str, most: int, seconds: float) -> LimitReached:
    whole = max(1, math.ceil(seconds))
    return LimitReached(
        f"your limit {name} of {most} is reached; try again in {whole} s",
        limit=name,
        retry_after=whole,
    )
