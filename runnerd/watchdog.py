"""Tells systemd that the event loop turns and that nobody waits for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from runnerd import tasks
from runnerd.sockets.notify import Notifier

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watchdog(notifier: Notifier, stranded: Callable[[], int]) -> AsyncIterator[None]:
    """Beat for the length of the block, where systemd wants that, from the loop itself.

    `stranded` counts requests that nothing will answer: a daemon that has some is better restarted.
    """
    interval = notifier.watchdog_interval
    if interval is None:
        yield
        return

    async def beat() -> None:
        while True:
            if (count := stranded()) == 0:
                notifier.watchdog()
            else:
                log.error(
                    "%d requests wait that nothing will serve; systemd is not told"
                    " that the daemon is alive",
                    count,
                )
            await asyncio.sleep(interval)

    beating = tasks.spawn(beat(), name="watchdog")
    try:
        yield
    finally:
        await tasks.cancel_and_wait(beating)
