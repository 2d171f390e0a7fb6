"""Named, guarded, kept tasks: the only place that starts one.

asyncio keeps weak references to tasks and reports a lost exception only when the garbage collector
finds it.  Here every task has a name, a strong reference until it ends, and a log line if it fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)

T = TypeVar("T")

_kept: set[asyncio.Task[Any]] = set()


def spawn(coro: Coroutine[Any, Any, T], *, name: str, quiet: bool = False) -> asyncio.Task[T]:
    """Start `coro` as a task that is kept until it ends and whose failure is logged.

    For work that nobody awaits.  Whoever awaits the task gets its exception as well, and says
    `quiet` where that is all that is to come of it.
    """
    task = asyncio.get_running_loop().create_task(coro, name=name)
    _kept.add(task)
    task.add_done_callback(_kept.discard if quiet else _ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, RunnerdError):  # foreseen: where it came from says nothing new
        level = logging.INFO if error.status < 500 else logging.WARNING  # what was asked is wrong
        log.log(level, "task %s failed: %s", task.get_name(), error.message)
    else:
        log.error("task %s failed", task.get_name(), exc_info=error)


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait until it has ended; its own outcome is swallowed (it was logged)."""
    task.cancel()
    await asyncio.wait([task])


async def outlast(*futures: asyncio.Future[Any]) -> bool:
    """Wait until all have ended, however often the caller is cancelled; return whether it was."""
    cancelled = False
    while not all(future.done() for future in futures):
        try:
            await asyncio.wait(futures)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


async def uninterrupted(work: Coroutine[Any, Any, T], *, name: str) -> T:
    """Carry `work` out to its end, however often the caller is cancelled; then be cancelled.

    For clean-up that must not be left half done.
    """
    task = spawn(work, name=name)
    if await outlast(task):
        raise asyncio.CancelledError
    return task.result()
