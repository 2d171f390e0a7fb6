"""Long file work in a thread that can be called off.

Hashing forty gigabytes must not hold the event loop, and when its caller goes away the work has to
stop and clean up before the caller continues: a half-copied file that nobody waits for is a leak.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from runnerd import tasks

T = TypeVar("T")


class Stopped(Exception):
    """The work was called off; seen only between `Stop.check` and `run_stoppable`."""


class Stop:
    """Tells a thread to give up; the thread asks at every chunk."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to give up."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped once the work was called off."""
        if self._event.is_set():
            raise Stopped


async def run_stoppable(
    work: Callable[[Stop], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Run `work` in a thread and return its result.

    When cancelled, it calls the work off, waits until the thread has ended, and then raises
    CancelledError: whatever the work cleans up is gone by then.  Work that was through all the same
    has made something that nobody gets: `undo` is called with it, in a thread as well.
    """
    stop, loop = Stop(), asyncio.get_running_loop()
    future = loop.run_in_executor(None, work, stop)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        await tasks.outlast(future)
        if future.exception() is None and undo is not None:
            undoing = loop.run_in_executor(None, undo, future.result())
            await tasks.outlast(undoing)
            undoing.exception()  # its outcome interests nobody
        raise


def on_loop(call: Callable[[T], None] | None) -> Callable[[T], None] | None:
    """What any thread may call so that `call` runs on this event loop."""
    if call is None:
        return None
    wanted, loop = call, asyncio.get_running_loop()

    def report(value: T) -> None:
        loop.call_soon_threadsafe(wanted, value)

    return report
