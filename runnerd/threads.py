"""File work in threads: the only place that starts it for the event loop.

A thread cannot be ended from outside.  `asyncio.to_thread` leaves it alone when its caller is
cancelled: it goes on making and removing files beside the caller's clean-up, and beside whoever
comes next and has the same names.  So here nobody who waits for a thread goes on before it has
ended, and what it has made then is undone if nobody gets it.  Hashing forty gigabytes is told to
give up (`run_stoppable`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, ParamSpec, Protocol, TypeVar, cast

from runnerd import tasks

T = TypeVar("T")
P = ParamSpec("P")


class Closeable(Protocol):
    """A file, or what holds one."""

    def close(self) -> None:
        """Let it go."""


C = TypeVar("C", bound=Closeable)


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


async def run(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Carry `work` out in a thread and return its result.

    When cancelled, it waits until the thread has ended; work that has not begun never begins.  For
    what is short.
    """
    return await _carry_out(lambda: work(*args, **kwargs))


async def run_or_undo(work: Callable[[], T], *, undo: Callable[[T], object]) -> T:
    """As `run`, for work that makes something which has to be removed where nobody gets it.

    When cancelled too late, `undo` is called with the result, in a thread as well.
    """
    return await _carry_out(work, undo=undo)


async def run_or_close(work: Callable[[], C]) -> C:
    """As `run`, for work that opens a file, which is closed where nobody gets it."""
    return await _carry_out(work, undo=lambda opened: opened.close())


async def run_stoppable(
    work: Callable[[Stop], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """As `run`, for work that takes long: when cancelled, it is asked to stop."""
    stop = Stop()
    return await _carry_out(lambda: work(stop), stop=stop, undo=undo)


async def run_to_end(work: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Carry clean-up out in a thread, to its end, however often the caller is cancelled.

    Raises CancelledError then, what the work raises else.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, lambda: work(*args, **kwargs))
    if await tasks.outlast(future):
        future.exception()  # its outcome interests nobody
        raise asyncio.CancelledError
    future.result()


class _Call(Generic[T]):
    """Work that waits for a thread, and that can be called off until it has one."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._first = threading.Lock()  # whoever takes it decides; it is never given back

    def __call__(self) -> T | None:
        return self._work() if self._first.acquire(blocking=False) else None

    def call_off(self) -> bool:
        """Keep work from beginning; False where it has begun already."""
        return self._first.acquire(blocking=False)


async def _carry_out(
    work: Callable[[], T], *, stop: Stop | None = None, undo: Callable[[T], object] | None = None
) -> T:
    call, loop = _Call(work), asyncio.get_running_loop()
    future = loop.run_in_executor(None, call)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        if call.call_off():
            raise
        if stop is not None:
            stop.set()
        await tasks.outlast(future)
        if future.exception() is None and undo is not None:
            undoing = loop.run_in_executor(None, undo, cast(T, future.result()))
            await tasks.outlast(undoing)
            undoing.exception()  # its outcome interests nobody
        raise
    return cast(T, future.result())


def on_loop(call: Callable[[T], None] | None) -> Callable[[T], None] | None:
    """What any thread may call so that `call` runs on this event loop."""
    if call is None:
        return None
    wanted, loop = call, asyncio.get_running_loop()

    def report(value: T) -> None:
        loop.call_soon_threadsafe(wanted, value)

    return report
