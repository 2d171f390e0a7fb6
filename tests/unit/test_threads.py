"""runnerd.threads: work in threads that can be called off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from runnerd.threads import Stop, run_stoppable

Undo = Callable[[str], object]


async def cancelled(made: str | None, undo: Undo | None) -> list[str]:
    """Cancel work, twice, before it is through; return what happened in order."""
    happened: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(stop: Stop) -> str:
        begun.set()
        go_on.wait(10)
        happened.append("ended")
        if made is None:
            stop.check()
        return made or ""

    def noted(made: str) -> None:
        assert undo is not None
        happened.append(made)
        undo(made)

    work_done = run_stoppable(work, undo=None if undo is None else noted)
    task = asyncio.get_running_loop().create_task(work_done)
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    return happened


async def test_work_ends_before_who_called_it_off_goes_on() -> None:
    """Also when it is cancelled more than once; what it raises is nobody's."""
    assert await cancelled(None, None) == ["ended"]


async def test_what_nobody_gets_is_undone() -> None:
    """Work that was through all the same leaves nothing behind; failing work has made nothing."""
    assert await cancelled("file", lambda made: None) == ["ended", "file"]
    assert await cancelled(None, lambda made: None) == ["ended"]


async def test_an_undoing_that_fails_changes_nothing() -> None:
    """The caller is cancelled, as it wanted."""

    def fail(made: str) -> None:
        raise OSError(made)

    assert await cancelled("file", fail) == ["ended", "file"]


async def test_a_result_that_somebody_gets_is_kept() -> None:
    """Undoing is for what is cancelled."""
    undone: list[int] = []
    assert await run_stoppable(lambda stop: 5, undo=undone.append) == 5
    assert undone == []
