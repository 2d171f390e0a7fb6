"""runnerd.threads: nobody goes on before the thread that they waited for has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd import threads
from runnerd.tasks import spawn
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
    assert await threads.run_or_undo(lambda: 6, undo=undone.append) == 6
    assert await threads.run(int, "11", base=2) == 3
    assert undone == []


async def test_what_it_raises() -> None:
    """Is the caller's."""

    def fail() -> None:
        raise OSError("full")

    for call in (threads.run(fail), threads.run_to_end(fail)):
        with pytest.raises(OSError, match="full"):
            await call


class Held:
    """Work that holds its thread until it is let go, and what happened."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.happened: list[str] = []

    def __call__(self) -> Held:
        self.begun.set()
        self.go.wait(30)
        self.happened.append("done")
        return self

    def close(self) -> None:
        self.happened.append("closed")


@pytest.fixture
async def one_thread() -> AsyncIterator[Held]:
    """Work that holds the only thread there is."""
    loop, held = asyncio.get_running_loop(), Held()
    loop.set_default_executor(ThreadPoolExecutor(1))
    task = spawn(threads.run(held), name="held")
    while not held.begun.is_set():
        await asyncio.sleep(0)
    yield held
    held.go.set()
    await task


async def test_work_that_has_not_begun_never_begins(one_thread: Held) -> None:
    """Whoever waited for a thread goes on at once."""
    later = Held()
    task = spawn(threads.run(later), name="later")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert not one_thread.happened
    one_thread.go.set()
    await threads.run(lambda: None)  # behind it in the queue
    assert not later.begun.is_set()


async def test_clean_up_begins_and_ends(one_thread: Held) -> None:
    """However early and often the caller is cancelled, which it is afterwards."""
    later = Held()
    task = spawn(threads.run_to_end(later), name="clean-up")
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    one_thread.go.set()
    later.go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert later.happened == ["done"]


async def test_what_nobody_gets_is_closed() -> None:
    """A file that was opened for a caller that is gone."""
    held = Held()
    task = spawn(threads.run_or_close(held), name="open")
    await threads.run(held.begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    held.go.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert held.happened == ["done", "closed"]


STEPS = st.lists(st.sampled_from(["cancel", "turn", "free the thread", "let go"]), max_size=12)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_any_order(steps: list[str]) -> None:
    """Once the caller goes on, the work has ended or never begins, and its result has one end: it
    is the caller's, or closed.
    """
    asyncio.run(_carry_out(steps))


async def _carry_out(steps: list[str]) -> None:
    loop, before, held = asyncio.get_running_loop(), Held(), Held()
    loop.set_default_executor(ThreadPoolExecutor(1))
    first = loop.create_task(threads.run(before))
    task = loop.create_task(threads.run_or_close(held))
    for step in steps:
        if step == "cancel":
            task.cancel()
        elif step == "turn":
            await asyncio.sleep(0)
        else:
            (before if step == "free the thread" else held).go.set()
    before.go.set()
    held.go.set()
    await asyncio.wait([task])
    ended = list(held.happened)
    await first
    await threads.run(lambda: None)  # whatever was in the queue has had its turn
    assert held.happened == ended
    if task.cancelled():
        assert ended in ([], ["done", "closed"])
    else:
        assert ended == ["done"]
        assert task.result() is held
