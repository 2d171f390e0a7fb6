"""Asking an engine that has no room for a connection yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from runnerd.errors import UpstreamTimeout

_FIRST_PAUSE = 0.001  # seconds; doubles up to the next: the engine's queue of connections is full
_LONGEST_PAUSE = 0.05


async def redial(send: Callable[[], None], limit: float) -> None:
    """Call `send` again and again while it raises BlockingIOError.

    Raises errors.UpstreamTimeout when `limit` seconds have passed, and whatever else `send` raises.
    """
    pause = _FIRST_PAUSE
    until = time.monotonic() + limit
    while True:
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
        try:
            return send()
        except BlockingIOError:
            if time.monotonic() >= until:
                raise UpstreamTimeout(f"the engine took no request for {limit:g} s") from None
