"""One timer for all exchanges: who has heard nothing from an engine for too long.

A timer per request would cost more than passing a chunk on.  Exchanges only note that something
came; a round over all of them, a few times per limit, turns notes into times.  There is no round
while there is no exchange.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_ROUNDS_PER_LIMIT = 4
_LONGEST_PAUSE = 5.0


class StallTimeoutClient(Protocol):
    """One request at an engine, which is told when nothing comes for too long."""

    heard: bool
    """Set whenever something was heard; a round clears it."""
    silent_since: float
    """Time of the first round that found nothing new; set by the rounds."""

    def silent(self) -> None:
        """Nothing was heard for the limit.  May be told again each round."""
        ...


class StallTimeouts:
    """Calls `silent` of each that has not `heard` anything for `limit` seconds or a little more."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._pause = min(_LONGEST_PAUSE, limit / _ROUNDS_PER_LIMIT)
        self._watched: set[StallTimeoutClient] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: StallTimeoutClient) -> None:
        """Watch from now on."""
        watched.heard = True
        self._watched.add(watched)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._round)

    def remove(self, watched: StallTimeoutClient) -> None:
        """Watch no more; harmless for one that is not watched."""
        self._watched.discard(watched)

    def close(self) -> None:
        """Give the timer back."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        self._timer = None
        if not self._watched:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for watched in list(self._watched):
            if watched.heard:
                watched.heard = False
                watched.silent_since = now
            elif now - watched.silent_since >= self._limit:
                watched.silent()
        self._timer = loop.call_later(self._pause, self._round)
