"""Signs of life for a client whose stream has not begun.

A request may wait for minutes: for a model that is pulled or loaded, or for its turn.  Clients and
the proxies in between often give up on a connection that says nothing.  One that streams and sends
`X-Ping-Interval: SECONDS` gets the head of its stream and comment lines until the engine answers.
It has then been told 200, so an error comes as an event.  That is why nobody gets them unasked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from runnerd import sse
from runnerd.errors import ClientError
from runnerd.relay.messages import Request

COMMENT = sse.comment("waiting")

_SHORTEST, _LONGEST = 0.05, 300.0  # seconds


def asks_for_heartbeat(request: Request) -> bool:
    """Return whether a request wants to hear that it waits."""
    return request.ping_interval is not None


def interval_of(request: Request) -> float | None:
    """Return the seconds between two heartbeats that a request asks for, None where it does not.

    Raises errors.ClientError for what is no such number.
    """
    value = request.ping_interval
    if value is None:
        return None
    try:
        interval = float(value)
    except ValueError:
        interval = math.nan
    if not _SHORTEST <= interval <= _LONGEST:
        raise ClientError(f"X-Ping-Interval must be {_SHORTEST:g} to {_LONGEST:g} seconds")
    return interval


class Heartbeat:
    """Calls `ping` again and again until it is stopped."""

    def __init__(self, interval: float, ping: Callable[[], None]) -> None:
        self._interval = interval
        self._ping: Callable[[], None] | None = ping
        self._timer = asyncio.get_running_loop().call_later(interval, self._again)

    def stop(self) -> None:
        """No further one.  Idempotent."""
        self._timer.cancel()
        self._ping = None  # who is pinged has this: no circle is left

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._again)
        if self._ping is not None:
            self._ping()
