"""How much a user may do, counted: requests per minute, requests at once, tokens per day.

Pure: the time is given with each call.  A minute is any sixty seconds, a day one of UTC.  What is
refused is not counted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from runnerd.access.users import UserLimits
from runnerd.errors import LimitReached

_MINUTE = 60.0
_DAY = 86400.0
_A_MOMENT = 1.0  # seconds until one of several requests at once may have ended
_MOST_REMEMBERED = 100_000  # requests of a user in a minute


class UserCounts:
    """What one user has done."""

    __slots__ = ("_day", "_tokens", "requests", "running")

    def __init__(self) -> None:
        self.requests: Final[deque[float]] = deque()  # when each of the last minute came
        self.running = 0
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
        if limits.tokens_per_day is not None and counts.tokens(now) >= limits.tokens_per_day:
            raise _reached("tokens_per_day", limits.tokens_per_day, _DAY - now % _DAY)
        if limits.requests_per_minute is not None:
            _count_minute(counts.requests, limits.requests_per_minute, now)
        counts.running += 1
        return counts

    def end(self, user: str, now: float) -> None:
        """Count a request that has ended."""
        counts = self._counts[user]
        counts.running -= 1
        if not counts.running and not counts.tokens(now) and not counts.requests:
            del self._counts[user]  # nothing is known of it that would count

    def spend(self, user: str, tokens: int, now: float) -> None:
        """Count tokens, of a request that has ended or of what was used before a restart."""
        self._counts.setdefault(user, UserCounts()).spend(tokens, now)


def _count_minute(requests: deque[float], most: int, now: float) -> None:
    while requests and requests[0] <= now - _MINUTE:
        requests.popleft()
    if len(requests) >= min(most, _MOST_REMEMBERED):
        wait = requests[0] + _MINUTE - now if requests else _MINUTE
        raise _reached("requests_per_minute", most, wait)
    requests.append(now)


def _reached(name: str, most: int, seconds: float) -> LimitReached:
    return LimitReached(
        f"your limit {name} of {most} is reached; try again in {max(1, round(seconds))} s",
        limit=name,
        retry_after=seconds,
    )
