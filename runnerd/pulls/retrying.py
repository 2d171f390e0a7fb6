"""When a source that failed is asked again.

The pause grows with each failure in a row and is random, so that many clients of one server do not
come back together.  A server that says when (Retry-After, in seconds or as a date) is not asked
before; one that says more than anybody would wait for is given up, with what it said.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

from runnerd.backoff import Backoff
from runnerd.errors import RunnerdError, SourceBusy

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 30.0
_LONGEST_RETRY_AFTER = 300.0  # seconds that a server may ask us to stay away
_ATTEMPTS = 5  # at a small request that a busy server has refused

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses of a server that may do better in a moment."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a response asks us to wait, None where it does not say.

    A date is taken by the server's own clock, where the response tells it.
    """
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said[:9])
    try:
        date = parsedate_to_datetime(said)
        now = parsedate_to_datetime(headers["Date"])
        return max(0.0, (date - now).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def is_worth_waiting(error: RunnerdError) -> bool:
    """Say whether another attempt may help, in a time that somebody would wait."""
    return error.should_retry is not False and (error.retry_after or 0.0) <= _LONGEST_RETRY_AFTER


def pause_after(failures: int, error: RunnerdError, first: float = FIRST_PAUSE) -> float:
    """Return how many seconds to wait after so many failures in a row."""
    own = Backoff(first, _LONGEST_PAUSE).pause(failures) * random.uniform(0.75, 1.25)
    named = error.retry_after
    return own if named is None else max(own, named * random.uniform(1.0, 1.1))


async def persistently(
    ask: Callable[[], Awaitable[T]], say: Callable[[str], None] = lambda message: None
) -> T:
    """Ask something small of a source, a few times where it is too busy to answer."""
    failures = 0
    while True:
        try:
            return await ask()
        except SourceBusy as error:
            failures += 1
            if failures >= _ATTEMPTS or not is_worth_waiting(error):
                raise
            pause = pause_after(failures, error)
            log.info("%s; again in %.1f s", error.message, pause)
            say(f"{error.message}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
